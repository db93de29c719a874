"""Draws a record's curves as SVG, one figure of one idea each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compare import describe
from compare.record import Record
from compare.timing.bench import Timed
from compare.timing.saved import Bench
from compare.timing.table import Line, cost, floor, rivals, swept

# The two sides are told apart by colour (a pair safe for colour-blind readers) and by line.
_STYLE: dict[str, dict[str, Any]] = {
    "imperative": {"color": "#d55e00", "linewidth": 3.0, "alpha": 0.55},
    "functional": {"color": "#0072b2", "linewidth": 1.2, "linestyle": "--"},
}

# The precisions are told apart by colour and by mark.
_MARKS: tuple[dict[str, Any], ...] = (
    {"color": "#777777", "marker": "+", "markersize": 3, "linestyle": "none"},
    {"color": "black", "marker": ".", "markersize": 3, "linestyle": "none"},
)


@dataclass(frozen=True)
class Drawing:
    """An SVG document and what it shows, in words."""

    caption: str
    svg: str


def draw(records: Sequence[Record]) -> Iterator[Drawing]:
    """Every figure that the records of a scenario have data for: loss curves, fits, activation functions.

    A curve that a side lacks, or that does not fit its x, is left out; the verdict says why it is missing.
    """
    judged = [record for record in records if record.verdict is not None]
    if not judged:
        return
    last = judged[-1]  # the most precise
    recorded = [r for r in judged if any(result.history is not None for result in r.results.values())]
    if recorded:
        kinds = " and ".join(record.dtype for record in recorded)
        caption = f"Loss of both sides in {recorded[-1].dtype}, and their distance in {kinds} (gaps: equal)"
        yield Drawing(caption, _svg(losses(recorded)))
    if "y" in last.data and last.training is not None:
        yield Drawing(f"Predicted against exact after training in {last.dtype}", _svg(fit(last)))
    if "x" in last.start:
        yield Drawing(f"Activation functions and their derivatives in {last.dtype}", _svg(functions(last)))


def draw_bench(bench: Bench) -> Iterator[Drawing]:
    """Every group of rivals as multiples of its floor, and every size that was swept."""
    for title, group in rivals(bench.timed):
        told = [timed for timed in group if not timed.refused]
        if told:
            least = floor(told)
            caption = f"{title}: a step of each variant, as a multiple of {least.name}, with 95 % intervals"
            yield Drawing(caption, _svg(multiples(told, least)))
    for line in swept(bench.timed):
        yield Drawing(f"{line.title}: seconds of a run against {line.size}", _svg(scaling(line)))


def multiples(group: Sequence[Timed], least: Timed) -> Figure:
    """A point and an interval for every variant, the fastest on top."""
    ranked = sorted(group, key=lambda timed: timed.per_step().median, reverse=True)
    figure = Figure(figsize=(6.4, 0.9 + 0.3 * len(ranked)), layout="constrained")
    axes = figure.subplots()
    for row, timed in enumerate(ranked):
        ratio = timed.over(least) if timed is not least else None
        low, middle, high = (ratio.low, ratio.median, ratio.high) if ratio else (1.0, 1.0, 1.0)
        color = _STYLE.get(timed.side, {}).get("color", "black")
        axes.plot([low, high], [row, row], color=color, linewidth=2)
        axes.plot([middle], [row], "o", color=color, markersize=5)
    axes.set_xscale("log")
    axes.set_yticks(range(len(ranked)), [timed.name for timed in ranked])
    axes.set_xlabel(f"× {least.name}")
    axes.grid(visible=True, axis="x", alpha=0.3)
    return figure


def scaling(line: Line) -> Figure:
    """Seconds against a size, both logarithmic, a line for every variant."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for variant, points in line.points.items():
        dashes = "--" if variant.startswith("functional") else "-"
        axes.loglog(
            sorted(points), [cost(points[size]) for size in sorted(points)], dashes, marker="o", label=variant
        )
    values = sorted({size for points in line.points.values() for size in points})
    axes.set_xticks(values, [f"{size:g}" for size in values])
    axes.minorticks_off()
    axes.set_xlabel(line.size)
    axes.set_ylabel("seconds of a run")
    axes.legend(fontsize="small")
    return figure


def losses(records: Sequence[Record]) -> Figure:
    """Loss curves of the last record above; below every record's distance, in units of its last place."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    curves = {side: r.history for side, r in records[-1].results.items() if r.history is not None}
    for side, history in curves.items():
        above.semilogy(history.steps, history.losses, label=side, **_STYLE[side])
    above.set_ylabel("loss")
    above.legend()
    for record, style in zip(records, _MARKS, strict=False):
        steps, gap = describe.loss_ulps(record.results)
        below.semilogy(steps, np.where(gap > 0, gap, np.nan), label=record.dtype, rasterized=True, **style)
    below.set_xlabel("step")
    below.set_ylabel("apart, in ULPs")
    below.legend(markerscale=2)
    return figure


def fit(record: Record) -> Figure:
    """The exact points and both sides' predictions."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    x = record.data["x"].ravel()
    axes.plot(x, record.data["y"].ravel(), "o", color="black", markersize=3, label="exact")
    for side, result in record.results.items():
        _line(axes, x, result.outcome.get("prediction"), side)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.legend()
    return figure


def functions(record: Record) -> Figure:
    """Every function above its derivative."""
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    x = record.start["x"]
    names = list(dict.fromkeys(name for result in record.results.values() for name in result.values))
    grid = figure.subplots(2, max(1, len(names)), sharex=True, squeeze=False)
    for column, name in enumerate(names):
        for side, result in record.results.items():
            _line(grid[0, column], x, result.values.get(name), side)
            _line(grid[1, column], x, result.gradients.get(name), side)
        grid[0, column].set_title(name)
        grid[1, column].set_xlabel("x")
    grid[0, 0].set_ylabel("s(x)")
    grid[1, 0].set_ylabel("s′(x)")
    grid[0, 0].legend()
    return figure


def _line(axes: Axes, x: np.ndarray, y: np.ndarray | None, side: str) -> None:
    if y is not None and y.size == x.size:
        axes.plot(x, y.ravel(), label=side, **_STYLE[side])


def _svg(figure: Figure) -> str:
    text = StringIO()
    # A fixed salt and no date: the same run draws the same bytes.
    with mpl.rc_context({"svg.hashsalt": "gradtwin", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", dpi=150, metadata={"Date": None})
    return text.getvalue()
