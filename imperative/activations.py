"""Activation functions, in PyTorch: one ``backward`` with a cotangent of ones gives every derivative.

Source: the note, "Predict the sinus curve with Neural Network (NN)", activation functions.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from imperative.arrays import enter, leave
from scenarios import Device, Dtype, Result, Statement, activations

# %% step: model
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def derivative(function: Callable[[Tensor], Tensor], x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """f'(x) at every point."""
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    return x.grad


# %% step: run
def run(
    statement: Statement = activations.STATEMENT, *, dtype: Dtype = "float32", device: Device = "auto"
) -> Result:
    """Evaluate and differentiate each function on the grid."""
    x = enter(statement.start, dtype, device)["x"]
    return Result(
        values=leave({name: function(x) for name, function in FUNCTIONS.items()}),
        gradients=leave({name: derivative(function, x) for name, function in FUNCTIONS.items()}),
    )
