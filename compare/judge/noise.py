"""Rounding noise measured by itself, from what both sides compute along lines through the inputs.

A difference table cancels what is smooth and leaves noise (after J. Moré and S. Wild, Estimating
computational noise, SIAM J. Sci. Comput. 33, 2011). What tells noise from a kink, from a staircase of a lower
precision and from an oscillation that is faster than the spacing is in docs/judging.md, "Beyond the budget".
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property

import numpy as np

from compare.judge.precision import rounded, unit_roundoff
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
        self._lines: dict[int, list[Mapping[str, Arrays] | None]] = {}

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
        levels = [self.level(side, name, b) for b in spacings]
        runs = [(b, levels[k : k + agreeing]) for k, b in enumerate(spacings[agreeing - 1 :])]
        agreed = (
            max(run)
            for b, run in runs
            if least <= max(run) <= STEADY * min(run) and not self._oscillates(side, name, b, max(run))
        )
        return max(agreed, default=0.0)

    def level(self, side: str, name: str, bits: int) -> float:
        """What is left at one spacing when all that is smooth, or isolated, is taken out."""
        return float(np.median(self._unsmooth(side, name, bits)))

    def _oscillates(self, side: str, name: str, bits: int, level: float) -> bool:
        """Whether what looks like noise at a spacing is a smooth function that the spacing is too coarse for.

        At the first finer spacing at which the table falls to less than a quarter of its level, an
        oscillation of amplitude A moves by 0.28 A to 1.1 A from point to point, and the table by 0.0007 A or
        more: the spacing before, four times as wide, was too coarse for it. Noise that has gone there has
        steps wider than the line of 16 points: the table falls to what other noise there is, and what is
        left moves by an eighth of its level, or by as much as some other, larger part of the function.
        """
        for finer in range(bits + 2, self.fine, 2):
            unsmooth = self._unsmooth(side, name, finer)
            if unsmooth.max() < level / STEADY:
                steps = np.abs(np.diff(self._table(side, name, finer), axis=0)).max(axis=1, initial=0.0)
                moves = float(np.median(steps)) if steps.size else 0.0
                gradual = float(np.median(unsmooth)) >= level / STEADY**6
                return gradual and level / SMOOTH < moves < SMOOTH * level
        return False

    def _unsmooth(self, side: str, name: str, bits: int) -> np.ndarray:
        """What is left of each five neighbouring values when a cubic is taken out of them, ``(windows,)``.

        That of the entry of which most is left, in units of the standard deviation of white noise.
        """
        table = self._table(side, name, bits)
        windows = [slice(k, k + 5) for k in range(len(table) - 4)]
        left = [np.abs(_fourth(self.distances[w]) @ table[w]).max(initial=0.0) for w in windows]
        return np.array(left or [0.0])

    def roughness(self, side: str, name: str) -> float:
        """The largest second difference along steps that are finer than the lower precision.

        A smooth function has next to none; one that passes through the lower precision is a staircase.
        """
        values = [np.asarray(o[side][name], dtype=np.complex128) for o in self._stairs if o is not None]
        triples = zip(values, values[1:], values[2:], strict=False)
        second = [np.abs(left + right - 2 * middle) for left, middle, right in triples]
        return max((float(d.max(initial=0.0, where=np.isfinite(d))) for d in second), default=0.0)

    @cached_property
    def _stairs(self) -> list[Mapping[str, Arrays] | None]:
        ones = {name: np.ones(array.shape) for name, array in self.direction.items()}
        width = 2.0 ** -(self.coarse + 3)
        return self._walk(rounded(self.at, self.lower), ones, width * np.arange(2 * LENGTH))

    def _table(self, side: str, name: str, bits: int) -> np.ndarray:
        """The values of a quantity along a line, ``(points, entries)``; no points where one is missing."""
        if bits not in self._lines:
            self._lines[bits] = self._walk(self.at, self.direction, 2.0**-bits * self.distances)
        values = [o[side][name].ravel() for o in self._lines[bits] if o is not None]
        if len(values) < LENGTH or not all(np.isfinite(v).all() for v in values):
            return np.zeros((0, 1))
        return np.array(values)

    def _walk(
        self, start: Arrays, direction: Arrays, distances: np.ndarray
    ) -> list[Mapping[str, Arrays] | None]:
        """What both sides compute at points on a line, at distances relative to the inputs."""
        return [
            self.probe(
                {
                    n: np.asarray(a * (1 + distance * direction[n]), dtype=a.dtype) if n in direction else a
                    for n, a in start.items()
                }
            )
            for distance in distances
        ]


def _fourth(at: np.ndarray) -> np.ndarray:
    """The weights of a fourth divided difference of five values, with a sum of squares of 1."""
    apart = at[:, None] - at
    np.fill_diagonal(apart, 1)
    weights = 1 / apart.prod(axis=1)
    unit: np.ndarray = weights / np.sqrt(np.sum(weights**2))
    return unit
