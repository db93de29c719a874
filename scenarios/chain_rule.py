"""P = Q² with Q = a³ − 3b: the chain rule, and what becomes of dP/dQ (note: "The grad_fn attribute")."""

from scenarios.types import Published, Statement, constants

STATEMENT = Statement(
    name="chain_rule",
    title="P = (a³ − 3b)² at (2, 8): dP/da, dP/db and the retained dP/dQ",
    source="The grad_fn attribute, equation (2)",
    start=constants(a=[2.0], b=[8.0]),
    facts={"gradients after backward": "a, b", "gradients after retain_grad": "a, b, Q"},
    truth=constants(
        **{
            "values.Q": [-16.0],
            "values.P": [256.0],
            "values.accumulated a": [-768.0],
            "values.accumulated b": [192.0],
            "gradients.a": [-384.0],
            "gradients.b": [96.0],
            "gradients.Q": [-32.0],
        }
    ),
    published=(
        Published("gradients.a", "-384"),
        Published("gradients.b", "96"),
        Published("gradients.Q", "-32"),
    ),
)
