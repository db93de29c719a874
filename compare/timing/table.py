"""Puts a bench, and what changed between two, into tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import scenarios
from compare.describe import Table, seconds
from compare.timing.bench import Timed
from compare.timing.clock import Opened
from compare.timing.difference import Difference
from compare.timing.saved import Bench
from compare.timing.statistics import Estimate, crossover, growth
from compare.words import plain

#: Exponents and crossovers need at least three sizes.
SIZES = 3

#: The variants in which nothing is compiled, or put together.
PLAIN = ("eager", "op by op")

#: Processor seconds per second of a run on a CPU; with less, the process did not have its core to itself.
ALONE = 0.9

LEGEND = (
    "a step: median of the rounds, and its 95 % bootstrap interval. × the floor: ratio of a step's time to "
    "that of hand-written C, or of the fastest where there is none, round by round; = means that the "
    "interval holds 1. dispatch: the share of a run after which the call came back. first call: with "
    "whatever it compiles. compile: traced and compiled ahead of the first call, or, after 'of it', the part "
    "of the first call that the framework says it compiled. pays after: steps after which the first call has "
    "paid for itself against the side's own uncompiled variant. transfer: copying the parameters out. "
    "memory: what the first run added to the peak of the process, and the peak on a device that is another."
)


def rivals(timed: Sequence[Timed]) -> Iterator[tuple[str, tuple[Timed, ...]]]:
    """The groups of variants that were timed against each other, with what they ran."""

    def what(one: Timed) -> str:
        sizes = "".join(f", {name} {size}" for name, size in one.sizes.items())
        return f"{one.scenario}{sizes} ({one.dtype}, {one.device})"

    for title, group in groupby(timed, what):
        yield title, tuple(group)


def floor(group: Sequence[Timed]) -> Timed:
    """What the others are a multiple of: hand-written code if it was timed, or the fastest."""
    sides = [timed for timed in group if timed.side == "floor"]
    return min(sides or group, key=lambda timed: timed.per_step().median)


def tables(bench: Bench) -> Iterator[Table]:
    """A table for every group of rivals, the fastest first, and one for every size that was swept."""
    for title, group in rivals(bench.timed):
        yield _group(title, group)
    lines = list(swept(bench.timed))
    for line in lines:
        yield _growth(line)
    yield from _devices(lines)


def unmeasured(bench: Bench) -> str:
    """What the bench says nothing of; empty if it lacks nothing."""
    missing = [name for name in ("cpu", "gpu") if name not in {timed.device for timed in bench.timed}]
    return f"Not measured: {' and '.join(name.upper() for name in missing)}." if missing else ""


def _group(title: str, group: Sequence[Timed]) -> Table:
    ranked = sorted((t for t in group if not t.refused), key=lambda t: t.per_step().median)
    rows = [_row(t, floor(ranked), group) for t in ranked]
    rows += [(t.name, "–", "–", "–", "–", "–", "–", "–", "–", t.refused) for t in group if t.refused]
    return Table(
        title,
        (
            "variant",
            "a step",
            "× the floor",
            "dispatch",
            "first call",
            "compile",
            "pays after",
            "transfer",
            "memory",
            "",
        ),
        tuple(rows),
    )


def _row(timed: Timed, least: Timed, group: Sequence[Timed]) -> tuple[str, ...]:
    opened = timed.opened
    assert opened is not None
    step, run = timed.per_step(), timed.per_step("run").median * timed.steps
    plain = next((t for t in group if t.side == timed.side and t.variant in PLAIN), None)
    compiled = seconds(opened.compile) if opened.compile is not None else "–"
    if opened.compile is None and opened.first.compiling:
        compiled = f"of it {seconds(opened.first.compiling)}"
    pays = timed.pays(plain) if plain is not None and timed is not plain and not plain.refused else None
    notes = []
    if step.noisy:
        notes.append("noisy: not to be quoted")
    if timed.device == "cpu" and (robbed := sum(sample.busy < ALONE for sample in timed.samples)):
        notes.append(f"something else had its core in {robbed} of {len(timed.samples)} rounds")
    return (
        timed.name,
        interval(step),
        ratio(timed.over(least)) if timed is not least else "1",
        f"{100 * timed.per_step('dispatch').median * timed.steps / run:.0f} %",
        seconds(opened.first.run),
        compiled,
        "–" if pays is None else f"{pays:.0f} steps",
        seconds(timed.per_step("transfer").median * timed.steps),
        _memory(opened),
        "; ".join(notes),
    )


def _memory(opened: Opened) -> str:
    shares = {"": opened.host, " on the device": opened.device}
    told = [f"{size / 2**20:.0f} MiB{where}" for where, size in shares.items() if size is not None]
    return ", ".join(told) or "–"


def interval(step: Estimate) -> str:
    """Seconds with their interval."""
    return f"{seconds(step.median)} ({seconds(step.low)} to {seconds(step.high)})"


def ratio(found: Estimate) -> str:
    """A ratio to two digits, and whether it is certain that it is not 1."""
    if not found.decided:
        return f"= ({plain(found.low, 2)} to {plain(found.high, 2)})"
    return f"{plain(found.median, 2)} ({plain(found.low, 2)} to {plain(found.high, 2)})"


@dataclass(frozen=True)
class Line:
    """How a training was timed at three or more values of one size, all others at their least.

    Attributes:
        scenario, dtype, device: what was run.
        size: the name of what grows.
        points: by variant and value.
    """

    scenario: str
    dtype: str
    device: str
    size: str
    points: Mapping[str, Mapping[int, Timed]]

    @property
    def title(self) -> str:
        """What was run."""
        return f"{self.scenario} ({self.dtype}, {self.device})"


def swept(timed: Sequence[Timed]) -> Iterator[Line]:
    """Every size that was swept, of every training, on every device."""
    told = [t for t in timed if not t.refused]
    for key in dict.fromkeys((t.scenario, t.dtype, t.device) for t in told):
        ours = [t for t in told if (t.scenario, t.dtype, t.device) == key]
        for name in dict.fromkeys(name for t in ours for name in t.sizes):
            points = _points([t for t in ours if name in t.sizes], name)
            if any(len(values) >= SIZES for values in points.values()):
                yield Line(*key, name, points)


def _points(timed: Sequence[Timed], name: str) -> dict[str, dict[int, Timed]]:
    """By variant and size, where all other sizes are the smallest."""
    others = {n for t in timed for n in t.sizes if n != name}
    least = {n: min(t.sizes[n] for t in timed if n in t.sizes) for n in others}
    points: dict[str, dict[int, Timed]] = {}
    for t in timed:
        if all(t.sizes[n] == least[n] for n in t.sizes.keys() & others):
            points.setdefault(t.name, {})[t.sizes[name]] = t
    return points


def _growth(line: Line) -> Table:
    def exponent(points: Mapping[int, Timed], phase: str) -> str:
        costs = [cost(t, phase) for t in points.values()]
        if len(points) < SIZES or not all(costs):
            return "–"
        found = growth(list(points), costs)
        return f"{found.exponent:.2f} ({found.low:.2f} to {found.high:.2f})"

    first = next(iter(line.points))
    return Table(
        f"{line.title}: how the cost grows with {line.size}",
        ("variant", "run ∝ size to the", "first call", "host memory", f"faster than {first}"),
        tuple(
            (
                variant,
                exponent(points, "run"),
                exponent(points, "first"),
                exponent(points, "host"),
                _ahead(points, line.points[first]) if variant != first else "–",
            )
            for variant, points in line.points.items()
        ),
    )


def _devices(lines: Sequence[Line]) -> Iterator[Table]:
    """For every size that was swept on both devices, where the GPU begins to win."""
    here = {(x.scenario, x.dtype, x.size): x.points for x in lines if x.device == "cpu"}
    for line in lines:
        other = here.get((line.scenario, line.dtype, line.size))
        if line.device == "gpu" and other is not None:
            yield Table(
                f"{line.scenario} ({line.dtype}): where the GPU begins to win, by {line.size}",
                ("variant", "faster on the GPU"),
                tuple((v, _ahead(p, other[v])) for v, p in line.points.items() if v in other),
            )


def _ahead(points: Mapping[int, Timed], others: Mapping[int, Timed]) -> str:
    """From which size on the first are faster than the others."""
    sizes = sorted(points.keys() & others.keys())
    if len(sizes) < SIZES:
        return "–"
    where = crossover(sizes, *([cost(side[s]) for s in sizes] for side in (points, others)))
    return "never" if where is None else f"from {where:.2g}"


def cost(timed: Timed, phase: str = "run") -> float:
    """Seconds of a run of as many steps as the scenario has, or of the first call, or bytes."""
    assert timed.opened is not None
    if phase == "first":
        return (timed.opened.compile or 0.0) + timed.opened.first.run
    if phase == "host":
        return float(timed.opened.host or 0)
    steps = timed.sizes.get("steps", scenarios.get(timed.scenario).require_training().steps)
    return timed.per_step().median * steps


def change(found: Difference) -> Iterator[Table]:
    """What changed between two runs or benches."""
    if found.verdicts:
        rows = (
            (c.scenario, c.dtype, c.before or "not there", c.after or "not there") for c in found.verdicts
        )
        yield Table("Verdicts that changed", ("scenario", "dtype", "before", "after"), tuple(rows))
    if found.times:
        yield Table(
            f"Times; everything together takes {found.machine:.2g} times as long",
            ("variant", "× before", "raw", ""),
            tuple(
                (t.name, ratio(t.factor) if t.factor else "–", f"{t.raw:.2g}", t.refused) for t in found.times
            ),
        )
    if found.missing:
        yield Table("Timed in one of them only", ("variant",), tuple((name,) for name in found.missing))
