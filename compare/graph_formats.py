"""Shows one graph, or the aligned graphs of both sides, in plain text, DOT, SVG, PNG or JSON."""

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import msgspec

from compare.graphs import Alignment
from compare.record import encode
from scenarios.graph import Graph


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
    from scenarios.layout import svg as laid_out

    return laid_out(dot(aligned, sides).decode()).encode()


def png(aligned: Alignment, sides: tuple[str, ...]) -> bytes:
    """The drawing as PNG, laid out by Graphviz and drawn by matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    from scenarios.layout import laid_out

    found = json.loads(laid_out(dot(aligned, sides).decode(), "json"))
    x0, y0, x1, y1 = map(float, found["bb"].split(","))
    figure = Figure(figsize=(max(x1 - x0, 72) / 72, max(y1 - y0, 72) / 72))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(x0, x1), ylim=(y0, y1))
    axes.axis("off")
    for thing in [*found.get("objects", []), *found.get("edges", [])]:
        for operation in [op for key in ("_draw_", "_hdraw_", "_ldraw_") for op in thing.get(key, [])]:
            if operation["op"] in "pP":
                filled = operation["op"] == "P"
                axes.add_patch(
                    Polygon(
                        operation["points"], fill=filled, edgecolor="black", facecolor="black", linewidth=0.8
                    )
                )
            elif operation["op"] in "bB":
                points = operation["points"]
                codes = [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)]
                dotted = ":" if thing.get("style") == "dotted" else "-"
                axes.add_patch(PathPatch(Path(points, codes), fill=False, linewidth=0.8, linestyle=dotted))
            elif operation["op"] == "T":
                x, y = operation["pt"]
                axes.text(x, y, operation["text"], ha="center", va="baseline", fontsize=10)
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
