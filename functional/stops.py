"""Where a gradient is stopped by the user's own lines, and what would be if it were not."""

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import jax

from functional.jaxpr.equations import FRAMEWORKS
from scenarios.sources import running, users_line
from scenarios.trace import Source

_JAX, _TYPES = FRAMEWORKS  # what checks types calls everything that it checks
_OWN = f"{Path(__file__).with_name('port.py')}"


@contextmanager
def watched(through: Collection[Source] = ()) -> Iterator[set[Source]]:
    """Note the lines that call ``jax.lax.stop_gradient`` while something is traced.

    What a framework calls for itself, as a softmax does, goes another way and is not noted.

    Args:
        through: lines at which it does nothing.

    Yields:
        The lines that have called it so far.
    """
    stop, seen = jax.lax.stop_gradient, set[Source]()

    def watching(x: Any) -> Any:  # noqa: ANN401  # any pytree
        frames = [*running(sys._getframe())]  # noqa: SLF001  # no public name
        outside = (file for file, _ in frames if not file.startswith(("<", __file__, _TYPES)))
        if next(outside).startswith(_JAX):
            return stop(x)
        line = users_line(frames, _OWN, __file__, *FRAMEWORKS)
        seen.add(line)
        return x if line in through else stop(x)

    with mock.patch.object(jax.lax, "stop_gradient", watching):
        yield seen
