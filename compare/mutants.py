"""Checks the checker: plants known defects in one side at a time, and asks whether the judge finds them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

import scenarios
from compare import twins
from compare.judge import SIDES, Trial
from compare.record import SCHEMA_VERSION, UnwritableRunError, decode_current, encode
from compare.twins import Twins
from compare.words import complaints, difference
from scenarios import Dtype, Statement
from scenarios.types import Twin

Fate = Literal["killed", "equivalent", "survived"]

DTYPES: tuple[Dtype, ...] = ("float32", "float64")

#: The mutants, each with the change that both sides have beside it: the defect is the difference of the two.
MUTANTS: dict[str, str] = {
    "sign of one gradient entry": "none",
    "gradients doubled": "none",
    "mean for sum": "none",
    "detached leaf": "none",
    "frozen leaf": "none",
    "gradients never cleared": "none",
    "scalars swapped": "none",
    "leaves of equal shape swapped": "none",
    "square weight transposed": "none",
    "leaky relu": "none",
    "gelu by tanh": "gelu",
    "epsilon inside the root": "none",
    "epsilon 1e-7": "none",
    "no bias correction": "none",
    "fading rate off by one": "fading rate",
    "weight decay 1e-8": "none",
    "decoupled decay": "coupled decay",
    "clipped with 1e-6": "clipped",
    "standardised with ddof 1": "standardised",
    "float32 leak": "none",
    "labels shifted by one": "none",
    "points shuffled": "none",
    "one step fewer": "none",
    "gradient off by 1e-6": "none",
    "gradient off by 1e-9": "none",
    "gradient off by 1e-12": "none",
}


FILE = "mutants.json"


@dataclass(frozen=True)
class Mutant:
    """What became of one defect, planted in one side of one scenario.

    Attributes:
        scenario: by name.
        side: that has the defect.
        defect: a key of :data:`MUTANTS`.
        fates: by dtype: ``killed``, ``equivalent`` (it changes no bit of what is compared) or ``survived``.
        evidence: what gave it away, in a clause.
        share: of the rounding budget, the largest that a difference used in the first state that differed;
            infinite if something other than a difference gave it away.
    """

    scenario: str
    side: str
    defect: str
    fates: dict[Dtype, Fate]
    evidence: str
    share: np.float64

    @property
    def fate(self) -> Fate:
        """Of both precisions: ``survived`` in one is enough, and ``killed`` goes before ``equivalent``."""
        fates = set(self.fates.values())
        return next(fate for fate in ("survived", "killed", "equivalent") if fate in fates)


@dataclass(frozen=True)
class _Saved:
    schema_version: int
    mutants: tuple[Mutant, ...]


def save(directory: Path, found: Sequence[Mutant]) -> None:
    """Keep the mutants beside a saved run, for its report.

    Raises:
        UnwritableRunError: the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_bytes(encode(_Saved(SCHEMA_VERSION, tuple(found))))
    except OSError as error:
        raise UnwritableRunError(f"cannot write to {directory}: {error.strerror}.") from error


def load(directory: Path) -> tuple[Mutant, ...]:
    """The mutants kept beside a saved run; none if there are none.

    Raises:
        UnreadableRunError: the file was changed or is of another version.
    """
    path = directory / FILE
    return decode_current(path.read_bytes(), _Saved, f"{path}").mutants if path.exists() else ()


def mutants(names: Sequence[str] | None = None, defects: Sequence[str] | None = None) -> Iterator[Mutant]:
    """Plant every defect that has a place, in either side of every scenario, and judge each pair.

    Args:
        names: scenarios by name; all by default.
        defects: keys of :data:`MUTANTS`; all by default.

    Raises:
        UnavailableError: there is no such scenario.
    """
    for name in [statement.name for statement in scenarios.ALL] if names is None else names:
        statement = scenarios.get(name)
        for defect in MUTANTS if defects is None else defects:
            for side in SIDES:
                wrong = _planted(name, side, defect)
                if wrong is not None:
                    yield _judged(statement, side, defect, wrong)


def _judged(statement: Statement, side: str, defect: str, wrong: Twin) -> Mutant:
    common = MUTANTS[defect]
    if common != "none":
        # What is known of the scenario does not hold for the changed one.
        training = statement.training and replace(statement.training, optimizer="other")
        statement = replace(statement, training=training, truth={}, objective=None, limit={}, published=())
    honest = {s: _planted(statement.name, s, common) for s in SIDES}
    trial = Trial(_pair(statement, {**honest, side: wrong}))
    fates: dict[Dtype, Fate] = {}
    evidence, share = "", np.float64(np.inf)
    for dtype in DTYPES:
        found = [f for _, e in trial.examinations for f in (e.higher if dtype == "float64" else e.lower)]
        different = [f for f in found if f.word == "different"]
        if different:
            fates[dtype], evidence = "killed", difference(different[0])
            share = np.float64(max(f.share for f in different))
            continue
        verdict = trial.verdict(dtype)
        if not verdict.agrees:
            fates[dtype], evidence = "killed", next(complaints(verdict), verdict.word)
            continue
        clean = dict(zip(SIDES, (honest[side], wrong), strict=True))
        same = Trial(_pair(statement, clean)).verdict(dtype).word == "identical"
        fates[dtype] = "equivalent" if same else "survived"
    return Mutant(statement.name, side, defect, fates, evidence, share)


def _pair(statement: Statement, sides: dict[str, Twin | None]) -> Twins:
    assert sides["imperative"] is not None
    assert sides["functional"] is not None
    return Twins(statement, sides["imperative"], sides["functional"])


@cache
def _planted(name: str, side: str, change: str) -> Twin | None:
    return twins.changed(name, side, change) if change in twins.changes()[side] else None
