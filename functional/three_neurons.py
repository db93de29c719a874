"""The 1-3-3-1 network neuron by neuron, in JAX: parameters are unpacked, and ``grad`` returns them repacked.

Source: the note, "Predict the sinus curve with Neural Network (NN)", the layer equations (corrected, see
docs/errata.md).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from functional.arrays import Pytree, enter, leave, running
from scenarios import Device, Dtype, Result, Statement, three_neurons

s = jax.nn.relu


# %% step: model
def model(params: Pytree, x: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Every neuron by itself, as in the note's equations."""
    w0, b0 = params["input.weight"], params["input.bias"]
    w1, b1 = params["hidden1.weight"], params["hidden1.bias"]
    w2, b2 = params["hidden2.weight"], params["hidden2.bias"]

    a1_1 = s(w0[0, 0] * x + b0[0])
    a2_1 = s(w0[1, 0] * x + b0[1])
    a3_1 = s(w0[2, 0] * x + b0[2])

    a1_2 = s(w1[0, 0] * a1_1 + w1[0, 1] * a2_1 + w1[0, 2] * a3_1 + b1[0])
    a2_2 = s(w1[1, 0] * a1_1 + w1[1, 1] * a2_1 + w1[1, 2] * a3_1 + b1[1])
    a3_2 = s(w1[2, 0] * a1_1 + w1[2, 1] * a2_1 + w1[2, 2] * a3_1 + b1[2])

    return w2[0, 0] * a1_2 + w2[0, 1] * a2_2 + w2[0, 2] * a3_2 + b2[0]


def matrix_form(params: Pytree, x: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """The same network, a layer at a time."""
    a1 = s(x @ params["input.weight"].T + params["input.bias"])
    a2 = s(a1 @ params["hidden1.weight"].T + params["hidden1.bias"])
    return a2 @ params["hidden2.weight"].T + params["hidden2.bias"]


# %% step: loss
def loss(params: Pytree, x: Float[Array, "n 1"], y: Float[Array, "n 1"]) -> Float[Array, ""]:
    """Mean squared error."""
    return jnp.mean((model(params, x) - y) ** 2)


value_and_gradients = jax.jit(jax.value_and_grad(loss))


# %% step: run
def run(
    statement: Statement = three_neurons.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Evaluate both forms and differentiate the neurons' loss."""
    with running(dtype, device):
        params, data = enter(statement.start, dtype), enter(statement.data, dtype)
        value, gradients = value_and_gradients(params, **data)
        return Result(
            values=leave(
                {
                    "loss": value,
                    "neurons": model(params, data["x"]),
                    "matrix form": matrix_form(params, data["x"]),
                }
            ),
            gradients=leave(gradients),
        )
