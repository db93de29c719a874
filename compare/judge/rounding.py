"""How large a difference rounding may account for, and what a larger one is.

A difference that shrinks with the precision is rounding; one that stays is a different function. Both sides
are run in a higher and in a lower precision from the same bits. How far a side's lower precision is from its
higher one measures how strongly this very computation amplifies rounding; times the ratio of the unit
roundoffs, it says how far apart the two sides may be in the higher precision. The theory, its limits and the
derivation of every constant are in docs/judging.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, pairwise
from math import comb
from typing import Protocol

import ml_dtypes
import numpy as np

from compare.judge.trees import Gap, gap
from compare.judge.verdict import SIDES, Evidence, Finding, Reason, Word
from scenarios.types import Arrays

#: How many times its estimate a budget may be exceeded before a difference is put down to something else.
#: The estimate is the largest of several random draws of a rounding error, and what it bounds is the
#: difference of two more draws from the same distribution (docs/judging.md, "The safety factor").
SAFETY = 16.0

#: At how many neighbouring points an excess must be confirmed. Each is another draw of the rounding error;
#: that all fall short of the typical one by SAFETY / 2 has a probability of some (1 / SAFETY) ** POINTS.
POINTS = 10

#: Neighbours are this many units roundoff of the lower precision away, at most.
RADIUS = 4.0

#: A quantity that uses no more than this share of its budget needs no further draw of the budget, which more
#: draws could only raise. It decides how much is computed, not what is said.
ENOUGH = 0.25


#: At how many of the points that part the response to the last bit is looked at.
CONFIRMED = 2


class Function(Protocol):
    """One side of a comparison: from inputs by name to outputs by name, computed in a given dtype."""

    def __call__(self, inputs: Arrays, dtype: str, /) -> Arrays:
        """Convert ``inputs`` to ``dtype``, compute in it, and return NumPy arrays of it."""


@dataclass(frozen=True)
class Examination:
    """What was found, quantity by quantity, in the higher precision and in the lower one."""

    higher: tuple[Finding, ...]
    lower: tuple[Finding, ...]


def _unsmooth(line: list[np.ndarray]) -> float:
    """What is left of values along a line when all that is smooth, or isolated, is taken out."""
    table = np.array([values.ravel() for values in line])
    if not np.isfinite(table).all():
        return 0.0
    fourth = np.abs(np.diff(table, n=4, axis=0))
    return float(np.median(fourth.max(axis=1, initial=0.0)) / np.sqrt(comb(8, 4)))


def unit_roundoff(dtype: str | np.dtype) -> float:
    """Half the distance from 1 to the next number of ``dtype``: 2⁻⁵³ for float64, 2⁻²⁴ for float32."""
    return float(ml_dtypes.finfo(dtype).eps) / 2  # type: ignore[no-untyped-call]  # it carries no types


def examine(
    imperative: Function,
    functional: Function,
    at: Arrays,
    *,
    higher: str = "float64",
    lower: str | None = "float32",
    seed: int = 0,
) -> Examination:
    """Compare two functions at a point.

    Args:
        imperative: one side.
        functional: the other.
        at: the inputs by name; those of a floating dtype are moved to neighbouring points, others are not.
        higher: the precision to judge in.
        lower: a lower precision that both functions can compute in. Without one the budget rests on
            perturbations of the inputs alone, which is weaker evidence: they do not show what a computation
            loses within.
        seed: of the perturbations.
    """
    sides = dict(zip(SIDES, (imperative, functional), strict=True))
    return _Comparison(sides, at, higher, lower, seed).examination()


@dataclass
class _Quantity:
    """What is known of one quantity so far; differences are largest absolute ones of an entry."""

    base: Gap
    floating: bool
    noise: dict[str, float]  # of each side against itself, run twice
    error: dict[str, float]  # of each side's lower precision against its higher one
    response: float = 0.0  # of a side to moving the inputs, in the higher precision
    apart: float = 0.0  # the sides, in the higher precision, at any point so far
    blind: set[str] = field(default_factory=set)  # the sides whose lower precision was not finite somewhere
    below: Gap | None = None  # the sides, in the lower precision


@dataclass
class _Point:
    """A neighbour and what both sides computed there in the higher precision."""

    inputs: Arrays
    outputs: Mapping[str, Arrays]
    nudged: list[dict[str, Arrays]] = field(default_factory=list)  # the same, where the last bits are moved


class _Comparison:
    """Evaluates both sides at more and more neighbours, for as long as something is in doubt."""

    def __init__(
        self, sides: Mapping[str, Function], at: Arrays, higher: str, lower: str | None, seed: int
    ) -> None:
        self.sides, self.at, self.higher, self.lower = sides, at, higher, lower
        self.random = np.random.default_rng(seed)
        self.unit = unit_roundoff(higher)
        self.smallest = float(ml_dtypes.finfo(higher).smallest_normal)  # type: ignore[no-untyped-call]
        self.ratio = self.unit / unit_roundoff(lower) if lower else 1.0
        entries = sum(array.size for array in at.values() if _floating(array))
        self.chain = float(np.sqrt(max(entries, 1)))
        self.drawn = 0  # neighbours at which rounding errors were drawn
        self.neighbours: list[_Point] = []
        self.lines: dict[int, list[dict[str, Arrays]]] = {}

    def examination(self) -> Examination:
        base = self._run(self.at, self.higher)
        again = self._run(self.at, self.higher)
        unlike = dict(mismatches(base, self.higher))
        names = [name for name in base["imperative"] if name not in unlike]
        self.quantities = {
            name: _Quantity(
                base=gap(*(base[side][name] for side in SIDES)),
                floating=_floating(base["imperative"][name]),
                noise={side: gap(base[side][name], again[side][name]).absolute for side in SIDES},
                error=dict.fromkeys(SIDES, 0.0),
            )
            for name in names
        }
        below: dict[str, Finding] = {}
        if self.lower:
            below = self._sample(_rounded(self.at, self.lower), base, first=True)
        while self.drawn < POINTS and not (self.drawn and self._settled()):
            self._sample(_rounded(self._moved(self.at, self.lower), self.lower), base)
            self.drawn += 1
        higher = {**unlike, **{name: self._finding(name, q) for name, q in self.quantities.items()}}
        lower = {name: below.get(name) or self._below(higher[name]) for name in higher} if self.lower else {}
        return Examination(tuple(higher.values()), tuple(lower.values()))

    def _run(self, inputs: Arrays, dtype: str) -> dict[str, Arrays]:
        return {side: function(inputs, dtype) for side, function in self.sides.items()}

    def _sample(
        self, inputs: Arrays, base: Mapping[str, Arrays], *, first: bool = False
    ) -> dict[str, Finding]:
        """Draw the rounding errors at one more point; returns what the lower precision cannot compare."""
        upper = self._run(inputs, self.higher)
        lower = self._run(inputs, self.lower) if self.lower else {}
        unlike = dict(mismatches(lower, self.lower)) if self.lower else {}
        for name, quantity in self.quantities.items():
            quantity.apart = _larger(quantity.apart, *(upper[side][name] for side in SIDES))
            for side in SIDES:
                quantity.response = _larger(quantity.response, upper[side][name], base[side][name])
                if lower and name not in unlike:
                    if not np.isfinite(gap(lower[side][name], upper[side][name]).absolute):
                        quantity.blind.add(side)
                    error = _larger(quantity.error[side], lower[side][name], upper[side][name])
                    quantity.error[side] = error
            if first and name not in unlike:
                quantity.below = gap(*(lower[side][name] for side in SIDES))
        return unlike

    def _settled(self) -> bool:
        """Whether more draws would change no word, or not with a greater probability than POINTS leave."""
        for quantity in self.quantities.values():
            apart, budget = quantity.base.absolute, self._budget(quantity)
            beyond = apart / budget if budget else np.inf
            if apart > ENOUGH * budget and beyond**self.drawn < SAFETY**POINTS:
                return False
        return True

    def _budget(self, quantity: _Quantity) -> float:
        """How far apart the two sides may be in the higher precision, by rounding alone."""
        if not quantity.floating:
            return 0.0
        return SAFETY * max(
            self.ratio * max(quantity.error.values()),
            self.chain * self.ratio * quantity.response,
            self.chain * self.unit * quantity.base.scale,
            self.chain * self.smallest,
        )

    def _finding(self, name: str, quantity: _Quantity) -> Finding:
        """The word for one quantity in the higher precision."""
        base, budget = quantity.base, self._budget(quantity)
        evidence: Evidence = "both precisions" if self.lower else "perturbations"
        word: Word
        reason: Reason = ""
        side = ""
        unsteady = max(SIDES, key=lambda s: quantity.noise[s])
        if quantity.noise[unsteady] > budget:
            # Noise of the order of summation is rounding, and no larger than rounding can be.
            word, reason, side = "undecided", "not deterministic", unsteady
        elif base.absolute > budget:
            word, reason, side, budget = self._excess(name, quantity, budget)
        elif quantity.floating and base.blank == base.size:
            word, reason = "vacuous", "nothing finite"
        elif quantity.floating and base.scale == 0:
            word, reason = "vacuous", "all zero"
        elif not base.unequal:
            word = "identical"
        elif budget < base.scale:
            word = "rounding"
            if any(quantity.noise.values()):
                reason, side = "not deterministic", unsteady
        elif self.lower:
            word, reason = "vacuous", "zero up to rounding"
        else:
            word, reason = "undecided", "the last bit decides"
        return Finding(
            quantity=name,
            word=word,
            reason=reason,
            side=side,
            absolute=np.float64(base.absolute),
            scale=np.float64(base.scale),
            ulps=last_bits(base, self.unit),
            budget=np.float64(budget),
            notices=np.float64(budget / base.scale if base.scale else np.inf),
            where=base.where,
            lost_bits=self._lost_bits(quantity),
            evidence=evidence,
            points=self.drawn,
        )

    def _excess(self, name: str, quantity: _Quantity, budget: float) -> tuple[Word, Reason, str, float]:
        """What a difference beyond its budget is: word, reason, the side it lies with, and the budget."""
        parted = list(islice(self._parted(name, budget), CONFIRMED))
        if not parted:
            return *self._isolated(quantity), "", budget
        # Where a computation is so unstable that the lower precision keeps none of it, its budget says
        # nothing, but its own response to the last bit of its inputs does.
        responses = [self._response(name, point) for point, _ in parted]
        if all(
            apart > SAFETY * self.chain * response
            for (_, apart), response in zip(parted, responses, strict=True)
        ):
            noise = self._noise(name, quantity) if quantity.floating else 0.0
            if quantity.base.absolute > noise:
                return "different", *self._leak(name, quantity), budget
            if noise >= quantity.base.scale:
                return "undecided", "the last bit decides", "", noise
            return "rounding", "noise that the lower precision hides", "", noise
        budget = max(budget, SAFETY * self.chain * max(responses))
        if quantity.base.absolute <= budget < quantity.base.scale:
            return "rounding", "", "", budget
        return "undecided", "the last bit decides", "", budget

    def _parted(self, name: str, budget: float) -> Iterator[tuple[_Point, float]]:
        """The neighbours at which the sides are further apart than ``budget``, and how far."""
        for index in range(POINTS):
            if index == len(self.neighbours):
                # All their bits are used: with few, the higher precision would be exact.
                inputs = self._moved(self.at, self.lower)
                self.neighbours.append(_Point(inputs, self._run(inputs, self.higher)))
            point = self.neighbours[index]
            apart = gap(*(point.outputs[side][name] for side in SIDES)).absolute
            if apart > budget:
                yield point, apart

    def _moved(self, inputs: Arrays, dtype: str | None = None) -> Arrays:
        """Every entry moved at random, by at most RADIUS units roundoff of ``dtype``."""
        return moved(inputs, RADIUS, dtype or self.higher, self.random)

    def _isolated(self, quantity: _Quantity) -> tuple[Word, Reason]:
        """What a difference is that exists at the given inputs and at none of their neighbours."""
        exact = self.lower and all(
            np.array_equal(array, rounded, equal_nan=_floating(array))
            for array, rounded in zip(self.at.values(), _rounded(self.at, self.lower).values(), strict=True)
        )
        if quantity.below is None or not exact:
            return "undecided", "a jump at this very point"
        # What rounding decides, it need not decide alike in two precisions; a convention it is.
        if quantity.below.absolute >= quantity.base.absolute / 2:
            return "different", "a convention at a kink"
        return "rounding", "a branch that fell the other way"

    def _response(self, name: str, point: _Point) -> float:
        """How far a side moves, at most, when the last bit of its inputs does."""
        if not point.nudged:
            point.nudged = [self._run(self._moved(point.inputs), self.higher) for _ in range(2)]
        return max(
            gap(nudged[side][name], point.outputs[side][name]).absolute
            for nudged in point.nudged
            for side in SIDES
        )

    def _leak(self, name: str, quantity: _Quantity) -> tuple[Reason, str]:
        """Whether a difference is a precision leak, and whose."""
        if self.lower is None or not quantity.floating or quantity.blind:
            return "", ""
        coarse = unit_roundoff(self.lower) * quantity.base.scale
        if quantity.base.absolute > SAFETY * max(*quantity.error.values(), self.chain * coarse):
            return "", ""  # too large for a rounding error of the lower precision
        for side, other in (SIDES, SIDES[::-1]):
            step = self._roughness(side, name)
            if step >= quantity.base.absolute / SAFETY and step > SAFETY**2 * self._roughness(other, name):
                return "precision leak", side
        return "", ""

    def _noise(self, name: str, quantity: _Quantity) -> float:
        """How much the rounding noise of the higher precision accounts for, measured by itself.

        The lower precision can be blind to it: what it rounds to nothing has an error no larger than itself,
        and what is exact in it has none. A difference table is not blind.
        """
        if self.lower is None:
            return 0.0
        low, high = (-int(np.log2(unit_roundoff(dtype))) for dtype in (self.lower, self.higher))
        # Finer than the lower precision nothing but the higher one makes noise.
        third = (high - low) // 3
        fine = [self._steady(side, name, (low + third, high - third)) for side in SIDES]
        # Coarser, a precision leak does so too, and is told by noise that does not shrink at least half of
        # the way from one precision to the other. What the lower one has no bit of, it cannot tell.
        credible = {
            side: max(error, quantity.base.scale)
            if error >= quantity.base.scale or side in quantity.blind
            else np.sqrt(self.ratio) * error
            for side, error in quantity.error.items()
        }
        coarse = [0.0]
        if quantity.base.absolute <= SAFETY * max(credible.values()):
            levels = {side: self._steady(side, name, range(6, low + 3, 4)) for side in SIDES}
            coarse = [level for side, level in levels.items() if level <= credible[side]]
        return SAFETY * max(*fine, *coarse, 0.0)

    def _steady(self, side: str, name: str, bits: Iterable[int]) -> float:
        """The noise along a line that does not depend on the spacing: what two neighbouring ones agree on."""
        levels = [_unsmooth([outputs[side][name] for outputs in self._line(b)]) for b in bits]
        return max((max(p) for p in pairwise(levels) if max(p) <= SAFETY / 4 * min(p)), default=0.0)

    def _line(self, bits: int) -> list[dict[str, Arrays]]:
        """What both sides compute at 16 points along one line, 2^-bits of the inputs from each other."""
        if bits not in self.lines:
            steps = (
                {
                    name: np.asarray(a * (1 + k * 2.0**-bits * self.direction[name]))
                    if name in self.direction
                    else a
                    for name, a in self.at.items()
                }
                for k in range(16)
            )
            self.lines[bits] = [self._run(inputs, self.higher) for inputs in steps]
        return self.lines[bits]

    @cached_property
    def direction(self) -> Arrays:
        """A random direction, relative to the inputs."""
        return {n: self.random.uniform(-1, 1, a.shape) for n, a in self.at.items() if _floating(a)}

    def _roughness(self, side: str, name: str) -> float:
        """The largest second difference along steps that are finer than the lower precision.

        A smooth function has next to none; one that passes through the lower precision is a staircase
        (after J. Moré and S. Wild, Estimating computational noise, SIAM J. Sci. Comput. 33, 2011).
        """
        values = [np.asarray(outputs[side][name], dtype=np.float64) for outputs in self._stairs]
        return max(
            gap(left + right, 2 * middle).absolute
            for left, middle, right in zip(values, values[1:], values[2:], strict=False)
        )

    @cached_property
    def _stairs(self) -> list[dict[str, Arrays]]:
        assert self.lower is not None
        width = unit_roundoff(self.lower) / 8
        centre = _rounded(self.at, self.lower)
        steps = (
            {n: np.asarray(a * (1 + k * width)) if _floating(a) else a for n, a in centre.items()}
            for k in range(3 * POINTS)
        )
        return [self._run(inputs, self.higher) for inputs in steps]

    def _lost_bits(self, quantity: _Quantity) -> dict[str, np.float64]:
        """By side, how many of the last bits of the lower precision are wrong."""
        if self.lower is None or not quantity.floating or not quantity.base.scale:
            return {}
        return {s: wrong_bits(error, quantity.base.scale, self.lower) for s, error in quantity.error.items()}

    def _below(self, higher: Finding) -> Finding:
        """The word in the lower precision, where the higher one knows whether it differs."""
        quantity = self.quantities.get(higher.quantity)
        if self.lower is None or quantity is None or quantity.below is None:
            return higher
        below = quantity.below
        unit = unit_roundoff(self.lower)
        word, reason, side = higher.word, higher.reason, higher.side
        if word in {"identical", "rounding"}:
            reason, side = "", ""
            word = "rounding" if below.unequal else "identical"
            if not np.isfinite(below.absolute):
                word, reason = "different", "not finite on one side"
            elif quantity.floating and below.blank == below.size:
                word, reason = "vacuous", "nothing finite"
            elif quantity.floating and below.scale == 0:
                word, reason = "vacuous", "all zero"
            # A side that loses every bit in the lower precision, and need not: the other side keeps some,
            # neighbouring points show that the function is not to blame, and the higher precision that the
            # computation is not, since it does not lose there what an unstable one would.
            for culprit, witness in (SIDES, SIDES[::-1]):
                lost = quantity.error[culprit] >= below.scale / 2
                kept = SAFETY * max(quantity.error[witness], self.chain * quantity.response) < below.scale / 2
                apart = max(quantity.apart, quantity.base.absolute)
                unstable = SAFETY * apart >= self.ratio * quantity.error[culprit]
                if lost and kept and not unstable and quantity.floating:
                    word, reason, side = "different", "no bit left in the lower precision", culprit
        return replace(
            higher,
            word=word,
            reason=reason,
            side=side,
            absolute=np.float64(below.absolute),
            scale=np.float64(below.scale),
            ulps=last_bits(below, unit),
            budget=higher.budget / self.ratio,
            where=below.where,
        )


def moved(inputs: Arrays, radius: float, dtype: str, random: np.random.Generator) -> Arrays:
    """Every entry moved at random, by at most ``radius`` units roundoff of ``dtype`` relative to itself."""
    unit = unit_roundoff(dtype)
    return {
        name: np.asarray(array * (1 + radius * unit * random.uniform(-1, 1, array.shape)), dtype=array.dtype)
        if _floating(array)
        else array
        for name, array in inputs.items()
    }


def mismatches(outputs: Mapping[str, Arrays], dtype: str) -> Iterator[tuple[str, Finding]]:
    """The quantities that cannot be compared entry by entry."""
    for side, other in (SIDES, SIDES[::-1]):
        for name in outputs[side].keys() - outputs[other].keys():
            yield name, _different(name, "missing on one side", other, f"only the {side} side has it")
    left, right = (outputs[side] for side in SIDES)
    for name in left.keys() & right.keys():
        arrays = dict(zip(SIDES, (left[name], right[name]), strict=True))
        if left[name].shape != right[name].shape:
            yield name, _different(name, "another shape", "", _unlike(left[name].shape, right[name].shape))
            continue
        for side, array in arrays.items():
            if array.dtype.kind not in "iub" and array.dtype not in (dtype, _complex(dtype)):
                leak = _floating(array) and unit_roundoff(array.dtype) > unit_roundoff(dtype)
                reason: Reason = "precision leak" if leak else "another dtype"
                yield (
                    name,
                    _different(name, reason, side, f"it is {array.dtype} on the {side} side, in {dtype}"),
                )
                break
        else:
            if _floating(left[name]) != _floating(right[name]):
                note = _unlike(left[name].dtype, right[name].dtype)
                yield name, _different(name, "another dtype", "", note)


def _different(name: str, reason: Reason, side: str, note: str) -> Finding:
    infinite, nothing = np.float64(np.inf), np.float64(0)
    return Finding(name, "different", infinite, infinite, infinite, nothing, nothing, reason, side, note=note)


def _unlike(left: object, right: object) -> str:
    return f"it is {left} on the imperative side and {right} on the functional"


def _complex(dtype: str) -> str:
    return {"float64": "complex128", "float32": "complex64"}.get(dtype, dtype)


def _floating(array: np.ndarray) -> bool:
    """Whether rounding has a say in it: real or complex, of whatever precision."""
    return array.dtype.kind not in "iub"


def _rounded(inputs: Arrays, dtype: str | None) -> Arrays:
    """The inputs as ``dtype`` holds them, in the dtype they came in."""
    if dtype is None:
        return inputs
    return {
        name: array.astype(dtype).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in inputs.items()
    }


def _larger(so_far: float, left: np.ndarray, right: np.ndarray) -> float:
    """The larger difference; one that is not finite says nothing of rounding."""
    absolute = gap(left, right).absolute
    return max(so_far, absolute) if np.isfinite(absolute) else so_far


def wrong_bits(error: float, scale: float, dtype: str) -> np.float64:
    """How many of the last bits of a result in ``dtype`` an error makes wrong."""
    coarse = unit_roundoff(dtype) * scale
    return np.float64(np.log2(max(1.0, error / coarse)) if coarse and np.isfinite(error) else 0.0)


def last_bits(measured: Gap, unit: float) -> np.float64:
    """The difference in units of the last place of the largest magnitude."""
    if not measured.absolute or not measured.scale:
        return np.float64(np.inf if measured.absolute else 0)
    return np.float64(measured.absolute / (2 * unit * 2.0 ** np.floor(np.log2(measured.scale))))
