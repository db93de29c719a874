"""One side in a process of its own: reads requests from standard input and answers, a JSON line each.

Started by :mod:`compare.timing` as ``python -m compare.timing.worker MODULE THREADS``.
"""

import ctypes
import gc
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

import scenarios
from compare.timing.clock import Opened, Request, sample, unfinished, warm_up
from compare.timing.judging import judged
from scenarios import Session
from scenarios.sizes import scaled


def main() -> None:
    """Answer until standard input ends."""
    module, threads = sys.argv[1], int(sys.argv[2])
    _end_with_parent()
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)  # whatever a framework prints must not get between the answers
        cores = pinned(threads)
        offered = import_module(module)
        gc.disable()  # else it would run whenever it likes
        sessions: list[Session] = []
        for line in sys.stdin.buffer:
            gc.collect()  # after the answer it would take the core from whoever is timed next
            request = msgspec.json.decode(line, type=Request)
            answers.write(msgspec.json.encode(_answer(request, offered, sessions, cores)) + b"\n")


def _end_with_parent() -> None:
    """Let Linux end this process when the one that asks it does, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def pinned(threads: int) -> int | None:
    """Keep this process on its first cores; returns how many it has, None where that cannot be told."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return len(os.sched_getaffinity(0))


def _answer(request: Request, offered: Any, sessions: list[Session], cores: int | None) -> object:  # noqa: ANN401  # a module
    try:
        if request.variant is None:
            return {"sample": sample(sessions[request.session])}
        statement = scaled(scenarios.get(request.scenario), **request.sizes)
        if request.judged:
            return {
                "error": judged(statement, request.judged, request.variant, request.dtype, request.device)
            }
        if request.trace:
            traced = offered.session(statement, request.variant, request.dtype, request.device)
            for profiled in (nullcontext(), offered.profiled(Path(request.trace))):  # the first run compiles
                with profiled:
                    sample(traced)
            return {}
        # What a framework does once in a process (a compiler of its own is loaded) is no part of a first run.
        trivial = scaled(scenarios.get("root_finding"), steps=1)
        if request.variant in offered.variants(trivial, request.device):
            once = offered.session(trivial, request.variant, request.dtype, request.device)
            if once.compile is not None:
                once.compile()
            sample(once)
        started = time.perf_counter()
        session = offered.session(statement, request.variant, request.dtype, request.device)
        opened = _opened(session, time.perf_counter() - started, cores)
        sessions.append(session)
        return {"opened": opened, "session": len(sessions) - 1}
    except Exception as error:  # noqa: BLE001  # whatever a variant raises is why it has no figure
        return {"error": f"{type(error).__name__}: {error}".strip()}


def _opened(session: Session, building: float, cores: int | None) -> Opened:
    """Compile, run for the first time, and warm up."""
    before = _peak(reset=True)
    started = time.perf_counter()
    if session.compile is not None:
        session.compile()
    compiled = time.perf_counter() - started
    first = sample(session)
    after = _peak()
    warm = warm_up(session)
    return Opened(
        steps=session.steps,
        compile=building + compiled if session.compile is not None else None,
        first=first,
        warm_up=warm,
        unfinished=unfinished(session, median(s.run for s in warm)),
        host=None if before is None or after is None else max(0, after - before),
        device=session.memory() if session.memory is not None else None,
        cores=cores,
        threads=session.threads,
    )


def _peak(*, reset: bool = False) -> int | None:
    """Peak resident bytes of this process, from now on if it is reset; None where Linux is not."""
    with suppress(OSError, StopIteration):
        if reset:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        with Path("/proc/self/status").open(encoding="ascii") as lines:
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return None


if __name__ == "__main__":
    main()
