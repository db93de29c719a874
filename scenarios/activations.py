"""ReLU, tanh and sigmoid with their derivatives (note: "Different activation functions")."""

import numpy as np

from scenarios.types import Statement, constants

_x = np.linspace(-5, 5, 41)
_sigmoid = 1 / (1 + np.exp(-_x))

STATEMENT = Statement(
    name="activations",
    title="ReLU, tanh and sigmoid and their derivatives on a grid through 0",
    source="Predict the sinus curve with Neural Network (NN), activation functions",
    start=constants(x=_x),
    truth=constants(
        **{
            "values.relu": np.maximum(0, _x),
            "values.tanh": np.tanh(_x),
            "values.sigmoid": _sigmoid,
            # At 0 the convention of both frameworks: the subgradient 0.
            "gradients.relu": _x > 0,
            "gradients.tanh": np.cosh(_x) ** -2,
            "gradients.sigmoid": _sigmoid * (1 / (1 + np.exp(_x))),
        }
    ),
)
