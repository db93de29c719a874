"""A ReLU network fitted to the sine, in JAX: parameters are a pytree, and the network is a function of it.

Source: the note, "Predict the sinus curve with Neural Network (NN)".
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from functional.arrays import Pytree, enter, leave, running
from functional.history import Row, leave_history, scan
from functional.optimizer import leave_state, resume
from scenarios import Device, Dtype, Result, Statement, Training, sine_network


# %% step: model
def model(params: Pytree, a0: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Two hidden ReLU layers between one input and one output."""
    a1 = jax.nn.relu(a0 @ params["input.weight"].T + params["input.bias"])
    a2 = jax.nn.relu(a1 @ params["hidden1.weight"].T + params["hidden1.bias"])
    return a2 @ params["hidden2.weight"].T + params["hidden2.bias"]


# %% step: loss
def loss(params: Pytree, x: Float[Array, "n 1"], y: Float[Array, "n 1"]) -> Float[Array, ""]:
    """Mean squared error."""
    return jnp.mean((model(params, x) - y) ** 2)


value_and_gradients = jax.jit(jax.value_and_grad(loss))


# %% step: step
def step(
    params: Pytree,
    state: optax.OptState,
    optimizer: optax.GradientTransformation,
    x: Float[Array, "n 1"],
    y: Float[Array, "n 1"],
) -> tuple[Pytree, optax.OptState, Row]:
    """One Adam step; returns new parameters and state, and the loss before it."""
    value, gradients = value_and_gradients(params, x, y)
    updates, state = optimizer.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
    return params, state, Row(value, gradients, params)


# %% step: run
@partial(jax.jit, static_argnames=("training", "every"), donate_argnames=("params", "state"))
def train(
    params: Pytree, data: Pytree, state: optax.OptState, *, training: Training, every: int | None
) -> tuple[Pytree, optax.OptState, Row | None]:
    """The whole run as one compiled program."""
    optimizer = optax.adam(training.learning_rate)

    def body(carry: tuple[Pytree, optax.OptState]) -> tuple[tuple[Pytree, optax.OptState], Row]:
        params, state, row = step(*carry, optimizer, data["x"], data["y"])
        return (params, state), row

    (params, state), rows = scan(body, (params, state), training.steps, every)
    return params, state, rows


@jax.jit
def outcome(params: Pytree, x: Float[Array, "n 1"], y: Float[Array, "n 1"]) -> Pytree:
    """What the parameters achieve."""
    return {"loss": loss(params, x, y), "prediction": model(params, x)}


def run(
    statement: Statement = sine_network.STATEMENT,
    *,
    dtype: Dtype = "float32",
    device: Device = "auto",
    every: int | None = 1,
) -> Result:
    """Train from the start values, recording every ``every``-th step."""
    with running(dtype, device):
        params, data = enter(statement.start, dtype), enter(statement.data, dtype)
        value, gradients = value_and_gradients(params, **data)
        state = resume(params, statement.state)
        converged, state, rows = train(
            params, data, state, training=statement.require_training(), every=every
        )
        return Result(
            values=leave({"loss": value}),
            gradients=leave(gradients),
            history=leave_history(rows, every),
            converged=leave(converged),
            state=leave_state(state),
            outcome=leave(outcome(converged, **data)),
        )
