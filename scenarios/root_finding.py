"""P = (a³ − 3b)² driven to zero by Adam (note: "Solve the equation P = 0 using autograd")."""

from scenarios.types import Arrays, Published, Scalar, Statement, Training, constants


def objective(parameters: Arrays) -> Scalar:
    """P = (a³ − 3b)²."""
    return (parameters["a"] ** 3 - 3 * parameters["b"])[0] ** 2


STATEMENT = Statement(
    name="root_finding",
    title="P = 0 from (2, 8) with Adam",
    source="Solve the equation P = a⁶ − 6a³b + 9b² = 0 using autograd",
    start=constants(a=[2.0], b=[8.0]),
    training=Training("adam", learning_rate=0.02, steps=200),
    truth=constants(**{"values.P": 256.0, "gradients.a": [-384.0], "gradients.b": [96.0]}),
    objective=objective,
    limit=constants(**{"outcome.P": 0.0}),
    published=(
        Published("converged.a", "2.79"),
        Published("converged.b", "7.26"),
        Published("outcome.P", "1.2e-4", "at most"),
    ),
)
