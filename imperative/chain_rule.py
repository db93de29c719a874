"""P = Q², in PyTorch: ``backward`` fills leaves only, adds up, and ``retain_grad`` asks for more.

Source: the note, "The grad_fn attribute", equation (2).
"""

import warnings

from jaxtyping import Float
from torch import Tensor

from imperative.arrays import enter, leave
from imperative.history import gradients
from scenarios import Device, Dtype, Result, Statement, chain_rule


# %% step: model
def model(a: Float[Tensor, "1"], b: Float[Tensor, "1"]) -> tuple[Float[Tensor, "1"], Float[Tensor, "1"]]:
    """Q = a³ − 3b and P = Q²."""
    Q = a**3 - 3 * b
    return Q, Q**2


def filled(tensors: dict[str, Tensor]) -> str:
    """The names of the tensors whose ``.grad`` is not None."""
    with warnings.catch_warnings(action="ignore"):  # PyTorch warns of just what is shown here
        return ", ".join(name for name, tensor in tensors.items() if tensor.grad is not None)


# %% step: run
def run(
    statement: Statement = chain_rule.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Differentiate without and with ``retain_grad``, the second time without clearing ``.grad``."""
    leaves = {name: t.requires_grad_() for name, t in enter(statement.start, dtype, device).items()}

    Q, P = model(**leaves)
    P.backward()
    without = filled({**leaves, "Q": Q})
    once = gradients(leaves)

    Q, P = model(**leaves)
    Q.retain_grad()
    P.backward()
    return Result(
        values=leave({"Q": Q, "P": P, **{f"accumulated {name}": g for name, g in gradients(leaves).items()}}),
        gradients=leave({**once, **gradients({"Q": Q})}),
        facts={
            "gradients after backward": without,
            "gradients after retain_grad": filled({**leaves, "Q": Q}),
        },
    )
