"""Puts a bench, and what changed between two, into tables."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from compare.describe import Table, seconds
from compare.timing.bench import Timed
from compare.timing.difference import Difference
from compare.timing.saved import Bench
from compare.timing.statistics import Estimate, crossover, growth

#: Exponents and crossovers need at least three sizes.
SIZES = 3

LEGEND = (
    "a step: median of the rounds, and its 95 % bootstrap interval. × the floor: ratio of a step's time to "
    "that of hand-written C, or of the fastest where there is none, round by round; = means that the "
    "interval holds 1. dispatch: the share of a run after which the call came back. first call: with "
    "whatever it compiles. compile: traced and compiled ahead of the first call, or, after 'of it', the part "
    "of the first call that the framework says it compiled. pays after: steps after which the first call has "
    "paid for itself against the side's own uncompiled variant. transfer: copying the parameters out. host: "
    "what the first run added to the peak of the process."
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
    yield from _sweeps(bench.timed)


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
            "host",
            "",
        ),
        tuple(rows),
    )


def _row(timed: Timed, least: Timed, group: Sequence[Timed]) -> tuple[str, ...]:
    opened = timed.opened
    assert opened is not None
    step, run = timed.per_step(), timed.per_step("run").median * timed.steps
    plain = next(t for t in group if t.side == timed.side)
    compiled = seconds(opened.compile) if opened.compile is not None else "–"
    if opened.compile is None and opened.first.compiling:
        compiled = f"of it {seconds(opened.first.compiling)}"
    pays = timed.pays(plain) if timed is not plain and not plain.refused else None
    notes = []
    if step.noisy:
        notes.append("noisy: not to be quoted")
    return (
        timed.name,
        interval(step),
        ratio(timed.over(least)) if timed is not least else "1",
        f"{100 * timed.per_step('dispatch').median * timed.steps / run:.0f} %",
        seconds(opened.first.run),
        compiled,
        "–" if pays is None else f"{pays:.0f} steps",
        seconds(timed.per_step("transfer").median * timed.steps),
        "–" if opened.host is None else f"{opened.host / 2**20:.0f} MiB",
        "; ".join(notes),
    )


def interval(step: Estimate) -> str:
    """Seconds with their interval."""
    return f"{seconds(step.median)} ({seconds(step.low)} to {seconds(step.high)})"


def ratio(found: Estimate) -> str:
    """A ratio to two digits, and whether it is certain that it is not 1."""
    if not found.decided:
        return f"= ({found.low:.2g} to {found.high:.2g})"
    return f"{found.median:.2g} ({found.low:.2g} to {found.high:.2g})"


def _sweeps(timed: Sequence[Timed]) -> Iterator[Table]:
    for scenario, name, line in swept(timed):
        yield _growth(scenario, name, line)


def swept(timed: Sequence[Timed]) -> Iterator[tuple[str, str, dict[str, dict[int, Timed]]]]:
    """By scenario and size of three values or more: every variant at each, other sizes at their least."""
    for scenario in dict.fromkeys(t.scenario for t in timed):
        ours = [t for t in timed if t.scenario == scenario and not t.refused]
        for name in dict.fromkeys(name for t in ours for name in t.sizes):
            line = _line(ours, name)
            if any(len(points) >= SIZES for points in line.values()):
                yield scenario, name, line


def _line(timed: Sequence[Timed], name: str) -> dict[str, dict[int, Timed]]:
    """By variant and size, where all other sizes are the smallest."""
    least = {n: min(t.sizes[n] for t in timed) for t in timed for n in t.sizes if n != name}
    line: dict[str, dict[int, Timed]] = {}
    for t in timed:
        if all(t.sizes[n] == least[n] for n in t.sizes if n != name):
            line.setdefault(t.name, {})[t.sizes[name]] = t
    return line


def _growth(scenario: str, name: str, line: dict[str, dict[int, Timed]]) -> Table:
    def exponent(points: dict[int, Timed], phase: str) -> str:
        costs = [cost(t, phase) for t in points.values()]
        if len(points) < SIZES or not all(costs):
            return "–"
        found = growth(list(points), costs)
        return f"{found.exponent:.2f} ({found.low:.2f} to {found.high:.2f})"

    def ahead(points: dict[int, Timed], others: dict[int, Timed]) -> str:
        sizes = sorted(points.keys() & others.keys())
        if len(sizes) < SIZES:
            return "–"
        where = crossover(sizes, *([cost(side[s], "run") for s in sizes] for side in (points, others)))
        return "never" if where is None else f"from {where:.2g}"

    first = next(iter(line))
    return Table(
        f"{scenario}: how the cost grows with {name}",
        ("variant", "run ∝ size to the", "first call", "host memory", f"faster than {first}"),
        tuple(
            (
                variant,
                exponent(points, "run"),
                exponent(points, "first"),
                exponent(points, "host"),
                ahead(points, line[first]) if variant != first else "–",
            )
            for variant, points in line.items()
        ),
    )


def cost(timed: Timed, phase: str = "run") -> float:
    """Seconds of a run of as many steps as the scenario has, or of the first call, or bytes."""
    assert timed.opened is not None
    if phase == "first":
        return (timed.opened.compile or 0.0) + timed.opened.first.run
    if phase == "host":
        return float(timed.opened.host or 0)
    return timed.per_step().median * timed.sizes.get("steps", timed.steps)


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
