"""Puts records into words and tables, once for the terminal, the page, Markdown and whatever comes next."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compare.differences import LIMIT
from compare.judge import SIDES
from compare.record import Environment, Record, Run
from scenarios import Result


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def word(record: Record) -> str:
    """The verdict in a word: ``agree``, ``disagree`` or ``raised``."""
    if record.verdict is None:
        return "raised"
    return "agree" if record.verdict.agrees else "disagree"


def _scope(record: Record) -> str:
    """What an agreement covers, where that is less than the whole record."""
    verdict = record.verdict
    partly = verdict is not None and verdict.agrees and any(d.agrees is None for d in verdict.differences)
    return " at start" if partly else ""


def sentence(record: Record) -> str:
    """The verdict in a plain sentence, with the first thing that is wrong if something is."""
    if record.failure is not None:
        who = f"{record.failure.side} twin" if record.failure.side in SIDES else record.failure.side
        return f"The {who} raised {record.failure.message}"
    if record.verdict is None:
        return "Nothing was judged."
    if record.verdict.complaints:
        first, *more = record.verdict.complaints
        return f"They disagree: {first}" + (f" (and {len(more)} more)." if more else ".")
    judged = [d for d in record.verdict.differences if d.agrees is not None]
    worst = max(judged, key=lambda d: d.ulps)
    measured = len(record.verdict.differences) - len(judged)
    rest = f" {measured} more are measured but not judged in {record.dtype}." if measured else ""
    where = _scope(record)
    if worst.ulps == 0:
        return f"They agree{where}: all {len(judged)} judged quantities are equal.{rest}"
    return (
        f"They agree{where}: of {len(judged)} judged quantities the furthest apart is the {worst.quantity}, "
        f"by {worst.ulps:.1f} ULPs of the {LIMIT} put down to rounding.{rest}"
    )


def overview(records: Sequence[Record]) -> Table:
    """A row per record: its verdict and the figures behind it."""
    return Table(
        "Verdicts",
        (
            "scenario",
            "dtype",
            "verdict",
            "ULPs",
            "gradient",
            "first unequal step",
            "truth",
            "published",
            "imperative",
            "functional",
        ),
        tuple(_overview_row(record) for record in records),
    )


LEGEND = (
    "agree at start: along a float32 run the distance between the sides is measured, not judged. "
    "ULPs: largest judged difference. gradient: largest relative difference of a gradient (maximum norms), "
    "at any step. first unequal step: first step with a bit that differs. truth: largest relative distance "
    "of a gradient from its closed form or central differences. imperative, functional: time of a warm run "
    "that records nothing, a first impression."
)


def _overview_row(record: Record) -> tuple[str, ...]:
    head = (record.scenario, record.dtype, word(record) + _scope(record))
    if record.verdict is None:
        return (*head, *[""] * 7)
    verdict = record.verdict
    gradients = [d.relative for d in verdict.differences if d.quantity.startswith("gradients")]
    firsts = [d.first_unequal_step for d in verdict.differences if d.first_unequal_step is not None]
    trained = any(len(d.curve) for d in verdict.differences)
    truth = [t.relative for t in verdict.distances if t.quantity.startswith("gradients")]
    met = sum(check.agrees for check in verdict.published)
    return (
        *head,
        f"{max((d.ulps for d in verdict.differences if d.agrees is not None), default=np.nan):.1f}",
        small(max(gradients)) if gradients else "–",
        (str(min(firsts)) if firsts else "never") if trained else "–",
        small(max(truth)) if truth else "–",
        f"{met}/{len(verdict.published)}" if verdict.published else "–",
        *(seconds(record.timings[side].warm) for side in SIDES),
    )


def tables(record: Record) -> Iterator[Table]:
    """Everything that a record knows, as tables."""
    if record.verdict is None:
        return
    verdict, results = record.verdict, record.results
    yield Table(
        "Differences between the sides",
        ("quantity", "verdict", "absolute", "relative", "ULPs", "where", "first unequal step"),
        tuple(
            (
                d.quantity,
                _agrees(d.agrees),
                small(d.absolute),
                small(d.relative),
                f"{d.ulps:.1f}",
                d.note or (d.where if d.absolute else ""),
                "" if d.first_unequal_step is None else str(d.first_unequal_step),
            )
            for d in verdict.differences
        ),
    )
    if any(r.gradients for r in results.values()):
        yield _by_name("Gradients at the start", results, lambda result: result.gradients)
    if verdict.published:
        yield Table(
            "Figures of the lecture note",
            ("quantity", "printed", *SIDES, "verdict"),
            tuple(
                (
                    p.quantity,
                    p.printed if p.relation == "equal" else f"{p.relation} {p.printed}",
                    *(f"{p.computed[side]:.7g}" for side in SIDES),
                    _agrees(p.agrees),
                )
                for p in verdict.published
            ),
        )
    if verdict.facts:
        yield Table(
            "Facts that both sides derive",
            ("fact", "expected", *SIDES, "verdict"),
            tuple(
                (f.name, str(f.expected), *(str(f.derived[side]) for side in SIDES), _agrees(f.agrees))
                for f in verdict.facts
            ),
        )
    natives = {name: None for result in results.values() for name in result.native}
    if natives:
        yield Table(
            "The same in each framework's own words",
            ("", *SIDES),
            tuple((name, *(results[side].native.get(name, "") for side in SIDES)) for name in natives),
        )
    if verdict.distances:
        yield Table(
            "Distance to the truth",
            ("quantity", "side", "truth from", "absolute", "relative", "truth known to", "verdict"),
            tuple(
                (
                    t.quantity,
                    t.side,
                    t.origin,
                    small(t.absolute),
                    "–" if np.isnan(t.relative) else small(t.relative),
                    f"{t.uncertainty:.1e}" if t.uncertainty else "rounding",
                    _agrees(t.agrees),
                )
                for t in verdict.distances
            ),
        )
    if all(r.history is not None for r in results.values()):
        yield _losses(results)
    if any(r.converged for r in results.values()):
        yield _by_name("Converged parameters", results, lambda result: result.converged)
    yield Table(
        "First timing: seconds without recording, in one process",
        ("side", "first call", "warm call"),
        tuple((side, seconds(t.first), seconds(t.warm)) for side, t in record.timings.items()),
    )


def setting(run: Run) -> Table:
    """Where and with what a run was made."""
    environment: Environment = run.environment
    sides = {
        f"{side}, {name}": value for side, facts in environment.sides.items() for name, value in facts.items()
    }
    facts = {"started": environment.started, **environment.versions, **environment.machine, **sides}
    return Table("Machine and versions", ("", ""), tuple(facts.items()))


def machine(environment: Environment) -> str:
    """Processor and versions in a line."""
    facts, versions = environment.machine, environment.versions
    names = ("python", "torch", "jax", "optax", "numpy")
    return f"{facts['processor']}, {facts['cores']} cores; " + ", ".join(f"{n} {versions[n]}" for n in names)


def missing(run: Run) -> str:
    """What an interrupted run still owes, in a sentence; empty if it owes nothing."""
    if run.missing <= 0:
        return ""
    return f"The run was interrupted: {len(run.records)} records were finished, {run.missing} are missing."


def seconds(value: float) -> str:
    """A duration with its unit, to three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def small(value: float) -> str:
    """A difference to two digits; exactly nothing is 0."""
    return f"{value:.1e}" if value else "0"


def _agrees(agrees: bool | None) -> str:
    return "measured" if agrees is None else "agree" if agrees else "disagree"


def _by_name(
    caption: str, results: Mapping[str, Result], pick: Callable[[Result], Mapping[str, np.ndarray]]
) -> Table:
    """One row per array: its value, or its Euclidean norm where it has many entries."""
    left, right = (dict(pick(results[side])) for side in SIDES)
    both = left | right
    return Table(
        caption,
        ("name", "shape", *SIDES, "largest difference"),
        tuple(
            (
                name,
                str(both[name].shape),
                *(_value(side[name]) if name in side else "missing" for side in (left, right)),
                _largest_difference(left, right, name),
            )
            for name in both
        ),
    )


def _largest_difference(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], name: str) -> str:
    if name not in left or name not in right or left[name].shape != right[name].shape:
        return "–"
    return small(float(np.abs(left[name].astype(np.float64) - right[name]).max(initial=0.0)))


def _value(array: np.ndarray) -> str:
    if array.size == 1:
        return f"{array.item():.9g}"
    return f"norm {np.linalg.norm(array.astype(np.float64)):.9g}"


def loss_gap(results: Mapping[str, Result]) -> np.ndarray:
    """How far the losses are apart at each step that both sides recorded, in float64."""
    losses = [r.history.losses.astype(np.float64) for r in results.values() if r.history is not None]
    rows = min((len(curve) for curve in losses), default=0) if len(losses) == len(SIDES) else 0
    with np.errstate(invalid="ignore"):
        return np.abs(losses[0][:rows] - losses[-1][:rows]) if rows else np.zeros(0)


def _losses(results: Mapping[str, Result]) -> Table:
    """The loss at about eleven steps, as the note's loops print it."""
    gap = loss_gap(results)
    histories = [result.history for result in results.values() if result.history is not None]
    shown = sorted({*range(0, len(gap), max(1, len(gap) // 10)), len(gap) - 1}) if len(gap) else []
    return Table(
        "Loss along the run",
        ("step", *SIDES, "difference"),
        tuple(
            (
                str(histories[0].steps[i]),
                *(f"{history.losses[i]:.9g}" for history in histories),
                small(float(gap[i])),
            )
            for i in shown
        ),
    )
