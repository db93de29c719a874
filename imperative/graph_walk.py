"""Q = a³ − 3b, in PyTorch: running it records a tape, and ``backward`` fills ``.grad``.

Source: the note, "The grad_fn attribute".
"""

from jaxtyping import Float
from torch import Tensor

from imperative import tape
from imperative.arrays import enter, leave
from imperative.history import gradients
from scenarios import Device, Dtype, Result, Statement, graph_walk


# %% step: model
def model(a: Float[Tensor, "1"], b: Float[Tensor, "1"]) -> Float[Tensor, "1"]:
    """Q = a³ − 3b."""
    return a**3 - 3 * b


# %% step: run
def run(
    statement: Statement = graph_walk.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Record the tape, walk it, then differentiate."""
    leaves = {name: t.requires_grad_() for name, t in enter(statement.start, dtype, device).items()}
    Q = model(**leaves)
    before = {f"{name}.grad is None before backward": leaf.grad is None for name, leaf in leaves.items()}
    branches = [tape.variable(tape.children(branch)[0]) for branch in tape.children(tape.root(Q))]
    ends = [name for variable in branches for name, leaf in leaves.items() if variable is leaf]
    Q.backward()
    return Result(
        values=leave({"Q": Q}),
        gradients=leave(gradients(leaves)),
        facts={
            "Q.requires_grad": Q.requires_grad,
            **before,
            "walk": tape.walk(Q, leaves),
            **{f"branch {i} ends at": name for i, name in enumerate(ends)},
        },
        native={"walk": tape.native(Q)},
    )
