"""Draws a record's curves as SVG, one figure of one idea each."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from compare import describe
from compare.record import Record
from compare.timing.bench import Timed
from compare.timing.saved import Bench
from compare.timing.table import Line, cost, floor, rivals, swept
from compare.words import plain

# Stand-ins, which the page replaces by its own colours, light or dark.
_LEFT, _RIGHT, _GRID, _QUIET = "#b34700", "#005a93", "#bbbbcc", "#575c68"
_COLORS = {_LEFT: "imperative", _RIGHT: "functional", _GRID: "line", _QUIET: "quiet"}
_INK = "#000000"

# The two sides are told apart by colour (a pair safe for colour-blind readers) and by line.
_STYLE: dict[str, dict[str, Any]] = {
    "imperative": {"color": _LEFT, "linewidth": 3.0, "alpha": 0.6},
    "functional": {"color": _RIGHT, "linewidth": 1.4, "linestyle": "--"},
}

# The precisions are told apart by line.
_DASHES = (":", "-")

#: Marks along an axis, about.
TICKS = 5

#: Points of a curve in a drawing, about one for each of its pixels.
POINTS = 300


@dataclass(frozen=True)
class Drawing:
    """An SVG element and what it shows, in words."""

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
        caption = f"{last.scenario}: loss of both sides in {recorded[-1].dtype}, and the most that they are "
        yield _drawn(f"{caption}apart in {kinds} (gaps: equal bit for bit)", losses(recorded))
    if "y" in last.data and last.training is not None:
        yield _drawn(f"{last.scenario}: predicted against exact after training in {last.dtype}", fit(last))
    if "x" in last.start:
        caption = f"{last.scenario}: the functions and their derivatives in {last.dtype}"
        yield _drawn(caption, functions(last))


def draw_bench(bench: Bench) -> Iterator[tuple[str, Drawing]]:
    """Every group of rivals as multiples of its floor, and every size that was swept, with its scenario."""
    for title, group in rivals(bench.timed):
        told = [timed for timed in group if not timed.refused]
        if told:
            least = floor(told)
            caption = f"{title}: a step of each variant, as a multiple of {least.name}, with 95 % intervals"
            yield told[0].scenario, _drawn(caption, multiples(told, least))
    for line in swept(bench.timed):
        yield line.scenario, _drawn(f"{line.title}: seconds of a run against {line.size}", scaling(line))


def multiples(group: Sequence[Timed], least: Timed) -> Figure:
    """A point and an interval for every variant, the fastest on top."""
    ranked = sorted(group, key=lambda timed: timed.per_step().median, reverse=True)
    height = 0.7 + 0.3 * len(ranked)
    figure = Figure(figsize=(6.4, height))
    axes = figure.add_axes((0.32, 0.5 / height, 0.65, 1 - 0.6 / height))
    for row, timed in enumerate(ranked):
        ratio = timed.over(least) if timed is not least else None
        low, middle, high = (ratio.low, ratio.median, ratio.high) if ratio else (1.0, 1.0, 1.0)
        color = _STYLE.get(timed.side, {}).get("color", "black")
        mark = {"imperative": "s", "functional": "o"}.get(timed.side, "D")
        axes.plot([low, high], [row, row], color=color, linewidth=2)
        axes.plot([middle], [row], mark, color=color, markersize=5)
        axes.annotate(plain(middle), (high, row), (6, -3), textcoords="offset points", color=_QUIET)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel(f"× {least.name}")
    _tidy(axes)
    axes.set_yticks(range(len(ranked)), [timed.name for timed in ranked])
    axes.grid(visible=False, axis="y")
    return figure


def scaling(line: Line) -> Figure:
    """Seconds against a size, both logarithmic, a line for every variant."""
    figure = Figure(figsize=(6.4, 4.0))
    axes = figure.add_axes((0.13, 0.13, 0.84, 0.84))
    for variant, points in line.points.items():
        sizes = sorted(points)
        dashes = "--" if variant.startswith("functional") else "-"
        axes.loglog(sizes, [cost(points[size]) for size in sizes], dashes, marker="o", label=variant)
    values = sorted({size for points in line.points.values() for size in points})
    axes.set_xlabel(line.size)
    axes.set_ylabel("seconds of a run")
    _tidy(axes)
    axes.set_xticks(values, [f"{size:g}" for size in values])
    axes.legend(fontsize="small", frameon=False)
    return figure


def losses(records: Sequence[Record]) -> Figure:
    """Loss curves of the last record above; below every record's distance, in units of its last place."""
    figure = Figure(figsize=(6.4, 4.4))
    above, below = figure.subplots(
        2, 1, sharex=True, height_ratios=(2, 1), gridspec_kw=_MARGINS | {"hspace": 0.08}
    )
    curves = {side: r.history for side, r in records[-1].results.items() if r.history is not None}
    for side, history in curves.items():
        above.semilogy(history.steps, history.losses, label=side, **_STYLE[side])
    above.set_ylabel("loss")
    for record, dashes in zip(records, _DASHES[-len(records) :], strict=False):
        steps, gap = _worst(*describe.loss_ulps(record.results))
        shown = np.where(gap > 0, gap, np.nan)
        below.semilogy(steps, shown, dashes, color=_INK, linewidth=1, label=record.dtype)
    below.set_xlabel("step")
    below.set_ylabel("apart, in ULPs")
    for axes in (above, below):
        _tidy(axes)
        axes.legend(frameon=False)
    return figure


def _worst(steps: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each stretch of a curve that has more points than a drawing can show."""
    stretches = np.array_split(np.arange(len(gap)), min(len(gap), POINTS)) if len(gap) else []
    found = [part[np.argmax(np.nan_to_num(gap[part], nan=np.inf))] for part in stretches]
    return steps[found], gap[found]


def fit(record: Record) -> Figure:
    """The exact points and both sides' predictions."""
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots(gridspec_kw=_MARGINS)
    x = record.data["x"].ravel()
    axes.plot(x, record.data["y"].ravel(), "o", color=_INK, markersize=3, label="exact")
    for side, result in record.results.items():
        _line(axes, x, result.outcome.get("prediction"), side)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    _tidy(axes)
    axes.legend(frameon=False)
    return figure


def functions(record: Record) -> Figure:
    """Every function above its derivative."""
    figure = Figure(figsize=(6.4, 4.0))
    x = record.start["x"]
    names = list(dict.fromkeys(name for result in record.results.values() for name in result.values))
    grid = figure.subplots(
        2, max(1, len(names)), sharex=True, squeeze=False, gridspec_kw=_MARGINS | {"top": 0.92, "wspace": 0.3}
    )
    for column, name in enumerate(names):
        for side, result in record.results.items():
            _line(grid[0, column], x, result.values.get(name), side)
            _line(grid[1, column], x, result.gradients.get(name), side)
        grid[0, column].set_title(name, fontsize="medium")
        grid[1, column].set_xlabel("x")
    for axes in grid.flat:
        _tidy(axes)
    grid[0, 0].set_ylabel("s(x)")
    grid[1, 0].set_ylabel("s′(x)")
    grid[0, 0].legend(frameon=False, fontsize="small")
    return figure


# Fixed margins: to find the narrowest takes longer than to draw.
_MARGINS = {"left": 0.13, "right": 0.97, "bottom": 0.13, "top": 0.97}


def _tidy(axes: Axes) -> None:
    """Few marks, all of them in plain numbers."""
    axes.minorticks_off()
    axes.tick_params(length=0, labelsize=9)
    axes.grid(visible=True, color=_GRID, linewidth=0.5)
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_major_locator(LogLocator(numticks=TICKS))
        else:
            axis.set_major_locator(MaxNLocator(TICKS))


def _line(axes: Axes, x: np.ndarray, y: np.ndarray | None, side: str) -> None:
    if y is not None and y.size == x.size:
        axes.plot(x, y.ravel(), label=side, **_STYLE[side])


def _drawn(caption: str, figure: Figure) -> Drawing:
    return Drawing(caption, _svg(figure, caption))


def _svg(figure: Figure, caption: str) -> str:
    """The figure as an element of a page, which lends it its colours and its letters."""
    text = StringIO()
    # Identifiers follow from the caption and what is drawn: the same run draws the same bytes, and the
    # drawings of a page do not share any.
    with mpl.rc_context({"svg.hashsalt": caption, "svg.fonttype": "none", "path.simplify_threshold": 0.5}):
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for pattern, better in _BETTER:
        drawn = pattern.sub(better, drawn)
    label = f'<svg fill="currentColor" role="img" aria-label="{escape(caption)}" '
    return drawn.replace("<svg ", label, 1)


# What matplotlib writes into every file, and a page does not need or has itself.
_BETTER = [
    (re.compile(pattern, re.DOTALL), better)
    for pattern, better in (
        (r"<metadata>.*?</metadata>\s*", ""),
        (r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>\s*", ""),
        (r"<!--.*?-->\s*", ""),
        (r'<g id="[^"]*">', "<g>"),  # a number; only what is used again keeps its name
        (r"(?<=[\s\"(,])(-?\d+\.\d)\d+(?=[\s\"),])", r"\1"),  # a tenth of a point; letters stand within > <
        (r"xlink:href", "href"),
        (r"font: ([\d.]+px) [^;\"]*", r"font-size: \1"),
        (rf"(stroke|fill): {_INK}", r"\1: currentColor"),
        *((rf"(stroke|fill): {color}", rf"\1: var(--{name})") for color, name in _COLORS.items()),
        (r"fill: #ffffff(; stroke: [^;\"]*)?", "fill: none"),
        (r"font-family: [^;\"]*(; )?", ""),
        (r' transform="rotate\(-0 [^"]*"', ""),
        (r"<g id=\"[^\"]*\"/>", ""),
        (r"\s*\n\s*(?=[A-Zz] |[A-Zz]?\")", ""),
        (r"\n\s*", "\n"),
    )
]
