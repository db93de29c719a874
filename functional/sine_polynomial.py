"""A cubic fitted to the sine, in JAX: gradient descent maps a pytree of parameters to the next one.

Source: the note, "Find the coefficients of a polynomial satisfying y = sin(x)".
"""

from functools import partial

import jax
from jaxtyping import Array, Float

from functional.arrays import Pytree, enter, leave, running
from functional.history import Row, leave_history, scan
from scenarios import Device, Dtype, Result, Statement, Training, sine_polynomial


# %% step: model
def model(params: Pytree, x: Float[Array, "n"]) -> Float[Array, "n"]:
    """Evaluate ax + bx² + cx³."""
    return params["a"] * x + params["b"] * x**2 + params["c"] * x**3


# %% step: loss
def loss(params: Pytree, x: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, ""]:
    """Sum of the squared residuals."""
    return ((model(params, x) - y) ** 2).sum()


value_and_gradients = jax.jit(jax.value_and_grad(loss))


# %% step: step
def step(
    params: Pytree, x: Float[Array, "n"], y: Float[Array, "n"], learning_rate: float
) -> tuple[Pytree, Row]:
    """One step of gradient descent; returns new parameters, and the loss before it."""
    value, gradients = value_and_gradients(params, x, y)
    params = jax.tree.map(lambda param, gradient: param - learning_rate * gradient, params, gradients)
    return params, Row(value, gradients, params)


# %% step: run
@partial(jax.jit, static_argnames=("training", "every"), donate_argnames="params")
def train(
    params: Pytree, data: Pytree, *, training: Training, every: int | None
) -> tuple[Pytree, Row | None]:
    """The whole run as one compiled program."""

    def body(params: Pytree) -> tuple[Pytree, Row]:
        return step(params, **data, learning_rate=training.learning_rate)

    return scan(body, params, training.steps, every)


@jax.jit
def outcome(params: Pytree, x: Float[Array, "n"], y: Float[Array, "n"]) -> Pytree:
    """What the parameters achieve."""
    return {"loss": loss(params, x, y), "prediction": model(params, x)}


def run(
    statement: Statement = sine_polynomial.STATEMENT,
    *,
    dtype: Dtype = "float32",
    device: Device = "auto",
    every: int | None = 1,
) -> Result:
    """Train from the start values, recording every ``every``-th step."""
    with running(dtype, device):
        params, data = enter(statement.start, dtype), enter(statement.data, dtype)
        value, gradients = value_and_gradients(params, **data)
        converged, rows = train(params, data, training=statement.require_training(), every=every)
        return Result(
            values=leave({"loss": value}),
            gradients=leave(gradients),
            history=leave_history(rows, every),
            converged=leave(converged),
            outcome=leave(outcome(converged, **data)),
        )
