"""The functional side: JAX, whose pure functions are traced, transformed and compiled."""

from functional import (
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

__all__ = [
    "activations",
    "chain_rule",
    "graph_walk",
    "leaves",
    "line_network",
    "root_finding",
    "sine_network",
    "sine_polynomial",
    "three_neurons",
]
