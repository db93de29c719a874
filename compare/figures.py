"""Draws a record's curves as SVG, one figure of one idea each."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from compare.record import Record

# The two sides are told apart by colour (a pair safe for colour-blind readers) and by line.
_STYLE: dict[str, dict[str, Any]] = {
    "imperative": {"color": "#d55e00", "linewidth": 3.0, "alpha": 0.55},
    "functional": {"color": "#0072b2", "linewidth": 1.2, "linestyle": "--"},
}


@dataclass(frozen=True)
class Drawing:
    """An SVG document and what it shows, in words."""

    caption: str
    svg: str


def draw(record: Record) -> Iterator[Drawing]:
    """Every figure that the record has data for: loss curves, fits, activation functions."""
    if record.verdict is None:
        return
    if all(result.history is not None for result in record.results.values()):
        yield _losses(record)
    if all("prediction" in result.outcome for result in record.results.values()):
        yield _fit(record)
    if "x" in record.start:
        yield _functions(record)


def _losses(record: Record) -> Drawing:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    histories = {
        side: result.history for side, result in record.results.items() if result.history is not None
    }
    for side, history in histories.items():
        above.semilogy(history.steps, history.losses, label=side, **_STYLE[side])
    above.set_ylabel("loss")
    above.legend()
    left, right = histories.values()
    rows = min(len(left.steps), len(right.steps))
    gap = np.abs(left.losses[:rows].astype(np.float64) - right.losses[:rows])
    below.semilogy(
        left.steps[:rows], np.where(gap > 0, gap, np.nan), ".", color="black", markersize=2, rasterized=True
    )
    below.set_xlabel("step")
    below.set_ylabel("|difference|")
    return Drawing(
        f"Loss of both sides in {record.dtype}, and how far they are apart (gaps: equal)", _svg(figure)
    )


def _fit(record: Record) -> Drawing:
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    x = record.data["x"].ravel()
    axes.plot(x, record.data["y"].ravel(), "o", color="black", markersize=3, label="exact")
    for side, result in record.results.items():
        axes.plot(x, result.outcome["prediction"].ravel(), label=side, **_STYLE[side])
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.legend()
    return Drawing(f"Predicted against exact after training in {record.dtype}", _svg(figure))


def _functions(record: Record) -> Drawing:
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    x = record.start["x"]
    names = list(next(iter(record.results.values())).values)
    grid = figure.subplots(2, len(names), sharex=True, squeeze=False)
    for column, name in enumerate(names):
        for side, result in record.results.items():
            grid[0, column].plot(x, result.values[name], label=side, **_STYLE[side])
            grid[1, column].plot(x, result.gradients[name], label=side, **_STYLE[side])
        grid[0, column].set_title(name)
        grid[1, column].set_xlabel("x")
    grid[0, 0].set_ylabel("s(x)")
    grid[1, 0].set_ylabel("s′(x)")
    grid[0, 0].legend()
    return Drawing(f"Activation functions and their derivatives in {record.dtype}", _svg(figure))


def _svg(figure: Figure) -> str:
    text = StringIO()
    # A fixed salt and no date: the same run draws the same bytes.
    with mpl.rc_context({"svg.hashsalt": "gradtwin", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", dpi=150, metadata={"Date": None})
    return text.getvalue()
