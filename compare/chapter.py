"""Shows a lesson on the page: both sources with what ran at each step, and both graphs with their twins."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from compare import describe
from compare.describe import Table
from compare.graphs import Alignment
from compare.judge import SIDES
from compare.lesson import Lesson, sheets
from compare.record import Record
from scenarios.graph import Graph, Node
from scenarios.layout import svg

_LEXER, _FORMATTER = PythonLexer(), HtmlFormatter(nowrap=True)

#: Opens a step of a twin's source.
MARK = re.compile(r"^# %% step: (.+)$", re.MULTILINE)

#: Entries of a matrix that are shown one by one.
FEW = 9

#: Rows of a table of recorded values; what is beyond them can be read off the graphs.
ROWS = 20


@dataclass(frozen=True)
class Step:
    """One step of both sources; a side that has no such step is empty.

    Attributes:
        name: of the step.
        code: by side, highlighted.
        recorded: what ran there, in tables.
    """

    name: str
    code: Mapping[str, Markup]
    recorded: tuple[Table, ...]


def steps(lesson: Lesson, record: Record | None = None) -> Iterator[Step]:
    """The two sources cut at their marks, in the order of the marks; what stands before them is left out.

    Args:
        lesson: the sources, and the graphs whose nodes stand under the step that computed them.
        record: of the same scenario; what its training computed stands under ``step`` and ``run``.
    """
    cuts = {side: list(_cut(lesson.sources[side])) for side in SIDES}
    names = list(dict.fromkeys(cut.name for side in SIDES for cut in cuts[side]))
    tables: dict[str, list[Table]] = {name: [] for name in names}
    if lesson.alignment is not None:
        places = {side: _places(lesson.alignment.graphs[side], lesson.scenario, cuts[side]) for side in SIDES}
        for name in names:
            tables[name] += _ran(lesson.alignment, places, name)
    if record is not None and names:
        for name, table in describe.recorded(record):
            tables[name if name in tables else names[-1]].append(table)
    for name in names:
        code = {
            side: _highlighted(next((c.code for c in cuts[side] if c.name == name), "")) for side in SIDES
        }
        yield Step(name, code, tuple(tables[name]))


@dataclass(frozen=True)
class _Cut:
    """A step of one source, and the number of the line on which it is marked."""

    name: str
    code: str
    line: int


def _cut(source: str) -> Iterator[_Cut]:
    marks = list(MARK.finditer(source))
    ends = [*(mark.start() for mark in marks[1:]), len(source)]
    for mark, end in zip(marks, ends, strict=False):  # without a mark there is nothing to end
        line = source.count("\n", 0, mark.start()) + 1
        yield _Cut(mark[1], source[mark.end() : end].strip("\n"), line)


def _highlighted(code: str) -> Markup:
    return Markup(highlight(code, _LEXER, _FORMATTER))  # it escapes


def _places(graph: Graph, scenario: str, cuts: Sequence[_Cut]) -> dict[str, str]:
    """By the name of a node, the step that it belongs to.

    That is where its line stands, or where its value is first taken, or where what it takes comes from.
    """
    found: dict[str, str] = {}
    for node in graph.nodes:
        file, _, line = node.source.rpartition(":")
        if file == f"{scenario}.py" and line.isdigit():
            above = bisect_right([cut.line for cut in cuts], int(line))
            if above:
                found[node.name] = cuts[above - 1].name
    for node in reversed(graph.nodes):
        for name in node.inputs:
            if node.name in found and not graph[name].source:
                found[name] = found[node.name]
    for node in graph.nodes:
        if node.name not in found:
            known = [found[name] for name in node.inputs if name in found]
            if known or cuts:
                found[node.name] = known[-1] if known else cuts[0].name
    return found


def _ran(alignment: Alignment, places: Mapping[str, Mapping[str, str]], step: str) -> Iterator[Table]:
    """The nodes of both sides that a step computed, twins in one row."""
    here = {
        side: [n for n in graph.nodes if n.kind != "constant" and places[side].get(n.name) == step]
        for side, graph in alignment.graphs.items()
    }
    rows = [(*_cells(left), *_cells(right)) for left, right in _paired(here, alignment)]
    if rows:
        more = f" (the first {ROWS} of {len(rows)} rows; the others are in the graphs)"
        outputs = " and ".join(alignment.graphs[SIDES[0]].outputs)
        yield Table(
            f"Recorded here, with the gradients of {outputs}; what stands in one row is the same value"
            + (more if len(rows) > ROWS else ""),
            ("on the tape", "value", "gradient", "in the jaxpr", "value", "cotangent"),
            tuple(rows[:ROWS]),
        )


def _paired(
    here: Mapping[str, Sequence[Node]], alignment: Alignment
) -> list[tuple[Node | None, Node | None]]:
    """Both lists as one, twins in one row; what is alone on the right stands behind what it follows there."""
    left, right = SIDES
    waiting = {node.name: node for node in here[right]}
    twins = alignment.twins[left]
    rows: list[tuple[Node | None, Node | None]] = [
        (node, waiting.pop(twins.get(node.name, ""), None)) for node in here[left]
    ]
    before = None
    for node in here[right]:
        if node.name in waiting:
            at = next((k for k, (_, other) in enumerate(rows) if other is before), -1) if before else -1
            rows.insert(at + 1, (None, node))
        before = node
    return rows


def _cells(node: Node | None) -> tuple[str, str, str]:
    if node is None:
        return "", "", ""
    value, gradient = ("" if a is None else _short(a) for a in (node.value, node.gradient))
    if not node.operation:
        return node.name, value, gradient
    return node.operation if node.name.startswith("%") else f"{node.name} = {node.operation}", value, gradient


def _short(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{array.item():.5g}"
    if array.ndim > 1 and array.size > FEW:
        return f"{'×'.join(map(str, array.shape))}, norm {np.linalg.norm(array.astype(float)):.5g}"
    text = np.array2string(array, precision=4, threshold=6, edgeitems=2, separator=", ")
    return re.sub(r"\s+", " ", text)


@dataclass(frozen=True)
class Drawn:
    """A drawing on the page.

    Attributes:
        svg: an element whose nodes can be focused, say what they hold, and name their twins.
        behind: the identifier of the node that it shows the inside of; empty for the whole graph.
        title: what it shows.
    """

    svg: Markup
    behind: str
    title: str


def drawings(lesson: Lesson) -> dict[str, tuple[Drawn, ...]]:
    """By side, the whole graph, and what stands behind each of its nodes that stands for several."""
    alignment = lesson.alignment
    if alignment is None:
        return {}
    shown = {side: list(sheets(alignment.graphs[side], f"{lesson.scenario}-{side}")) for side in SIDES}
    elements = {side: _elements(shown[side]) for side in SIDES}
    found = {}
    for side, other in (SIDES, SIDES[::-1]):
        whole = shown[side][0][1]
        several = [node for node in whole.nodes if node.members]
        behind = [("", side), *((elements[side][node.name][0], node.operation) for node in several)]
        found[side] = tuple(
            Drawn(
                Markup(
                    svg(placed, _attributes(sheet, prefix, alignment, side, elements[other]))
                ),  # it escapes
                identifier,
                title,
            )
            for (prefix, sheet), placed, (identifier, title) in zip(
                shown[side], lesson.layouts[side], behind, strict=True
            )
        )
    return found


def _elements(drawn: Iterable[tuple[str, Graph]]) -> dict[str, list[str]]:
    """By the name of a node, what shows it: in the whole graph first, then behind a node there."""
    found: dict[str, list[str]] = {}
    for prefix, sheet in drawn:
        outside = {node.name for node in sheet.nodes if node.kind == "outside"}
        for name, identifier in sheet.identifiers(prefix).items():
            if name not in outside:
                found.setdefault(name, []).append(identifier)
    return found


def _attributes(
    sheet: Graph, prefix: str, alignment: Alignment, side: str, others: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str]]:
    """What every node of a drawing carries: what it says, and what shows its twins. One can be tabbed to."""
    identifiers = sheet.identifiers(prefix)
    found = {}
    for k, node in enumerate(sheet.nodes):
        twins = [alignment.twins[side].get(n.name) for n in (node.members or (node,))]
        shown = dict.fromkeys(i for twin in twins if twin is not None for i in others.get(twin, ()))
        found[identifiers[node.name]] = {
            "tabindex": "-1" if k else "0",
            "role": "img",
            "aria-label": _told(node, alignment, side),
            "data-twins": " ".join(shown),
        }
    return found


def _told(node: Node, alignment: Alignment, side: str) -> str:
    """What is said of a node: how it was computed, its value and gradient, its twin."""
    if node.kind == "outside":
        return f"{node.name}, from outside"
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


def texts(lesson: Lesson) -> dict[str, str]:
    """By side, the graph in plain text."""
    return {side: graph.text() for side, graph in lesson.alignment.graphs.items()} if lesson.alignment else {}
