"""Whose line it is: of all that was running, the innermost line that the user wrote."""

import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from os import sep
from types import FrameType

from scenarios.trace import Source

#: No more lines than these are kept of those that led to a line.
_CALLERS = 4


@cache
def libraries() -> tuple[str, ...]:
    """Where libraries are installed, Python's own among them."""
    paths = sysconfig.get_paths()
    return tuple(f"{paths[name]}{sep}" for name in ("purelib", "platlib", "stdlib", "platstdlib"))


def running(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    """Files and lines that are running, from a frame outwards."""
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def called_at(line: Source, caller: Source) -> Source:
    """A line, with the one that called what it stands in: of a program that was traced before it ran."""
    if not line.file or line == caller:
        return caller
    callers = [source for source in (*line.callers, caller, *caller.callers) if source.file]
    return Source(line.file, line.line, tuple(dict.fromkeys(callers))[:_CALLERS])


def users_line(frames: Iterable[tuple[str, int]], own: str, *frameworks: str) -> Source:
    """The user's line, or else that of a library which is not the framework itself.

    Args:
        frames: files and lines, the innermost first.
        own: directory of ours; what called it from outside is not looked at.
        frameworks: directories of a framework.
    """
    library = Source()
    found: list[Source] = []
    for file, line in frames:
        if file.startswith(own) or len(found) > _CALLERS:
            break
        if file.startswith(frameworks) or file.startswith("<"):
            continue
        if not file.startswith(libraries()):
            found.append(Source(file, line))
        elif not library.file:
            library = Source(file, line)
    return Source(found[0].file, found[0].line, tuple(found[1:])) if found else library
