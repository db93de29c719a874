"""Activation functions, in JAX: ``vmap`` of ``grad`` of the scalar function gives every derivative.

Source: the note, "Predict the sinus curve with Neural Network (NN)", activation functions.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from functional.arrays import enter, leave, running
from scenarios import Device, Dtype, Result, Statement, activations

# %% step: model
FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
}


def derivative(function: Callable[[jax.Array], jax.Array], x: Float[Array, "n"]) -> Float[Array, "n"]:
    """f'(x) at every point."""
    slopes: jax.Array = jax.vmap(jax.grad(function))(x)
    return slopes


# %% step: run
def run(
    statement: Statement = activations.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Evaluate and differentiate each function on the grid."""
    with running(dtype, device):
        x = enter(statement.start, dtype)["x"]
        return Result(
            values=leave({name: function(x) for name, function in FUNCTIONS.items()}),
            gradients=leave({name: derivative(function, x) for name, function in FUNCTIONS.items()}),
        )
