"""The statements: every problem of the lecture note, once and in no framework.

The note is L. Davidson, "Understanding Autograd and Neural Network in PyTorch", Chalmers University
of Technology, 2026-01-30. :data:`ALL` lists its problems in teaching order.
"""

from difflib import get_close_matches

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
    Statement,
    Training,
    UnavailableError,
)

__all__ = [
    "ALL",
    "Arrays",
    "Device",
    "Dtype",
    "History",
    "Published",
    "Result",
    "Statement",
    "Training",
    "UnavailableError",
    "get",
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
    names = [statement.name for statement in ALL]
    nearest = get_close_matches(name, names, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"choose from {', '.join(names)}."
    raise UnavailableError(f"no scenario is called '{name}': {hint}")
