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
    from compare.record import Record, Run, UnreadableRunError, UnwritableRunError, read
    from compare.runner import run
    from scenarios.port import UnusablePortError

__all__ = [
    "Pair",
    "PairVerdict",
    "Record",
    "Run",
    "UnreadableRunError",
    "UnusablePortError",
    "UnwritableRunError",
    "Verdict",
    "check",
    "judge",
    "read",
    "run",
]

# Loaded when first asked for, so that the command can answer, and be interrupted, before NumPy is there.
_HOMES = {
    "judge": "judge",
    "Verdict": "judge",
    "run": "runner",
    **dict.fromkeys(("Pair", "PairVerdict", "UnusablePortError", "check"), "port.check"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'compare' has no attribute '{name}'")
    return getattr(import_module(f"compare.{_HOMES.get(name, 'record')}"), name)
