"""Shows a lesson on the page: both sources, step by step, and both graphs with their twins."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from compare.graphs import Alignment
from compare.judge import SIDES
from scenarios.graph import Graph, Node
from scenarios.layout import svg

_MARK = re.compile(r"^# %% step: (.+)$", re.MULTILINE)

#: More nodes than these are too many to look at on a page.
NODES = 60


@dataclass(frozen=True)
class Step:
    """One step of both sources; a side that has no such step is empty.

    Attributes:
        name: of the step.
        code: by side, highlighted.
    """

    name: str
    code: Mapping[str, Markup]


def steps(sources: Mapping[str, str]) -> Iterator[Step]:
    """The two sources cut at their marks, in the order of the marks; what stands before them is left out."""
    cut = {side: dict(_cut(sources[side])) for side in SIDES}
    for name in dict.fromkeys(name for parts in cut.values() for name in parts):
        yield Step(name, {side: _highlighted(cut[side].get(name, "")) for side in SIDES})


def _cut(source: str) -> Iterator[tuple[str, str]]:
    marks = list(_MARK.finditer(source))
    ends = [*(mark.start() for mark in marks[1:]), len(source)]
    for mark, end in zip(marks, ends, strict=False):  # without a mark there is nothing to end
        yield mark[1], source[mark.end() : end].strip("\n")


def _highlighted(code: str) -> Markup:
    return Markup(highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)))  # it escapes


@dataclass(frozen=True)
class Pair:
    """The two graphs of a scenario.

    Attributes:
        drawings: by side, an SVG element whose nodes can be focused.
        texts: by side, the graph in plain text.
        told: JSON: by the identifier of a node what is said of it, and the identifiers of its twins.
    """

    drawings: Mapping[str, Markup]
    texts: Mapping[str, str]
    told: Markup


def pair(alignment: Alignment, prefix: str) -> Pair:
    """Draw both graphs; ``prefix`` tells their identifiers from those of other scenarios."""
    small = {side: alignment.graphs[side].collapsed(NODES) for side in SIDES}
    ids = {side: graph.identifiers(f"{prefix}-{side}") for side, graph in small.items()}
    told: dict[str, dict[str, object]] = {}
    for side, other in (SIDES, SIDES[::-1]):
        for node in small[side].nodes:
            twins = {
                ids[other][twin]
                for m in (node.members or (node,))
                if (twin := alignment.twins[side].get(m.name))
            }
            told[ids[side][node.name]] = {
                "text": _told(node, alignment, side),
                "twins": sorted(twins),
            }
    # Within a script element, nothing may look like a tag.
    document = Markup(json.dumps(told, ensure_ascii=False).replace("<", "\\u003c"))
    return Pair(
        {side: _drawing(graph, f"{prefix}-{side}", told) for side, graph in small.items()},
        {side: alignment.graphs[side].text() for side in SIDES},
        document,
    )


def _told(node: Node, alignment: Alignment, side: str) -> str:
    """What is said of a node: how it was computed, its value and gradient, its twin."""
    lines = [
        f"{node.name} = {node.operation}({', '.join(node.inputs)})"
        if node.operation
        else f"{node.name} ({node.kind})"
    ]
    if node.shape is not None:
        lines.append(f"{node.dtype}[{','.join(map(str, node.shape))}]")
    if node.value is not None:
        lines.append(f"value {_short(node.value)}")
    if node.gradient is not None:
        lines.append(f"{'gradient' if side == 'imperative' else 'cotangent'} {_short(node.gradient)}")
    if node.kept:
        lines.append("keeps " + ", ".join(f"{name} {_short(kept)}" for name, kept in node.kept.items()))
    if node.source:
        lines.append(node.source)
    if not node.members:
        twin = alignment.twins[side].get(node.name)
        lines.append(
            f"same value as {twin} on the other side"
            if twin
            else f"no twin: {alignment.alone[side][node.name]}"
        )
    return "\n".join(lines)


def _short(array: np.ndarray) -> str:
    return np.array2string(array, precision=4, threshold=8, edgeitems=2, separator=", ").replace("\n", " ")


def _drawing(graph: Graph, prefix: str, told: Mapping[str, Mapping[str, object]]) -> Markup:
    """The drawing as an element whose nodes can be reached by the keyboard and are read out."""
    drawn = svg(f"digraph {{\n{Graph.STYLE}\n{graph.statements(prefix)}\n}}")

    def reachable(found: re.Match[str]) -> str:
        identifier = found[1].replace("&#45;", "-")
        label = escape(str(told[identifier]["text"]).replace("\n", "; "))
        return f'<g id="{identifier}" class="node {found[2]}" tabindex="0" role="img" aria-label="{label}">'

    drawn = re.sub(r'<g id="([^"]+)" class="node ([^"]+)">', reachable, drawn)
    return Markup(drawn.replace("<svg ", '<svg role="group" ', 1))  # Graphviz and we escape
