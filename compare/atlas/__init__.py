"""The atlas: where PyTorch and JAX mean different things by one name, measured here and now.

What an entry states is in :mod:`scenarios.atlas`; nothing of what is said of it is typed in.
"""

import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from multiprocessing import get_context, parent_process
from threading import Thread

from compare.atlas.measure import Quantity, Reading, Sides, measured
from scenarios.atlas import ALL, Family
from scenarios.types import Device

__all__ = ["Quantity", "Reading", "readings"]

#: So few entries are measured before a second process would have imported both frameworks.
_FEW = 8


def readings(
    families: Sequence[Family] = tuple(ALL), device: Device = "cpu", jobs: int | None = None
) -> Generator[Reading]:
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
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _end_with_parent)
    try:
        yield from chain.from_iterable(pool.map(measure, entries))
    finally:  # whoever stops here waits for no more than what is being measured
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Have a worker end when its parent does, however that ends: it would wait for work for ever."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which says what it means
    Thread(target=wait, daemon=True).start()
