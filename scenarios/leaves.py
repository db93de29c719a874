"""Leaves and inheritance of ``requires_grad`` (note: "Leafs and requires_grad")."""

from scenarios.types import Statement, constants

STATEMENT = Statement(
    name="leaves",
    title="Which values are leaves, and which ask for a gradient",
    source="Leafs and requires_grad",
    start=constants(a=[3.0]),
    data=constants(c=[5.0]),
    facts={
        "a.requires_grad": True,
        "b.requires_grad": True,
        "c.requires_grad": False,
        "d.requires_grad": False,
        "a.is_leaf": True,
        "b.is_leaf": False,
        "c.is_leaf": True,
        "d.is_leaf": True,
    },
    truth=constants(**{"values.b": [9.0], "values.d": [25.0]}),
)
