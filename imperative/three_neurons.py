"""The 1-3-3-1 network neuron by neuron, in PyTorch: leaves are indexed, and the tape records every neuron.

Source: the note, "Predict the sinus curve with Neural Network (NN)", the layer equations (corrected, see
docs/errata.md).
"""

from jaxtyping import Float
from torch import Tensor, nn

from imperative.arrays import enter, leave
from imperative.history import gradients
from scenarios import Device, Dtype, Result, Statement, three_neurons

s = nn.functional.relu


# %% step: model
def model(leaves: dict[str, Tensor], x: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
    """Every neuron by itself, as in the note's equations."""
    w0, b0 = leaves["input.weight"], leaves["input.bias"]
    w1, b1 = leaves["hidden1.weight"], leaves["hidden1.bias"]
    w2, b2 = leaves["hidden2.weight"], leaves["hidden2.bias"]

    a1_1 = s(w0[0, 0] * x + b0[0])
    a2_1 = s(w0[1, 0] * x + b0[1])
    a3_1 = s(w0[2, 0] * x + b0[2])

    a1_2 = s(w1[0, 0] * a1_1 + w1[0, 1] * a2_1 + w1[0, 2] * a3_1 + b1[0])
    a2_2 = s(w1[1, 0] * a1_1 + w1[1, 1] * a2_1 + w1[1, 2] * a3_1 + b1[1])
    a3_2 = s(w1[2, 0] * a1_1 + w1[2, 1] * a2_1 + w1[2, 2] * a3_1 + b1[2])

    return w2[0, 0] * a1_2 + w2[0, 1] * a2_2 + w2[0, 2] * a3_2 + b2[0]


def matrix_form(leaves: dict[str, Tensor], x: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
    """The same network, a layer at a time."""
    a1 = s(nn.functional.linear(x, leaves["input.weight"], leaves["input.bias"]))
    a2 = s(nn.functional.linear(a1, leaves["hidden1.weight"], leaves["hidden1.bias"]))
    return nn.functional.linear(a2, leaves["hidden2.weight"], leaves["hidden2.bias"])


# %% step: loss
def loss(leaves: dict[str, Tensor], x: Float[Tensor, "n 1"], y: Float[Tensor, "n 1"]) -> Float[Tensor, ""]:
    """Mean squared error."""
    return nn.functional.mse_loss(model(leaves, x), y)


# %% step: run
def run(
    statement: Statement = three_neurons.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Evaluate both forms and differentiate the neurons' loss."""
    leaves = {name: t.requires_grad_() for name, t in enter(statement.start, dtype, device).items()}
    data = enter(statement.data, dtype, device)
    value = loss(leaves, **data)
    value.backward()
    return Result(
        values=leave(
            {
                "loss": value,
                "neurons": model(leaves, data["x"]),
                "matrix form": matrix_form(leaves, data["x"]),
            }
        ),
        gradients=leave(gradients(leaves)),
    )
