"""What a scenario teaches with, kept beside a saved run: the sources, and both graphs."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compare import twins
from compare.graphs import Alignment, drawn
from compare.judge import SIDES
from compare.record import encode, seal, unseal
from scenarios import Device

FILE = "lessons.json"


@dataclass(frozen=True, eq=False)
class Lesson:
    """The material of one scenario.

    Attributes:
        scenario: by name.
        sources: by side, the text of the file that ran.
        alignment: the graphs of the loss on both sides in float64, at the start values; None where a side
            could not be drawn.
    """

    scenario: str
    sources: Mapping[str, str]
    alignment: Alignment | None


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
        with_graphs = replace(lesson, alignment=drawn(name, device=device))
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
