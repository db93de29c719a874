"""The training scenarios at other sizes, for measuring how their cost grows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scenarios import line_network, root_finding, sine_network, sine_polynomial
from scenarios.types import Statement, UnavailableError, constants

#: What can be scaled, by scenario.
SIZES: Mapping[str, tuple[str, ...]] = {
    root_finding.STATEMENT.name: ("steps",),
    sine_polynomial.STATEMENT.name: ("points", "steps"),
    sine_network.STATEMENT.name: ("width", "points", "steps"),
    line_network.STATEMENT.name: ("points", "steps"),
}

LARGEST = 10**9


def scaled(statement: Statement, **sizes: int) -> Statement:
    """The statement at other sizes, of which no truth is known.

    Args:
        statement: a training scenario at the note's sizes.
        sizes: ``width`` of the hidden layers, number of data ``points``, number of ``steps``.

    Raises:
        UnavailableError: the scenario has no such size, or it is less than 1 or too large.
    """
    offered = SIZES.get(statement.name, ())
    for name, size in sizes.items():
        if name not in offered:
            what = f"it has {' and '.join(offered)}." if offered else "it trains nothing."
            raise UnavailableError(f"{statement.name} cannot be scaled by {name}: {what}")
        if not 1 <= size <= LARGEST:
            raise UnavailableError(f"{name}={size}: a size is 1 or more, and {LARGEST:g} at most.")
    if not sizes:
        return statement
    try:
        return _scaled(statement, sizes)
    except MemoryError as error:
        asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise UnavailableError(f"{asked}: the data do not fit into memory; ask for less.") from error


def _scaled(statement: Statement, sizes: Mapping[str, int]) -> Statement:
    training = statement.require_training()
    if "steps" in sizes:
        training = replace(training, steps=sizes["steps"])
    start, data = statement.start, statement.data
    if "points" in sizes:
        x = np.linspace(data["x"].min(), data["x"].max(), sizes["points"])
        column = x.reshape(-1, *[1] * (data["x"].ndim - 1))
        data = constants(x=column, y=4 * column if statement.name == "line_network" else np.sin(column))
        if statement.name == sine_polynomial.STATEMENT.name:
            # Its loss is a sum: with more points the same rate would diverge.
            rate = training.learning_rate * len(statement.data["x"]) / sizes["points"]
            training = replace(training, learning_rate=rate)
    if "width" in sizes:
        start = _network(sizes["width"])
    unknown: dict[str, Any] = {"truth": {}, "objective": None, "limit": {}, "facts": {}, "published": ()}
    return replace(statement, start=start, data=data, training=training, **unknown)


def _network(width: int) -> Mapping[str, np.ndarray]:
    """Start values of a network 1-width-width-1, uniform within 1/√fan-in as PyTorch draws them."""
    random = np.random.default_rng(42)
    shapes = {"input": (width, 1), "hidden1": (width, width), "hidden2": (1, width)}
    drawn = {}
    for layer, shape in shapes.items():
        bound = 1 / np.sqrt(shape[1])
        drawn[f"{layer}.weight"] = random.uniform(-bound, bound, shape)
        drawn[f"{layer}.bias"] = random.uniform(-bound, bound, shape[0])
    return constants(**drawn)
