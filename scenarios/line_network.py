"""A 1-2-2-1 network without activation fitted to y = 4x (note: "Predict a straight line using NN")."""

import numpy as np

from scenarios.types import Arrays, Scalar, Statement, Training, constants, stored_start

_x = np.linspace(0, 1, 5)[:, None]
_y = 4 * _x
_start = stored_start("line_network")


def objective(parameters: Arrays) -> Scalar:
    """Mean squared error of the three affine maps over the points."""
    output = _x
    for layer in ("input", "hidden1", "hidden2"):
        output = output @ parameters[f"{layer}.weight"].T + parameters[f"{layer}.bias"]
    return np.mean((output - _y) ** 2)


STATEMENT = Statement(
    name="line_network",
    title="A 1-2-2-1 network of column vectors fitted to y = 4x by Adam",
    source="Predict a straight line using NN",
    start=_start,
    data=constants(x=_x, y=_y),
    training=Training("adam", learning_rate=1e-3, steps=1000),
    facts={
        "shape of input.bias.view(-1, 1)": (2, 1),
        "shape of input.weight": (2, 1),
        "shape of x0.T": (1, 5),
        "shape of x1": (2, 5),
        "shape of hidden1.bias.view(-1, 1)": (2, 1),
        "shape of hidden1.weight": (2, 2),
        "shape of x2": (2, 5),
        "shape of hidden2.bias.view(-1, 1)": (1, 1),
        "shape of hidden2.weight": (1, 2),
        "shape of output_temp": (1, 5),
        # What the note's table prints for the biases is their shape after broadcasting.
        "broadcast shape of input.bias": (2, 5),
        "broadcast shape of hidden1.bias": (2, 5),
        "broadcast shape of hidden2.bias": (1, 5),
    },
    truth=constants(**{"values.loss": objective(_start)}),
    objective=objective,
    limit=constants(**{"outcome.prediction": _y}),
)
