"""Puts a run into a grid, what was compared against what became of it; every cell names its evidence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compare.judge import SIDES, Finding, Verdict
from compare.record import Record
from compare.timing.bench import Timed
from compare.timing.saved import Bench
from compare.words import percent, plain, word

#: What each word looks like, for whoever cannot tell colours.
SIGNS = {
    "identical": "=",
    "rounding": "≈",
    "agree": "✓",
    "vacuous": "∅",
    "undecided": "?",
    "different": "≠",
    "disagree": "≠",
    "raised": "!",
}

# The first of these that came up is what a cell says.
_ORDER = ("different", "undecided", "rounding", "identical", "vacuous")


@dataclass(frozen=True)
class Cell:
    """What became of one thing.

    Attributes:
        word: the verdict on it (a key of :data:`SIGNS`); empty for what is no verdict.
        text: a figure.
        evidence: the table that it comes from, by its key; empty if there is none.
    """

    word: str
    text: str
    evidence: str


@dataclass(frozen=True)
class Row:
    """What became of one scenario in one dtype; None where there is nothing to compare."""

    record: Record
    cells: tuple[Cell | None, ...]

    def target(self, cell: Cell) -> str:
        """The identifier of a cell's evidence on the page."""
        if cell.evidence == "chart":
            return f"{self.record.scenario}-chart"
        return "-".join(filter(None, (self.record.scenario, self.record.dtype, cell.evidence)))


COLUMNS = (
    "value",
    "gradient",
    "every step",
    "converged parameters",
    "truth",
    "the note's figures",
    "time",
)

GLOSSARY = {
    "value, gradient": "at the start, or at states that both sides are handed",
    "every step": "one step from such states, and all steps of the free run",
    "converged parameters": "after the free run",
    "ULPs": "units of the last place, of the difference that uses most of what rounding accounts for",
    "truth": "how far the sides are at most from what neither of them computed, as a share of what rounding "
    "allows",
    "time": "how many times as fast the faster side is, each at its best, from the timings; about: from one "
    "warm run of each",
}


def rows(records: Sequence[Record], bench: Bench | None = None) -> Iterator[Row]:
    """A row for each record.

    Args:
        records: of a run.
        bench: whose timings go before the first ones that the run took itself.
    """
    for record in records:
        verdict = record.verdict
        if verdict is None:
            yield Row(record, (Cell(word(record), "", ""), *[None] * (len(COLUMNS) - 1)))
            continue
        yield Row(
            record,
            (
                _found(verdict.step, "step", lambda f: f.quantity.startswith("values.")),
                _found(verdict.step, "step", lambda f: f.quantity.startswith("gradients.")),
                _steps(verdict) if record.training is not None else None,
                _found(verdict.run, "run", lambda f: f.quantity.startswith("final.")),
                _truth(verdict),
                _published(verdict),
                _time(record, bench) if record.training is not None else None,
            ),
        )


def _steps(verdict: Verdict) -> Cell | None:
    one = [f for f in verdict.step if not f.quantity.startswith(("values.", "gradients."))]
    all_of_them = [f for f in verdict.run if f.quantity.startswith(("values.", "gradients.", "converged."))]
    return _found([*one, *all_of_them], "run" if all_of_them else "step")


def _found(
    findings: Sequence[Finding], evidence: str, of: Callable[[Finding], bool] = lambda _: True
) -> Cell | None:
    chosen = [finding for finding in findings if of(finding)]
    if not chosen:
        return None
    words = {finding.word for finding in chosen}
    said = next(w for w in _ORDER if w in words)
    worst = max((f for f in chosen if f.word == said), key=lambda f: f.share)
    ulps = f"{plain(worst.ulps)} ULP{'' if worst.ulps == 1 else 's'}" if worst.ulps > 0 else ""
    return Cell(said, ulps, evidence)


def _truth(verdict: Verdict) -> Cell | None:
    judged = [d for d in verdict.distances if d.agrees is not None]
    if not judged:
        return None
    shares = [d.absolute / d.budget if d.budget else (np.inf if d.absolute else 0.0) for d in judged]
    agrees = all(d.agrees for d in judged)
    return Cell("agree" if agrees else "disagree", percent(float(max(shares))), "truth")


def _published(verdict: Verdict) -> Cell | None:
    if not verdict.published:
        return None
    met = sum(check.agrees for check in verdict.published)
    total = len(verdict.published)
    return Cell("agree" if met == total else "disagree", f"{met} of {total}", "published")


def _time(record: Record, bench: Bench | None) -> Cell | None:
    best = {side: _best(record, bench, side) for side in SIDES}
    left, right = (best[side] for side in SIDES)
    if left is not None and right is not None:
        fast, slow = sorted((left, right), key=lambda timed: timed.per_step().median)
        ratio = slow.over(fast)
        return Cell("", f"{fast.side} {plain(ratio.median)} ×" if ratio.decided else "equal", "chart")
    if bench is not None and any(timed.scenario == record.scenario for timed in bench.timed):
        return None  # two ways to measure in one column could not be compared
    warm = {side: record.timings[side].warm for side in SIDES}
    fastest = min(SIDES, key=lambda side: warm[side])
    times = max(warm.values()) / warm[fastest] if warm[fastest] else np.inf
    return Cell("", f"{fastest} about {float(f'{times:.1g}'):g} ×", "time")


def _best(record: Record, bench: Bench | None, side: str) -> Timed | None:
    """The fastest variant of a side that was timed on the very problem of a record."""
    if bench is None:
        return None
    told = [
        timed
        for timed in bench.timed
        if (timed.scenario, timed.dtype, timed.device, timed.side)
        == (record.scenario, record.dtype, record.device, side)
        and not timed.sizes
        and not timed.refused
    ]
    return min(told, key=lambda timed: timed.per_step().median, default=None)
