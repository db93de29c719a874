"""P = (a³ − 3b)² = 0, in JAX: an optimizer is a pure function of gradients and its own state.

Source: the note, "Solve the equation P = a⁶ − 6a³b + 9b² = 0 using autograd".
"""

from functools import partial

import jax
import optax
from jaxtyping import Array, Float

from functional.arrays import Pytree, enter, leave, running
from functional.history import Row, leave_history, scan
from functional.optimizer import leave_state, resume
from scenarios import Device, Dtype, Result, Statement, Training, root_finding


# %% step: model
def model(a: Float[Array, "1"], b: Float[Array, "1"]) -> Float[Array, "1"]:
    """Q = a³ − 3b."""
    return a**3 - 3 * b


# %% step: loss
def loss(params: Pytree) -> Float[Array, ""]:
    """P = Q²; ``grad`` takes a scalar and nothing else."""
    return (model(**params) ** 2)[0]


value_and_gradients = jax.jit(jax.value_and_grad(loss))


# %% step: step
def step(
    params: Pytree, state: optax.OptState, optimizer: optax.GradientTransformation
) -> tuple[Pytree, optax.OptState, Row]:
    """One Adam step; returns new parameters and state, and P before it."""
    P, gradients = value_and_gradients(params)
    updates, state = optimizer.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
    return params, state, Row(P, gradients, params)


# %% step: run
@partial(jax.jit, static_argnames=("training", "every"), donate_argnames=("params", "state"))
def train(
    params: Pytree, state: optax.OptState, *, training: Training, every: int | None
) -> tuple[Pytree, optax.OptState, Row | None]:
    """The whole run as one compiled program."""
    optimizer = optax.adam(training.learning_rate)

    def body(carry: tuple[Pytree, optax.OptState]) -> tuple[tuple[Pytree, optax.OptState], Row]:
        params, state, row = step(*carry, optimizer)
        return (params, state), row

    (params, state), rows = scan(body, (params, state), training.steps, every)
    return params, state, rows


def run(
    statement: Statement = root_finding.STATEMENT,
    *,
    dtype: Dtype = "float32",
    device: Device = "auto",
    every: int | None = 1,
) -> Result:
    """Train from the start values, recording every ``every``-th step."""
    with running(dtype, device):
        params = enter(statement.start, dtype)
        P, gradients = value_and_gradients(params)
        state = resume(params, statement.state)
        converged, state, rows = train(params, state, training=statement.require_training(), every=every)
        return Result(
            values=leave({"P": P}),
            gradients=leave(gradients),
            history=leave_history(rows, every),
            converged=leave(converged),
            state=leave_state(state),
            outcome=leave({"P": loss(converged)}),
        )
