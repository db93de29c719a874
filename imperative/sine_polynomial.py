"""A cubic fitted to the sine, in PyTorch: gradient descent by hand on three leaves.

Source: the note, "Find the coefficients of a polynomial satisfying y = sin(x)".
"""

import torch
from jaxtyping import Float
from torch import Tensor

from imperative.arrays import enter, leave
from imperative.history import Recorder, gradients
from scenarios import Device, Dtype, Result, Statement, sine_polynomial


# %% step: model
def model(leaves: dict[str, Tensor], x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Evaluate ax + bx² + cx³."""
    return leaves["a"] * x + leaves["b"] * x**2 + leaves["c"] * x**3


# %% step: loss
def loss(leaves: dict[str, Tensor], x: Float[Tensor, "n"], y: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Sum of the squared residuals."""
    return (model(leaves, x) - y).pow(2).sum()


# %% step: step
def step(
    leaves: dict[str, Tensor], x: Float[Tensor, "n"], y: Float[Tensor, "n"], learning_rate: float
) -> Float[Tensor, ""]:
    """One step of gradient descent in place; returns the loss before it."""
    for leaf in leaves.values():
        leaf.grad = None  # else backward adds to the gradients of the last step
    value = loss(leaves, x, y)
    value.backward()
    with torch.no_grad():  # else the update itself would be recorded
        for leaf in leaves.values():
            assert leaf.grad is not None
            leaf.sub_(learning_rate * leaf.grad)
    return value.detach()


# %% step: run
def run(
    statement: Statement = sine_polynomial.STATEMENT,
    *,
    dtype: Dtype = "float32",
    device: Device = "auto",
    every: int | None = 1,
) -> Result:
    """Train from the start values, recording every ``every``-th step."""
    training = statement.require_training()
    leaves = {name: t.requires_grad_() for name, t in enter(statement.start, dtype, device).items()}
    data = enter(statement.data, dtype, device)
    value = loss(leaves, **data)
    value.backward()
    values, start_gradients = leave({"loss": value}), leave(gradients(leaves))

    recorder = Recorder(every)
    for n in range(1, training.steps + 1):
        recorder.keep(n, step(leaves, **data, learning_rate=training.learning_rate), leaves)

    with torch.no_grad():  # else looking at the outcome would be recorded too
        outcome = {"loss": loss(leaves, **data), "prediction": model(leaves, data["x"])}
    return Result(
        values=values,
        gradients=start_gradients,
        history=recorder.history(),
        converged=leave(leaves),
        outcome=leave(outcome),
    )
