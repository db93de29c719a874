"""Runs scenarios on both sides, from the same bits, and has each pair judged."""

import os
import platform
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import scenarios
from compare import twins
from compare.judge import SIDES, Trial
from compare.record import SCHEMA_VERSION, Environment, Failure, Record
from compare.timing import measure
from compare.twins import Twins
from scenarios import Device, Dtype, Result, unavailable

DTYPES: tuple[Dtype, ...] = ("float32", "float64")


def run(
    names: Sequence[str] | None = None,
    *,
    dtypes: Sequence[Dtype] = DTYPES,
    device: Device = "auto",
    every: int | None = 1,
) -> tuple[Record, ...]:
    """Run scenarios on both sides and judge each pair.

    Args:
        names: scenarios by name, in the order to run; all of the lecture note by default.
        dtypes: ``"float32"``, ``"float64"`` or both.
        device: ``"auto"`` is the GPU if both sides see one.
        every: compare every ``every``-th training step; ``None`` compares none.

    Raises:
        UnavailableError: a scenario, a dtype or a device does not exist.
        TypeError: names or dtypes is one string instead of a sequence of them.
    """
    return tuple(records(names, dtypes=dtypes, device=device, every=every))


def records(
    names: Sequence[str] | None = None,
    *,
    dtypes: Sequence[Dtype] = DTYPES,
    device: Device = "auto",
    every: int | None = 1,
) -> Iterator[Record]:
    """The same, one record at a time as it is finished; arguments as for :func:`run`."""
    if isinstance(names, str) or isinstance(dtypes, str):
        raise TypeError("names and dtypes are sequences of strings, such as ['leaves'] and ['float64'].")
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise unavailable("dtype", dtype, DTYPES)
    for name in [statement.name for statement in scenarios.ALL] if names is None else names:
        pair, place = twins.load(name), twins.resolve(device)
        trial = Trial(pair, place, every=every)
        for dtype in dtypes:
            yield compare(pair, dtype, place, trial=trial)


def compare(pair: Twins, dtype: Dtype, device: Device = "cpu", *, trial: Trial | None = None) -> Record:
    """Run one pair of twins in one dtype and judge it; a twin that raises is recorded, not passed on.

    Args:
        pair: a statement and the two modules that run it.
        dtype: to judge in.
        device: to run on.
        trial: of the same pair, if something of it has been computed already.
    """
    statement, trial = pair.statement, trial or Trial(pair, device)
    record = Record(
        scenario=statement.name,
        title=statement.title,
        source=statement.source,
        training=statement.training,
        dtype=dtype,
        device=device,
        start=statement.start,
        data=statement.data,
        results={},
        timings={},
        verdict=None,
    )
    results: dict[str, Result] = {}
    bare: dict[str, Result] = {}
    culprit = ""
    try:
        for culprit in SIDES:
            call = partial(getattr(pair, culprit).run, statement, dtype=dtype, device=device)
            unrecorded = partial(call, every=None) if statement.training else call
            timing, bare[culprit] = measure(unrecorded)
            results[culprit] = trial.result(culprit, dtype)
            record = replace(record, timings={**record.timings, culprit: timing})
        culprit = "comparison"
        verdict = trial.verdict(dtype, bare)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a twin raises belongs in its record
        return replace(record, timings={}, failure=_failure(culprit, error))
    return replace(record, verdict=verdict, results={side: _lean(r) for side, r in results.items()})


def environment(names: Sequence[str], dtypes: Sequence[Dtype], device: Device) -> Environment:
    """Versions, machine and devices, as ``run.json`` keeps them."""
    packages = ("gradtwin", "torch", "jax", "jaxlib", "optax", "numpy")
    return Environment(
        schema_version=SCHEMA_VERSION,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version()} | {package: version(package) for package in packages},
        machine={
            "system": platform.system(),
            "processor": _processor(),
            "cores": str(
                len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            ),
        },
        sides=twins.environments(device),
        scenarios=tuple(names),
        dtypes=tuple(dtypes),
        device=device,
    )


def _failure(side: str, error: BaseException) -> Failure:
    return Failure(
        side=side,
        message="".join(traceback.format_exception_only(error)).strip(),
        traceback="".join(traceback.format_exception(error)),
    )


def _lean(result: Result) -> Result:
    """Without what the verdict has used up: the state, and the gradients and parameters of every step."""
    lean = replace(result, state={})
    if lean.history is None:
        return lean
    return replace(lean, history=replace(lean.history, gradients={}, parameters={}))


def _processor() -> str:
    """The processor's name; Linux alone hides it from :mod:`platform`."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
