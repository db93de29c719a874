"""A cubic fitted to the sine by plain gradient descent (note: "Find the coefficients of a polynomial …")."""

import numpy as np

from scenarios.types import Arrays, Scalar, Statement, Training, constants

_x = np.linspace(-np.pi, np.pi, 100)
_y = np.sin(_x)
_powers = np.stack([_x, _x**2, _x**3], axis=1)
_least_squares = np.linalg.lstsq(_powers, _y, rcond=None)[0]
_start_gradient = -2 * _powers.T @ _y


def objective(parameters: Arrays) -> Scalar:
    """Sum of the squared residuals of ax + bx² + cx³ − sin x."""
    residual = parameters["a"] * _x + parameters["b"] * _x**2 + parameters["c"] * _x**3 - _y
    return np.sum(residual**2)


STATEMENT = Statement(
    name="sine_polynomial",
    title="ax + bx² + cx³ fitted to sin x by gradient descent",
    source="Find the coefficients of a polynomial satisfying y = sin(x)",
    start=constants(a=0.0, b=0.0, c=0.0),
    data=constants(x=_x, y=_y),
    training=Training("gradient descent", learning_rate=1e-5, steps=4000),
    truth=constants(
        **{
            "values.loss": np.sum(_y**2),
            **{f"gradients.{name}": g for name, g in zip("abc", _start_gradient, strict=True)},
        }
    ),
    objective=objective,
    limit=constants(
        **{f"converged.{name}": value for name, value in zip("abc", _least_squares, strict=True)}
    ),
)
