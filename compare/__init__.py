"""The comparison: runs both sides of a scenario and says whether they agree, and where they first part.

>>> import compare
>>> [record] = compare.run(["chain_rule"], dtypes=["float64"])
>>> record.verdict.agrees
True
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compare.judge import Verdict, judge
    from compare.port.check import Pair, PairVerdict, check
    from compare.port.conversion import match, to_functional, to_imperative
    from compare.port.mapping import Map, MapError
    from compare.record import Record, Run, UnreadableRunError, UnwritableRunError, read
    from compare.runner import run
    from scenarios.port import Training, UnusablePortError

__all__ = [
    "Map",
    "MapError",
    "Pair",
    "PairVerdict",
    "Record",
    "Run",
    "Training",
    "UnreadableRunError",
    "UnusablePortError",
    "UnwritableRunError",
    "Verdict",
    "check",
    "judge",
    "match",
    "read",
    "run",
    "to_functional",
    "to_imperative",
]

# Loaded when first asked for, so that the command can answer, and be interrupted, before NumPy is there.
_HOMES = {
    "judge": "judge",
    "Verdict": "judge",
    "run": "runner",
    **dict.fromkeys(("Pair", "PairVerdict", "Training", "UnusablePortError", "check"), "port.check"),
    **dict.fromkeys(("Map", "MapError"), "port.mapping"),
    **dict.fromkeys(("match", "to_functional", "to_imperative"), "port.conversion"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'compare' has no attribute '{name}'")
    return getattr(import_module(f"compare.{_HOMES.get(name, 'record')}"), name)
