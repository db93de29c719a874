"""Leaves, in PyTorch: each tensor carries its ``requires_grad`` and ``is_leaf`` with it.

Source: the note, "Leafs and requires_grad".
"""

from jaxtyping import Float
from torch import Tensor

from imperative.arrays import enter, leave
from scenarios import Device, Dtype, Result, Statement, leaves


# %% step: model
def model(a: Float[Tensor, "1"], c: Float[Tensor, "1"]) -> dict[str, Tensor]:
    """Return a and c, and their squares b and d, each of shape ``(1,)``."""
    return {"a": a, "b": a * a, "c": c, "d": c * c}


# %% step: run
def run(
    statement: Statement = leaves.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Build the four tensors and ask each what it is."""
    a = enter(statement.start, dtype, device)["a"].requires_grad_()
    c = enter(statement.data, dtype, device)["c"]
    tensors = model(a, c)
    return Result(
        values=leave(tensors),
        facts={
            **{f"{name}.requires_grad": tensor.requires_grad for name, tensor in tensors.items()},
            **{f"{name}.is_leaf": tensor.is_leaf for name, tensor in tensors.items()},
        },
    )
