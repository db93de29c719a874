"""A line fitted by affine maps of column vectors, in JAX, written with ``@`` and ``.T`` as in the note.

Source: the note, "Predict a straight line using NN".
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from functional.arrays import Pytree, enter, leave, running
from functional.history import Row, leave_history, scan
from functional.optimizer import leave_state, resume
from scenarios import Device, Dtype, Result, Statement, Training, line_network


# %% step: model
def columns(params: Pytree, x0: Float[Array, "n 1"]) -> Pytree:
    """Every column vector of the forward pass, by the note's name."""
    x1 = params["input.bias"].reshape(-1, 1) + params["input.weight"] @ x0.T
    x2 = params["hidden1.bias"].reshape(-1, 1) + params["hidden1.weight"] @ x1
    output_temp = params["hidden2.bias"].reshape(-1, 1) + params["hidden2.weight"] @ x2
    return {"x0.T": x0.T, "x1": x1, "x2": x2, "output_temp": output_temp}


def model(params: Pytree, x0: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Predict at the points ``x0``."""
    return columns(params, x0)["output_temp"].reshape(-1, 1)


def shapes(params: Pytree, x0: Float[Array, "n 1"]) -> dict[str, tuple[int, ...]]:
    """The note's table of shapes, from abstract evaluation: nothing is computed."""
    vectors = jax.eval_shape(columns, params, x0)
    biases = {name: (*p.shape, 1) for name, p in params.items() if name.endswith("bias")}
    weights = {name: p for name, p in params.items() if name.endswith("weight")}
    sums = {"input.bias": "x1", "hidden1.bias": "x2", "hidden2.bias": "output_temp"}
    return {
        **{f"shape of {name}": array.shape for name, array in (weights | vectors).items()},
        **{f"shape of {name}.view(-1, 1)": shape for name, shape in biases.items()},
        **{
            f"broadcast shape of {name}": jnp.broadcast_shapes(shape, vectors[sums[name]].shape)
            for name, shape in biases.items()
        },
    }


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
    statement: Statement = line_network.STATEMENT,
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
            facts=shapes(converged, data["x"]),
            history=leave_history(rows, every),
            converged=leave(converged),
            state=leave_state(state),
            outcome=leave(outcome(converged, **data)),
        )
