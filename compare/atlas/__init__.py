"""The atlas: where PyTorch and JAX mean different things by one name, measured here and now.

What an entry states is in :mod:`scenarios.atlas`; nothing of what is said of it is typed in.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from multiprocessing import get_context

from compare.atlas.measure import Quantity, Reading, Sides, measured
from scenarios.atlas import ALL, Family
from scenarios.types import Device

__all__ = ["Quantity", "Reading", "readings"]

#: So few entries are measured before a second process would have imported both frameworks.
_FEW = 8


def readings(
    families: Sequence[Family] = tuple(ALL), device: Device = "cpu", jobs: int | None = None
) -> Iterator[Reading]:
    """What is measured of every entry, one after the other, in float32 and in float64.

    Args:
        families: of entries.
        device: to compute on.
        jobs: in so many processes; as many as there are cores without it, on a GPU one.
    """
    entries = [entry for family in families for entry in ALL[family]]
    measure = partial(measured, sides=Sides(device))
    jobs = jobs or (1 if device == "gpu" or len(entries) <= _FEW else os.cpu_count() or 1)
    if jobs == 1:
        yield from chain.from_iterable(map(measure, entries))
        return
    # A fork of a process in which JAX is running may hang.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        yield from chain.from_iterable(pool.map(measure, entries))
    finally:  # whoever stops here waits for no more than what is being measured
        pool.shutdown(cancel_futures=True)
