"""The statements: every problem of the lecture note, once and in no framework.

The note is L. Davidson, "Understanding Autograd and Neural Network in PyTorch", Chalmers University
of Technology, 2026-01-30. :data:`ALL` lists its problems in teaching order.
"""

from scenarios import (
    activations,
    chain_rule,
    graph_walk,
    leaves,
    line_network,
    root_finding,
    sine_network,
    sine_polynomial,
    three_neurons,
)
from scenarios.types import (
    Arrays,
    Device,
    Dtype,
    History,
    Published,
    Result,
    Session,
    Statement,
    Training,
    UnavailableError,
    unavailable,
)

__all__ = [
    "ALL",
    "Arrays",
    "Device",
    "Dtype",
    "History",
    "Published",
    "Result",
    "Session",
    "Statement",
    "Training",
    "UnavailableError",
    "get",
    "unavailable",
]

ALL: tuple[Statement, ...] = (
    leaves.STATEMENT,
    graph_walk.STATEMENT,
    chain_rule.STATEMENT,
    root_finding.STATEMENT,
    sine_polynomial.STATEMENT,
    sine_network.STATEMENT,
    three_neurons.STATEMENT,
    activations.STATEMENT,
    line_network.STATEMENT,
)


def get(name: str) -> Statement:
    """The statement called ``name``.

    Raises:
        UnavailableError: there is none; the message suggests the nearest name.
    """
    for statement in ALL:
        if statement.name == name:
            return statement
    raise unavailable("scenario", name, [statement.name for statement in ALL])
