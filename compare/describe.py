"""Puts records into words and tables, once for the terminal, the page, Markdown and whatever comes next."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compare.judge import SIDES, Distance, Dynamics, Finding, Verdict
from compare.mutants import Mutant
from compare.record import Environment, Record, Run
from compare.words import MEANING, lost, number, percent, remark, small, word
from scenarios import Result


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of text; what is evidence of a verdict has a key."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    key: str = ""


def overview(records: Sequence[Record]) -> Table:
    """A row per record: its verdict and the figures behind it."""
    return Table(
        "Verdicts",
        (
            "scenario",
            "dtype",
            "verdict",
            "ULPs",
            "of the budget",
            "notices",
            "lost bits",
            "truth",
            "published",
            "imperative",
            "functional",
        ),
        tuple(_overview_row(record) for record in records),
    )


#: What the columns of a record's tables say.
GLOSSARY = {
    "of the budget": "the share of what rounding accounts for that a difference uses; above 100 % it is no "
    "rounding",
    "notices": "the smallest relative error of one step that would not have passed for rounding",
    "lost bits": "of the lower precision, on the imperative and on the functional side",
}

LEGEND = (
    "ULPs: the largest difference between the sides, in units of the last place; lost bits, notices: in the "
    "quantity that hides most. truth: largest relative distance of a gradient from its exact value. "
    "imperative, functional: time of a warm run that records nothing, a first impression. "
    + "; ".join(f"{name}: {meaning}" for name, meaning in (GLOSSARY | MEANING).items())
    + "."
)


def _overview_row(record: Record) -> tuple[str, ...]:
    head = (record.scenario, record.dtype, word(record))
    if record.verdict is None:
        return (*head, *[""] * 8)
    verdict = record.verdict
    told = [f for f in (*verdict.step, *verdict.run) if f.word != "vacuous"]
    blunt = [f.notices for f in verdict.step if f.word in {"identical", "rounding"}]
    bits = [f for f in verdict.step if len(f.lost_bits) == len(SIDES)]
    truth = [t.relative for t in verdict.distances if t.quantity.startswith("gradients")]
    met = sum(check.agrees for check in verdict.published)
    return (
        *head,
        number(max((f.ulps for f in told), default=np.nan)),
        percent(max((f.share for f in told), default=np.nan)),
        small(max(blunt)) if blunt else "–",
        lost(max(bits, key=lambda f: np.ptp(list(f.lost_bits.values())))) if bits else "–",
        small(np.nanmax(truth)) if truth else "–",
        f"{met}/{len(verdict.published)}" if verdict.published else "–",
        *(seconds(record.timings[side].warm) for side in SIDES),
    )


def tables(record: Record, *, evidence: bool = False) -> Iterator[Table]:
    """Everything that a record knows, as tables, or the evidence of its verdict alone."""
    if record.verdict is None:
        return
    yield from _evidence(record, record.verdict)
    if not evidence:
        yield from (table for _, table in recorded(record))
    yield Table(
        "First timing: seconds without recording, in one process",
        ("side", "first call", "warm call"),
        tuple((side, seconds(t.first), seconds(t.warm)) for side, t in record.timings.items()),
        "time",
    )


def _evidence(record: Record, verdict: Verdict) -> Iterator[Table]:
    """What the verdict rests on."""
    yield from findings(verdict)
    if verdict.dynamics is not None:
        yield _dynamics(verdict.dynamics, record.dtype)
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
            "published",
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
    if verdict.distances:
        yield Table(
            "Distance to the truth",
            (
                "quantity",
                "side",
                "truth from",
                "after step",
                "absolute",
                "relative",
                "rounding allows",
                "verdict",
            ),
            tuple(
                (
                    t.quantity,
                    t.side,
                    t.origin,
                    "–" if t.step is None else str(t.step),
                    small(t.absolute),
                    "–" if np.isnan(t.relative) else small(t.relative),
                    small(t.budget),
                    _agrees(t.agrees),
                )
                for t in _telling(verdict.distances)
            ),
            "truth",
        )


def recorded(record: Record) -> Iterator[tuple[str, Table]]:
    """What both sides computed, each table with the step of the twins that computed it."""
    results = record.results
    if any(r.gradients for r in results.values()):
        yield "step", _by_name("Gradients at the start", results, lambda result: result.gradients)
    natives = {name: None for result in results.values() for name in result.native}
    if natives:
        yield (
            "run",
            Table(
                "The same in each framework's own words",
                ("", *SIDES),
                tuple((name, *(results[side].native.get(name, "") for side in SIDES)) for name in natives),
            ),
        )
    if all(r.history is not None for r in results.values()):
        yield "run", _losses(results)
    if any(r.values for r in results.values()):
        yield "run", _by_name("Values at the start", results, lambda result: result.values)
    if any(r.converged for r in results.values()):
        yield "run", _by_name("Converged parameters", results, lambda result: result.converged)
    if any(r.outcome for r in results.values()):
        yield "run", _by_name("After training", results, lambda result: result.outcome)


def kills(found: Sequence[Mutant]) -> Table:
    """A row per defect: what became of it in each scenario, on either side."""
    names = list(dict.fromkeys(m.scenario for m in found))
    defects = list(dict.fromkeys(m.defect for m in found))

    def cell(defect: str, name: str) -> str:
        fates = [m.fate for m in found if (m.defect, m.scenario) == (defect, name)]
        return ", ".join(f"{fates.count(fate)} {fate}" for fate in dict.fromkeys(fates)) or "–"

    return Table(
        "What became of planted defects, in float32 and in float64",
        ("defect", *names),
        tuple((defect, *(cell(defect, name) for name in names)) for defect in defects),
    )


def kill_rate(found: Sequence[Mutant]) -> str:
    """How many planted defects were found, in a sentence."""
    fates = [m.fate for m in found]
    equivalent, survived = fates.count("equivalent"), fates.count("survived")
    return (
        f"Of {len(found)} planted defects {equivalent} change no bit where they are; of the other "
        f"{len(found) - equivalent} the judge found {fates.count('killed')} in both precisions"
        + (f" and missed {survived}." if survived else ".")
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


def ran(run: Run) -> str:
    """What was done, in a sentence."""
    raised = sum(record.failure is not None for record in run.records)
    if raised:
        return f"Both sides began with the same bits; in {raised} of {len(run.records)} records one raised."
    return "Every scenario ran on both sides from the same bits."


def missing(run: Run) -> str:
    """What an interrupted run still owes, in a sentence; empty if it owes nothing."""
    if run.missing <= 0:
        return ""
    return f"The run was interrupted: {len(run.records)} records were finished, {run.missing} are missing."


def answer(array: np.ndarray | np.floating) -> str:
    """A number, or an array of one, to five digits; other arrays as they are.

    Raises:
        ValueError: there is nothing in it.
    """
    values = np.asarray(array)
    return f"{values.item():.5g}" if values.size == 1 else np.array2string(values, precision=4)


def seconds(value: float) -> str:
    """A duration with its unit, to three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def findings(verdict: Verdict) -> Iterator[Table]:
    """What was found of every quantity, in a step and in the free run."""
    if verdict.step:
        trained = verdict.dynamics is not None
        caption = "One step, from states that both are handed" if trained else "What both compute"
        yield _findings(caption, verdict.step, "step")
    if verdict.run:
        yield _findings("The free run", verdict.run, "run")


def _findings(caption: str, findings: Sequence[Finding], key: str) -> Table:
    return Table(
        caption,
        (
            "quantity",
            "verdict",
            "absolute",
            "ULPs",
            "of the budget",
            "notices",
            "lost bits",
            "where",
            "remark",
        ),
        tuple(
            (
                f.quantity,
                f.word,
                small(f.absolute),
                number(f.ulps),
                percent(f.share),
                small(f.notices),
                lost(f),
                _where(f),
                f.note or remark(f),
            )
            for f in findings
        ),
        key,
    )


def _where(finding: Finding) -> str:
    entry = f"[{', '.join(map(str, finding.where))}]" if finding.where and finding.absolute else ""
    step = "" if finding.step is None else f"after step {finding.step}"
    return f"{entry} {step}".strip()


def _dynamics(dynamics: Dynamics, dtype: str) -> Table:
    """What the free run says of itself."""
    largest = int(np.argmax(dynamics.amplification))
    free = dynamics.parameters - dynamics.identified
    return Table(
        "How a difference in the last bit grows",
        ("", ""),
        (
            ("factor per step, on average", f"{dynamics.growth:.5f}"),
            (
                "largest distance of two runs that start a bit apart",
                f"{number(float(dynamics.amplification[largest]))} ULPs, at step {dynamics.steps[largest]}",
            ),
            (
                f"first step at which no bit of {dtype} is left",
                "none" if dynamics.horizon is None else str(dynamics.horizon),
            ),
            (
                "first step that rounding of this run does not explain, though the step is the same",
                "none" if dynamics.parted is None else str(dynamics.parted),
            ),
            (
                "converged parameters",
                "identifiable: each direction changes what the model computes"
                if not free
                else f"not identifiable: {free} of {dynamics.parameters} directions change nothing that the "
                "model computes, so that the function and the loss are what compares",
            ),
        ),
    )


def _telling(distances: Sequence[Distance]) -> list[Distance]:
    """Of each quantity, side and origin the distance that uses most of what rounding allows."""
    worst: dict[tuple[str, str, str], Distance] = {}
    for distance in distances:
        key = (distance.quantity, distance.side, distance.origin)
        share = distance.absolute / distance.budget if distance.budget else distance.absolute
        kept = worst.get(key)
        if kept is None or share > (kept.absolute / kept.budget if kept.budget else kept.absolute):
            worst[key] = distance
    return list(worst.values())


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


def loss_ulps(results: Mapping[str, Result]) -> tuple[np.ndarray, np.ndarray]:
    """The steps that both sides recorded, and how far the losses are apart there, in ULPs."""
    gap = loss_gap(results)
    histories = [result.history for result in results.values() if result.history is not None]
    if not len(gap):
        return np.zeros(0), gap
    losses = np.max([np.abs(history.losses[: len(gap)]) for history in histories], axis=0)
    with np.errstate(invalid="ignore"):
        return histories[0].steps[: len(gap)], gap / np.spacing(losses).astype(np.float64)


def against_truth(record: Record) -> Table | None:
    """How far each side is from the truth: after training what it achieved, else what it computed."""
    distances = record.verdict.distances if record.verdict is not None else ()
    ends = [d for d in distances if d.quantity.startswith(("converged.", "outcome."))]
    told = _telling(ends or distances)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for d in told:
        relative = f", relative {small(d.relative)}" if d.relative > 0 else ""
        rows.setdefault((d.quantity, d.origin), {})[d.side] = f"{small(d.absolute)}{relative}"
    if not rows:
        return None
    return Table(
        f"Distance to the truth in {record.dtype}",
        ("quantity", "truth from", *SIDES),
        tuple((*key, *(sides.get(side, "–") for side in SIDES)) for key, sides in rows.items()),
    )


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
