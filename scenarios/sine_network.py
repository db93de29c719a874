"""A 1-10-10-1 ReLU network fitted to the sine (note: "Predict the sinus curve with Neural Network (NN)")."""

import numpy as np

from scenarios.types import Arrays, Scalar, Statement, Training, constants, stored_start

_x = np.linspace(-np.pi, np.pi, 20)[:, None]
_y = np.sin(_x)
_start = stored_start("sine_network")


def predict(parameters: Arrays) -> np.ndarray:
    """The network's output at the points, ``(20, 1)``."""
    a1 = np.maximum(_x @ parameters["input.weight"].T + parameters["input.bias"], 0)
    a2 = np.maximum(a1 @ parameters["hidden1.weight"].T + parameters["hidden1.bias"], 0)
    output: np.ndarray = a2 @ parameters["hidden2.weight"].T + parameters["hidden2.bias"]
    return output


def objective(parameters: Arrays) -> Scalar:
    """Mean squared error of the network over the points."""
    return np.mean((predict(parameters) - _y) ** 2)


STATEMENT = Statement(
    name="sine_network",
    title="A 1-10-10-1 ReLU network fitted to sin x by Adam",
    source="Predict the sinus curve with Neural Network (NN)",
    start=_start,
    data=constants(x=_x, y=_y),
    training=Training("adam", learning_rate=1e-3, steps=1000),
    truth=constants(**{"values.loss": objective(_start)}),
    objective=objective,
    limit=constants(**{"outcome.prediction": _y}),
)
