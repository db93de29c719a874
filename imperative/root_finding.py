"""P = (a³ − 3b)² = 0, in PyTorch: an optimizer that owns the leaves mutates them.

Source: the note, "Solve the equation P = a⁶ − 6a³b + 9b² = 0 using autograd".
"""

import torch
from jaxtyping import Float
from torch import Tensor

from imperative.arrays import enter, leave
from imperative.history import Recorder, gradients
from imperative.optimizer import leave_state, resume
from scenarios import Device, Dtype, Result, Statement, root_finding


# %% step: model
def model(a: Float[Tensor, "1"], b: Float[Tensor, "1"]) -> Float[Tensor, "1"]:
    """Q = a³ − 3b."""
    return a**3 - 3 * b


# %% step: loss
def loss(leaves: dict[str, Tensor]) -> Float[Tensor, "1"]:
    """P = Q²; ``backward`` takes a tensor of one entry for a scalar."""
    return model(**leaves) ** 2


# %% step: step
def step(leaves: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> Float[Tensor, "1"]:
    """One Adam step in place; returns P before it."""
    optimizer.zero_grad()
    P = loss(leaves)
    P.backward()
    optimizer.step()
    return P.detach()


# %% step: run
def run(
    statement: Statement = root_finding.STATEMENT,
    *,
    dtype: Dtype = "float32",
    device: Device = "auto",
    every: int | None = 1,
) -> Result:
    """Train from the start values, recording every ``every``-th step."""
    training = statement.require_training()
    leaves = {name: t.requires_grad_() for name, t in enter(statement.start, dtype, device).items()}
    P = loss(leaves)
    P.backward()
    values, start_gradients = leave({"P": P[0]}), leave(gradients(leaves))

    optimizer = torch.optim.Adam(list(leaves.values()), lr=training.learning_rate)
    resume(optimizer, list(leaves), statement.state)
    recorder = Recorder(every)
    for n in range(1, training.steps + 1):
        recorder.keep(n, step(leaves, optimizer), leaves)

    with torch.no_grad():  # else looking at the outcome would be recorded too
        outcome = {"P": loss(leaves)[0]}
    return Result(
        values=values,
        gradients=start_gradients,
        history=recorder.history(),
        converged=leave(leaves),
        state=leave_state(optimizer, leaves),
        outcome=leave(outcome),
    )
