"""Shows one graph, or the aligned graphs of both sides, in plain text, DOT, SVG, PNG or JSON."""

from collections.abc import Callable, Mapping
from io import BytesIO
from itertools import pairwise
from typing import Any

import msgspec

from compare.graphs import Alignment
from compare.record import encode
from scenarios import layout
from scenarios.graph import Graph
from scenarios.layout import FONT, LEADING, Layout


def text(aligned: Alignment, sides: tuple[str, ...]) -> bytes:
    """A line for each node, with its twin on the other side, or why it has none."""
    blocks = []
    for side in sides:
        graph = aligned.graphs[side]
        lines = graph.text().splitlines()
        width = max(map(len, lines), default=0)
        told = [
            f"{line:{width}}  {_twin(aligned, side, node.name)}"
            for line, node in zip(lines, graph.nodes, strict=False)
        ]
        blocks.append("\n".join([f"{side}, {graph.of}", *told, *lines[len(graph.nodes) :]]))
    return ("\n\n".join(blocks) + "\n").encode()


def _twin(aligned: Alignment, side: str, name: str) -> str:
    twin = aligned.twins[side].get(name)
    return f"= {twin}" if twin is not None else f"({aligned.alone[side][name]})"


def dot(aligned: Alignment, sides: tuple[str, ...]) -> bytes:
    """One graph in Graphviz's language, or both beside each other with their twins linked by dotted lines."""
    if len(sides) == 1:
        return aligned.graphs[sides[0]].dot().encode()
    small = {side: aligned.graphs[side].fitting() for side in sides}
    names = {side: small[side].identifiers(side) for side in sides}
    bodies = [
        f'  subgraph cluster_{side} {{\n  label="{side}";\n{small[side].statements(side)}\n  }}'
        for side in sides
    ]
    left, right = sides
    link = 'class="twin", style=dotted, dir=none, constraint=false'
    twins = dict.fromkeys((names[left][a], names[right][b]) for a, b in aligned.twins[left].items())
    links = [f'  "{a}" -> "{b}" [{link}];' for a, b in twins]
    return ("digraph {\n" + "\n".join([Graph.STYLE, *bodies, *links]) + "\n}\n").encode()


def svg(aligned: Alignment, sides: tuple[str, ...]) -> bytes:
    """The drawing as SVG."""
    return layout.svg(placed(aligned, sides)).encode()


def placed(aligned: Alignment, sides: tuple[str, ...]) -> Layout:
    """Where everything stands; of two sides, the first on the left, as in the sources."""
    found = layout.layout(dot(aligned, sides).decode())
    frames = {box.lines[0]: box.centre[0] for box in found.boxes if box.kind == "frame"}
    in_order = all(frames[a] < frames[b] for a, b in pairwise(sides) if frames)
    return found if in_order else found.mirrored()


def png(aligned: Alignment, sides: tuple[str, ...]) -> bytes:
    """The drawing as PNG, laid out by Graphviz and drawn by matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    drawing = placed(aligned, sides)
    width, height = max(drawing.width, 72), max(drawing.height, 72)
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    line: dict[str, Any] = {"fill": False, "linewidth": 0.8}
    for curve in drawing.curves:
        codes = [Path.MOVETO, *[Path.CURVE4] * (len(curve.points) - 1)]
        dotted = ":" if curve.kind == "twin" else "-"
        axes.add_patch(PathPatch(Path(curve.points, codes), linestyle=dotted, **line))
        if (corners := layout.head(curve)) is not None:
            axes.add_patch(Polygon(corners, color="black"))
    for box in drawing.boxes:
        (x, y), lines = box.centre, box.lines
        for inset in {"constant": (), "outside": (), "several": (0.0, 4.0)}.get(box.kind, (0.0,)):
            corner = (x - box.width / 2 + inset, y - box.height / 2 + inset)
            style = "round, pad=0, rounding_size=8" if box.kind == "leaf" else "square, pad=0"
            size = box.width - 2 * inset, box.height - 2 * inset
            axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, **line))
        middle = y - box.height / 2 + FONT if box.kind == "frame" else y
        for k, text_line in enumerate(lines):
            offset = LEADING * (k - (len(lines) - 1) / 2)
            axes.text(
                x, middle + offset, text_line, ha="center", va="center", fontsize=FONT, parse_math=False
            )
    content = BytesIO()
    figure.savefig(content, format="png", dpi=144, metadata={"Software": None})
    return content.getvalue()


def document(aligned: Alignment, sides: tuple[str, ...]) -> bytes:
    """Every node with its value, gradient and twin, as one JSON document."""
    tree: dict[str, Any] = {
        side: {"graph": aligned.graphs[side], "twins": aligned.twins[side], "alone": aligned.alone[side]}
        for side in sides
    }
    return msgspec.json.format(encode(tree), indent=1) + b"\n"


FORMATS: Mapping[str, Callable[[Alignment, tuple[str, ...]], bytes]] = {
    "text": text,
    "svg": svg,
    "png": png,
    "dot": dot,
    "json": document,
}
