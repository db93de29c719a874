"""From a name to its statement and its two twins; the only place that imports either framework's side."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import numpy as np

import scenarios
from scenarios import Device, Dtype, Statement, UnavailableError
from scenarios.graph import Graph, Of
from scenarios.types import Arrays, Twin


@dataclass(frozen=True, eq=False)
class Twins:
    """A statement and the two modules that run it."""

    statement: Statement
    imperative: Twin
    functional: Twin


def load(name: str) -> Twins:
    """Import the twins called ``name``.

    Raises:
        UnavailableError: there is no such scenario.
        ModuleNotFoundError: a framework is not installed.
    """
    statement = scenarios.get(name)
    # The functional side first: importing torch first can hide the GPU from JAX (jax#19004).
    functional, imperative = (_side(package, name) for package in ("functional", "imperative"))
    return Twins(statement, cast(Twin, imperative), cast(Twin, functional))


def changed(name: str, side: str, change: str) -> Twin | None:
    """A copy of one side of ``name`` with a planted change; None if it has no place for it."""
    return cast(Twin | None, _side(side, "defects").plant(name, change))


def graphs(name: str, of: Of, dtype: Dtype, device: Device) -> dict[str, Graph]:
    """By side, the graph of a scenario's loss, or of its model where there is none.

    Raises:
        UnavailableError: there is no such scenario, or no such device.
        ValueError: a side records nothing.
    """
    statement = scenarios.get(name)
    return {
        side: _side(side, "drawn").drawn(statement, of, dtype=dtype, device=device)
        for side in ("functional", "imperative")
    }


def changes() -> dict[str, tuple[str, ...]]:
    """By side, the names of the changes that can be planted."""
    return {side: tuple(_side(side, "defects").CHANGES) for side in ("functional", "imperative")}


def resolve(device: Device) -> Device:
    """The device that both sides can use: ``auto`` is the GPU if both see one.

    Raises:
        UnavailableError: a GPU is asked for and a side sees none.
    """
    sides = [_side(package, "arrays") for package in ("functional", "imperative")]
    if device != "auto":
        for side in sides:
            side.select(device)
        return device
    try:
        return resolve("gpu")
    except UnavailableError:
        return "cpu"


def environments(device: Device) -> dict[str, dict[str, str]]:
    """Versions, threads and device of both sides."""
    return {package: _side(package, "arrays").environment(device) for package in ("functional", "imperative")}


def expressions(side: str) -> Callable[..., dict[str, np.ndarray | str]]:
    """What a side measures expressions of the atlas by: ``measured`` of its module ``atlas``."""
    measured: Callable[..., dict[str, np.ndarray | str]] = _side(side, "atlas").measured
    return measured


def _side(package: str, module: str) -> ModuleType:
    # Otherwise JAX takes three quarters of a GPU's memory before PyTorch gets any.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return import_module(f"{package}.{module}")


def arrays(side: str, tree: object) -> Arrays:
    """The arrays of a ``state_dict`` or module of the imperative side, or of a pytree of the functional.

    Raises:
        UnusablePortError: there is what is no array of numbers.
    """
    held: Arrays = _side(side, "port").arrays(tree)
    return held


def filled(side: str, *arguments: object) -> Any:  # noqa: ANN401  # of either side
    """Arrays by name as tensors; or, of the functional side, in the places of those of a pytree."""
    return _side(side, "port").filled(*arguments)


def tied(state_dict: object) -> Sequence[Sequence[str]]:
    """Names of the imperative side that are one tensor."""
    groups: Sequence[Sequence[str]] = _side("imperative", "port").tied(state_dict)
    return groups


def port(side: str, *arguments: object, **options: object) -> Any:  # noqa: ANN401  # of either side
    """What runs one side of a pair of the user's own: ``imperative.port.Port`` or ``functional.port.Port``.

    Raises:
        UnusablePortError: it cannot be run.
    """
    return _side(side, "port").Port(*arguments, **options)
