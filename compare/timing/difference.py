"""What changed between two saved runs, or two benches: verdicts and timings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compare.record import UnreadableRunError, read
from compare.timing.bench import Timed
from compare.timing.saved import FILE, load
from compare.timing.statistics import CONFIDENCE, RESAMPLES, Estimate
from compare.words import word

#: With fewer variants in common, what the machine did cannot be told from what they did.
COMPANY = 3


@dataclass(frozen=True)
class VerdictChange:
    """A pair of twins whose verdict is another one; empty where one run lacks it."""

    scenario: str
    dtype: str
    before: str
    after: str


@dataclass(frozen=True)
class TimeChange:
    """How much longer a step of a variant takes than before.

    Attributes:
        name: scenario, sizes, dtype and variant.
        factor: after over before, with what all variants have in common taken out.
        raw: the same with it.
        refused: why it has no figure any more; empty if it has one, or had none before.
    """

    name: str
    factor: Estimate | None
    raw: float
    refused: str


@dataclass(frozen=True)
class Difference:
    """What changed.

    Attributes:
        verdicts: those that changed.
        times: of every variant that both benches have.
        machine: by how much all variants together became slower: the machine, or the environment.
        missing: variants that only one bench has.
    """

    verdicts: tuple[VerdictChange, ...]
    times: tuple[TimeChange, ...]
    machine: float
    missing: tuple[str, ...]

    def slower(self, factor: float) -> tuple[TimeChange, ...]:
        """The variants that certainly take more than ``factor`` times as long, or have lost their figure."""
        return tuple(t for t in self.times if t.refused or (t.factor is not None and t.factor.low > factor))


def difference(before: Path, after: Path) -> Difference:
    """Compare two directories, each with a saved run, a bench, or both.

    Raises:
        UnreadableRunError: one cannot be read, or they have nothing in common to compare.
    """
    runs = [(d / "run.json").exists() for d in (before, after)]
    benches = [(d / FILE).exists() for d in (before, after)]
    if not all(runs) and not all(benches):
        lacking = before if not (runs[0] or benches[0]) else after if not (runs[1] or benches[1]) else None
        if lacking is not None:
            raise UnreadableRunError(f"{lacking} holds neither a saved run nor a bench.")
        raise UnreadableRunError(f"{before} and {after} hold a run and a bench: compare two of a kind.")
    verdicts = _verdicts(before, after) if all(runs) else ()
    left, right = (load(d) if all(benches) else None for d in (before, after))
    old, new = ({_name(t): t for t in bench.timed} if bench else {} for bench in (left, right))
    common = [name for name in old if name in new]
    if not common and not all(runs):
        raise UnreadableRunError(f"{before} and {after} have timed nothing in common.")
    logs = {name: _medians(old[name], new[name]) for name in common if not _refused(old[name], new[name])}
    machine = float(np.median(list(logs.values()))) if len(logs) >= COMPANY else 0.0
    return Difference(
        verdicts=verdicts,
        times=tuple(_time(name, old[name], new[name], machine) for name in common),
        machine=float(np.exp(machine)),
        missing=tuple(sorted(old.keys() ^ new.keys())),
    )


def _verdicts(before: Path, after: Path) -> tuple[VerdictChange, ...]:
    old, new = ({(r.scenario, r.dtype): word(r) for r in read(d).records} for d in (before, after))
    return tuple(
        VerdictChange(*key, old.get(key, ""), new.get(key, ""))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    )


def _name(timed: Timed) -> str:
    sizes = "".join(f" {name}={size}" for name, size in timed.sizes.items())
    return f"{timed.scenario}{sizes} ({timed.dtype}, {timed.device}) {timed.name}"


def _refused(old: Timed, new: Timed) -> str:
    return old.refused or new.refused


def _steps(timed: Timed) -> np.ndarray:
    return np.array([sample.run / timed.steps for sample in timed.samples])


def _medians(old: Timed, new: Timed) -> float:
    return float(np.log(np.median(_steps(new)) / np.median(_steps(old))))


def _time(name: str, old: Timed, new: Timed, machine: float) -> TimeChange:
    if _refused(old, new):
        return TimeChange(name, None, float("nan"), "" if old.refused else new.refused)
    drift, raw = np.exp(machine), float(np.exp(_medians(old, new)))
    if min(len(old.samples), len(new.samples)) == 1:  # of one sample alone nothing is certain
        return TimeChange(name, Estimate(raw / drift, 0.0, float("inf")), raw, "")
    from scipy import stats

    found = stats.bootstrap(
        (_steps(new), _steps(old)),
        lambda a, b, axis=-1: np.median(a, axis=axis) / np.median(b, axis=axis),
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = (float(end / drift) for end in found.confidence_interval)
    return TimeChange(name, Estimate(raw / drift, low, high), raw, "")


def changes(found: Difference, kinds: Sequence[str], factor: float) -> Mapping[str, int]:
    """How many changes there are of each kind that counts: ``verdict`` and ``time``."""
    counted = {"verdict": len(found.verdicts), "time": len(found.slower(factor))}
    return {kind: counted[kind] for kind in kinds}
