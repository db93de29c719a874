"""A first timing of a side: the first call and a warm call, kept apart.

A twin hands back NumPy arrays, so its device has finished when the clock stops. Quote these as a first
impression: one process runs both sides, and each call is timed once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call in this process (imports excluded, compilation included) and of the next."""

    first: float
    warm: float


def measure(call: Callable[[], T]) -> tuple[Timing, T]:
    """Time two calls in a row; also returns what the second computed, so that it can be judged."""
    started = perf_counter()
    call()
    between = perf_counter()
    result = call()
    return Timing(first=between - started, warm=perf_counter() - between), result
