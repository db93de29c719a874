"""What a scenario teaches with, kept beside a saved run: the sources, and both graphs."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from compare import twins
from compare.graphs import Alignment, drawn
from compare.judge import SIDES
from compare.record import UnreadableRunError, encode, seal, unseal
from scenarios import Device
from scenarios.graph import Graph
from scenarios.layout import Layout, layout

FILE = "lessons.json"

#: Points; no drawing of so few nodes is larger.
LARGEST = 1e5

#: More nodes than these are too many to look at on a page; some are then drawn as one.
NODES = 100


@dataclass(frozen=True, eq=False)
class Lesson:
    """The material of one scenario.

    Attributes:
        scenario: by name.
        sources: by side, the text of the file that ran.
        alignment: the graphs of the loss on both sides in float64, at the start values; None where a side
            could not be drawn.
        layouts: by side, where everything stands in the drawing of each of the :func:`sheets`.
    """

    scenario: str
    sources: Mapping[str, str]
    alignment: Alignment | None
    layouts: Mapping[str, tuple[Layout, ...]] = field(default_factory=dict)


def sheets(graph: Graph, prefix: str) -> Iterator[tuple[str, Graph]]:
    """What is drawn of a graph: the whole, then what stands behind each node that stands for several.

    Each comes with a prefix that tells the identifiers of its nodes from those of all others.
    """
    whole = graph.collapsed(NODES)
    yield f"{prefix}-", whole
    for k, node in enumerate(whole.nodes):
        if node.members:
            yield f"{prefix}-{k}-", whole.opened(node).fitting()


def gather(name: str, device: Device = "cpu") -> Lesson:
    """Read the sources of a scenario's twins, and draw its graphs.

    Raises:
        UnavailableError: there is no such scenario.
    """
    pair = twins.load(name)
    sources = {}
    for side in SIDES:
        try:
            sources[side] = inspect.getsource(getattr(pair, side))
        except (OSError, TypeError):  # no file of its own
            sources[side] = ""
    lesson = Lesson(name, sources, None)
    try:
        alignment = drawn(name, device=device)
        layouts = {
            side: tuple(layout(sheet.dot(prefix)) for prefix, sheet in sheets(graph, f"{name}-{side}"))
            for side, graph in alignment.graphs.items()
        }
        with_graphs = replace(lesson, alignment=alignment, layouts=layouts)
        encode(with_graphs)
    except (Exception, SystemExit):  # noqa: BLE001  # what a twin raises is said in its record; the page does without
        return lesson
    return with_graphs


def save(directory: Path, lessons: Sequence[Lesson]) -> None:
    """Keep the lessons beside a saved run; those that are there are replaced.

    Raises:
        UnwritableRunError: the directory cannot be written.
    """
    seal(directory / FILE, tuple(lessons))


def load(directory: Path) -> dict[str, Lesson]:
    """The lessons beside a saved run, by scenario; none if there are none.

    Raises:
        UnreadableRunError: the file was changed, is of another version, or contradicts itself.
    """
    path = directory / FILE
    lessons = unseal(path, tuple[Lesson, ...]) if path.exists() else ()
    for lesson in lessons:
        if not _consistent(lesson):
            raise UnreadableRunError(
                f"{path}: the lesson of {lesson.scenario} does not fit itself; run again."
            )
    return {lesson.scenario: lesson for lesson in lessons}


def _consistent(lesson: Lesson) -> bool:
    """Whether everything that a lesson speaks of is there, and it draws its own graphs."""
    alignment = lesson.alignment
    if set(lesson.sources) != set(SIDES) or alignment is None:
        return alignment is None and set(lesson.sources) == set(SIDES)
    per_side = (alignment.graphs, alignment.twins, alignment.alone, lesson.layouts)
    if any(set(part) != set(SIDES) for part in per_side):
        return False
    names = {side: [node.name for node in graph.nodes] for side, graph in alignment.graphs.items()}
    return all(
        _ordered(alignment.graphs[side])
        and {*alignment.twins[side], *alignment.alone[side]} == set(names[side])
        and set(alignment.twins[side].values()) <= set(names[other])
        and _drawn(lesson, side)
        for side, other in (SIDES, SIDES[::-1])
    )


def _ordered(graph: Graph) -> bool:
    """Whether names are unique, and what a node takes stands before it."""
    known: set[str] = set()
    for node in graph.nodes:
        if node.name in known or node.members or not known.issuperset(node.inputs):
            return False
        known.add(node.name)
    return known.issuperset(graph.outputs.values())


def _drawn(lesson: Lesson, side: str) -> bool:
    """Whether the layouts of a side are those of its sheets."""
    assert lesson.alignment is not None
    shown = list(sheets(lesson.alignment.graphs[side], f"{lesson.scenario}-{side}"))
    if len(shown) != len(lesson.layouts[side]):
        return False
    for (prefix, sheet), placed in zip(shown, lesson.layouts[side], strict=True):
        identifiers = sheet.identifiers(prefix)
        sizes = (
            placed.width,
            placed.height,
            *(s for b in placed.boxes for s in (*b.centre, b.width, b.height)),
        )
        if (
            [box.identifier for box in placed.boxes] != [identifiers[node.name] for node in sheet.nodes]
            or len(placed.curves) != len(set(sheet.edges))
            or any(len(curve.points) % 3 != 1 for curve in placed.curves)
            or not all(abs(size) < LARGEST for size in sizes)
        ):
            return False
    return True
