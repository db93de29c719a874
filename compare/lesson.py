"""What a scenario teaches with, kept beside a saved run: the sources, and both graphs."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from compare import twins
from compare.graphs import Alignment, drawn
from compare.judge import SIDES
from compare.record import encode, seal, unseal
from scenarios import Device
from scenarios.graph import Graph
from scenarios.layout import Layout, layout

FILE = "lessons.json"

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
        UnreadableRunError: the file was changed or is of another version.
    """
    path = directory / FILE
    lessons = unseal(path, tuple[Lesson, ...]) if path.exists() else ()
    return {lesson.scenario: lesson for lesson in lessons}
