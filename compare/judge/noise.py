"""Rounding noise measured by itself, from what both sides compute along lines through the inputs.

A difference table cancels what is smooth and leaves noise (after J. Moré and S. Wild, Estimating
computational noise, SIAM J. Sci. Comput. 33, 2011). What tells noise from a kink, from a staircase of a lower
precision and from an oscillation that is faster than the spacing is in docs/judging.md, "Beyond the budget".
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from compare.judge.precision import is_floating, rounded, unit_roundoff
from compare.judge.verdict import SIDES
from scenarios.types import Arrays

#: What both sides compute, by side; None where a side raised, or returned other quantities.
Probe = Callable[[Arrays], Mapping[str, Arrays] | None]

#: Points on a line: twelve windows of five, so that a median over them forgets what is isolated.
LENGTH = 16

#: Two levels no further apart than this are of the same noise. A level is a median of twelve magnitudes, and
#: known to within a factor of two.
STEADY = 4.0

#: An oscillation moves by its level, up to this factor, from point to point where the level has just fallen
#: by STEADY; noise does not. The derivation is in :meth:`Lines._oscillates`.
SMOOTH = 5.0

#: Entries of the quantities that are read along one line at a time; the line is walked again for the others.
_ROOM = 2**23

#: Columns of a window that are multiplied at a time.
_COLUMNS = 2**16


class Lines:
    """Lines of points at ever finer spacings; each is evaluated once, when it is first asked for."""

    def __init__(
        self,
        probe: Probe,
        at: Arrays,
        names: Collection[str],
        higher: str,
        lower: str,
        random: np.random.Generator,
    ) -> None:
        """Evaluate nothing yet.

        Args:
            probe: evaluates both sides in the higher precision.
            at: where the lines begin.
            names: of the inputs that move along them.
            higher: the precision whose noise is looked for.
            lower: the one whose staircase is looked for.
            random: draws a direction.
        """
        self.probe, self.at, self.names, self.lower = probe, at, names, lower
        #: The bits of either precision; a spacing is 2 to the minus so many of an input.
        self.coarse, self.fine = (-round(np.log2(unit_roundoff(dtype))) for dtype in (lower, higher))
        # At equal distances, numbers that are rounded to a grid can fall into a pattern.
        self.distances = np.arange(LENGTH) + random.uniform(-0.4, 0.4, LENGTH)
        self.direction = {
            name: random.uniform(0.5, 1, at[name].shape) * random.choice([-1, 1], at[name].shape)
            for name in names
        }
        self._lines: dict[tuple[int, str], Mapping[str, _Line]] = {}
        self._stairs: dict[str, Mapping[str, _Stairs]] = {}

    def steady(self, side: str, name: str, bits: Iterable[int], least: float, *, agreeing: int = 2) -> float:
        """The largest noise that does not depend on the spacing: what neighbouring ones agree on.

        Args:
            side: whose.
            name: of the quantity.
            bits: spacings to look at, as the negative exponents of 2, from coarse to fine.
            least: noise below it need not be found.
            agreeing: how many neighbouring spacings must agree.
        """
        spacings = list(bits)
        levels: list[float] = []
        for b in spacings:
            levels.append(self.level(side, name, b))
            if 0 < levels[-1] < least / STEADY:
                break  # noise that is gone at a spacing is at no finer one; 0 is said where a side raises
        runs = [(b, levels[k : k + agreeing]) for k, b in enumerate(spacings[agreeing - 1 : len(levels)])]
        agreed = (
            max(run)
            for b, run in runs
            if least <= max(run) <= STEADY * min(run) and not self._oscillates(side, name, b, max(run))
        )
        return max(agreed, default=0.0)

    def level(self, side: str, name: str, bits: int) -> float:
        """What is left at one spacing when all that is smooth, or isolated, is taken out."""
        return float(np.median(self._line(side, name, bits).unsmooth))

    def _oscillates(self, side: str, name: str, bits: int, level: float) -> bool:
        """Whether what looks like noise at a spacing is a smooth function that the spacing is too coarse for.

        At the first finer spacing at which the table falls to less than a quarter of its level, an
        oscillation of amplitude A moves by 0.28 A to 1.1 A from point to point, and the table by 0.0007 A or
        more: the spacing before, four times as wide, was too coarse for it. Noise that has gone there has
        steps wider than the line of 16 points: the table falls to what other noise there is, and what is
        left moves by an eighth of its level, or by as much as some other, larger part of the function.
        """
        for finer in range(bits + 2, self.fine, 2):
            line = self._line(side, name, finer)
            if max(line.unsmooth) < level / STEADY:
                moves = float(np.median(line.steps)) if line.steps else 0.0
                gradual = float(np.median(line.unsmooth)) >= level / STEADY**6
                return gradual and level / SMOOTH < moves < SMOOTH * level
        return False

    def roughness(self, side: str, name: str) -> float:
        """The largest second difference along steps that are finer than the lower precision.

        A smooth function has next to none; one that passes through the lower precision is a staircase.
        """
        if name not in self._stairs:
            ones = {n: np.ones(array.shape) for n, array in self.direction.items()}
            width = 2.0 ** -(self.coarse + 3)
            points = self._walk(rounded(self.at, self.lower), ones, width * np.arange(2 * LENGTH))
            self._stairs |= _read((o for o in points if o is not None), name, _Stairs)
        return self._stairs[name][side].roughest if name in self._stairs else 0.0

    def _line(self, side: str, name: str, bits: int) -> "_Line":
        """What is known of a quantity along a line; nothing where it is not finite, or a side raises."""
        if (bits, name) not in self._lines:
            points = self._walk(self.at, self.direction, 2.0**-bits * self.distances)
            found = _read(_all(points), name, lambda: _Line(self.distances))
            self._lines |= {(bits, n): lines for n, lines in found.items()}
            if not found:
                nothing = _Line(self.distances)
                nothing.close()
                self._lines[bits, name] = dict.fromkeys(SIDES, nothing)
        return self._lines[bits, name][side]

    def _walk(
        self, start: Arrays, direction: Arrays, distances: np.ndarray
    ) -> Iterator[Mapping[str, Arrays] | None]:
        """What both sides compute at points on a line, at distances relative to the inputs."""
        for distance in distances:
            yield self.probe(
                {
                    n: np.asarray(a * (1 + distance * direction[n]), dtype=a.dtype) if n in direction else a
                    for n, a in start.items()
                }
            )


class _Line:
    """A quantity along a line, of which no more than five points are held."""

    def __init__(self, distances: np.ndarray) -> None:
        self.distances, self._window = distances, deque[np.ndarray](maxlen=5)
        #: What is left of each five neighbouring values when a cubic is taken out of them: that of the entry
        #: of which most is left, in units of the standard deviation of white noise.
        self.unsmooth: list[float] = []
        #: How far the entry that moves most does so from point to point.
        self.steps: list[float] = []
        self._points, self._finite = 0, True

    def read(self, values: np.ndarray) -> None:
        """Read the next point."""
        self._finite = self._finite and bool(np.isfinite(values).all())
        if self._window:
            self.steps.append(float(np.abs(values - self._window[-1]).max(initial=0.0)))
        self._window.append(values)
        self._points += 1
        if self._points >= 5:  # noqa: PLR2004  # a cubic has four coefficients
            self.unsmooth.append(self._left())

    def _left(self) -> float:
        weights = _fourth(self.distances[self._points - 5 : self._points])
        cuts = range(0, max(self._window[0].size, 1), _COLUMNS)
        tables = (np.array([v[cut : cut + _COLUMNS] for v in self._window]) for cut in cuts)
        return max(float(np.abs(weights @ table).max(initial=0.0)) for table in tables)

    def close(self) -> None:
        """Hold no values any longer, and know nothing of a line that is not complete."""
        self._window.clear()
        if self._points < len(self.distances) or not self._finite:
            self.unsmooth, self.steps = [0.0], []


class _Stairs:
    """A quantity along steps of one width, of which no more than three points are held."""

    def __init__(self) -> None:
        self._window, self.roughest = deque[np.ndarray](maxlen=3), 0.0

    def read(self, values: np.ndarray) -> None:
        """Read the next point."""
        self._window.append(values)
        if len(self._window) == 3:  # noqa: PLR2004  # a second difference
            left, middle, right = (v.astype(np.complex128) for v in self._window)
            second = np.abs(left + right - 2 * middle)
            self.roughest = max(self.roughest, float(second.max(initial=0.0, where=np.isfinite(second))))

    def close(self) -> None:
        """Hold no values any longer."""
        self._window.clear()


Reading = TypeVar("Reading", _Line, _Stairs)


def _all(points: Iterable[Mapping[str, Arrays] | None]) -> Iterator[Mapping[str, Arrays]]:
    """Points on a line, up to the first at which a side raises."""
    for outputs in points:
        if outputs is None:
            return
        yield outputs


def _read(
    points: Iterable[Mapping[str, Arrays]], name: str, kind: Callable[[], Reading]
) -> dict[str, dict[str, Reading]]:
    """Read a quantity along points, and others if there is room for them; by name and side."""
    found: dict[str, dict[str, Reading]] = {}
    for outputs in points:
        if not found:
            found = {n: {side: kind() for side in outputs} for n in _chosen(outputs, name)}
        for n, readings in found.items():
            for side, reading in readings.items():
                reading.read(outputs[side][n].ravel())
    for readings in found.values():
        for reading in readings.values():
            reading.close()
    return found


def _chosen(outputs: Mapping[str, Arrays], name: str) -> Iterator[str]:
    """A quantity, and others on both sides, as many as there is room for."""
    left, right = outputs.values()
    room = _ROOM - left[name].size
    yield name
    for other, array in left.items():
        if other != name and other in right and array.shape == right[other].shape and is_floating(array):
            room -= array.size
            if room < 0:
                return
            yield other


def _fourth(at: np.ndarray) -> np.ndarray:
    """The weights of a fourth divided difference of five values, with a sum of squares of 1."""
    apart = at[:, None] - at
    np.fill_diagonal(apart, 1)
    weights = 1 / apart.prod(axis=1)
    unit: np.ndarray = weights / np.sqrt(np.sum(weights**2))
    return unit
