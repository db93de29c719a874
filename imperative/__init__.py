"""The imperative side: PyTorch, whose running program records a tape and mutates what it owns."""

from imperative import (
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
