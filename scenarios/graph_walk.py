"""Q = a³ − 3b, its gradient, and the walk through its graph (note: "The grad_fn attribute")."""

from scenarios.types import Published, Statement, constants

STATEMENT = Statement(
    name="graph_walk",
    title="Q = a³ − 3b at (7, 8), walked from Q back to a and b",
    source="The grad_fn attribute",
    start=constants(a=[7.0], b=[8.0]),
    facts={
        "Q.requires_grad": True,
        "a.grad is None before backward": True,
        "b.grad is None before backward": True,
        "walk": "sub(pow(a), mul(b))",
        "branch 0 ends at": "a",
        "branch 1 ends at": "b",
    },
    truth=constants(**{"values.Q": [319.0], "gradients.a": [147.0], "gradients.b": [-3.0]}),
    published=(Published("gradients.a", "147"), Published("gradients.b", "-3")),
)
