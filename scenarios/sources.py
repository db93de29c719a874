"""Whose line it is: of all that was running, the innermost line that the user wrote."""

import sysconfig
from collections.abc import Iterable
from functools import cache
from os import sep

from scenarios.trace import Source


@cache
def libraries() -> tuple[str, ...]:
    """Where libraries are installed, Python's own among them."""
    paths = sysconfig.get_paths()
    return tuple(f"{paths[name]}{sep}" for name in ("purelib", "platlib", "stdlib", "platstdlib"))


def users_line(frames: Iterable[tuple[str, int]], own: str, *frameworks: str) -> Source:
    """The user's line, or else that of a library which is not the framework itself.

    Args:
        frames: files and lines, the innermost first.
        own: directory of ours; what called it from outside is not looked at.
        frameworks: directories of a framework.
    """
    library = Source()
    for file, line in frames:
        if file.startswith(own):
            break
        if file.startswith(frameworks) or file.startswith("<"):
            continue
        if not file.startswith(libraries()):
            return Source(file, line)
        library = library if library.file else Source(file, line)
    return library
