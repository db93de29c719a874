"""How large a difference rounding may account for, and what a larger one is.

A difference that shrinks with the precision is rounding; one that stays is a different function. Both sides
are run in a higher and in a lower precision from the same bits. How far a side's lower precision is from its
higher one measures how strongly this very computation amplifies rounding; times the ratio of the unit
roundoffs, it says how far apart the two sides may be in the higher precision. The theory, its limits and the
derivation of every constant are in docs/judging.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from typing import Any, Protocol

import numpy as np

from compare.judge.noise import Lines
from compare.judge.precision import (
    chain,
    complex_of,
    is_floating,
    last_bits,
    moved,
    rounded,
    smallest_normal,
    unit_roundoff,
    wrong_bits,
)
from compare.judge.trees import Gap, gap
from compare.judge.verdict import SIDES, Evidence, Finding, Reason, Word
from scenarios.types import Arrays

#: How many times its estimate a budget may be exceeded before a difference is put down to something else.
#: The estimate is the largest of several random draws of a rounding error, and what it bounds is the
#: difference of two more draws from the same distribution (docs/judging.md, "The constants").
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

Outputs = Mapping[str, Arrays]  # by side


class Function(Protocol):
    """One side of a comparison: from inputs by name to outputs by name, computed in a given dtype.

    It is given copies of the inputs, unless it has a true attribute ``copies``: then it makes its own of
    whatever it changes.
    """

    def __call__(self, inputs: Arrays, dtype: str, /) -> Arrays:
        """Convert ``inputs`` to ``dtype``, compute in it, and return NumPy arrays of it."""


@dataclass(frozen=True)
class Examination:
    """What was found, quantity by quantity, in the higher precision and in the lower one."""

    higher: tuple[Finding, ...]
    lower: tuple[Finding, ...]


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
        lower: a lower precision. Without one, or where a side raises in either, the budget rests on
            perturbations of the inputs alone, in the precision that is left. That is weaker evidence: they do
            not show what a computation loses within.
        seed: of the perturbations.

    Raises:
        Exception: whatever a side raises at these inputs in every precision.
    """
    sides = dict(zip(SIDES, (imperative, functional), strict=True))
    with np.errstate(all="ignore"):  # whatever overflows is judged, not warned of
        try:
            comparison = _Comparison(sides, at, higher, lower, seed)
        except Exception:
            if lower is None:
                raise
            comparison = _Comparison(sides, at, lower, None, seed)
            return Examination((), comparison.examination().higher)
        return comparison.examination()


@dataclass
class _Quantity:
    """What is known of one quantity so far; differences are largest absolute ones of an entry."""

    base: Gap
    floating: bool
    noise: dict[str, float]  # of each side against itself, run twice
    error: dict[str, float]  # of each side's lower precision against its higher one, the largest so far
    least: dict[str, float]  # and the smallest
    response: float = 0.0  # of a side to moving the inputs, in the higher precision
    moves: float = 0.0  # the same, at whatever neighbour it was looked at
    apart: float = 0.0  # the sides, in the higher precision, at any point so far
    blind: set[str] = field(default_factory=set)  # the sides whose lower precision was not finite somewhere
    below: Gap | None = None  # the sides, in the lower precision
    seen: dict[str, set[bytes]] = field(default_factory=dict)  # by side, the results that were drawn


@dataclass
class _Neighbour:
    """A point at which it is looked whether the sides part, and what was found there, by quantity."""

    state: Mapping[str, Any]  # of the generator that drew it
    apart: dict[str, float]
    raised: bool = False
    responses: dict[str, float] | None = None  # to the last bit of the inputs, once it was asked for


class _Comparison:
    """Evaluates both sides at more and more neighbours, for as long as something is in doubt."""

    def __init__(
        self, sides: Mapping[str, Function], at: Arrays, higher: str, lower: str | None, seed: int
    ) -> None:
        """Run both sides at the given inputs; whatever they raise there is for the caller."""
        self.sides, self.at, self.higher, self.lower = sides, at, higher, lower
        self.random = np.random.default_rng(seed)
        self.unit, self.chain = unit_roundoff(higher), chain(at)
        self.drawn = 0  # neighbours at which rounding errors were drawn
        self.failure = ""  # why a side cannot be evaluated elsewhere
        self.neighbours: list[_Neighbour] = []
        self.lines: dict[str, Lines] = {}
        self.base = self._run(at, higher)
        self.unlike = dict(mismatches(self.base, higher))
        noise = {side: self._noise_of(side) for side in SIDES}
        self.quantities = {
            name: _Quantity(
                base=gap(*(self.base[side][name] for side in SIDES)),
                floating=is_floating(array),
                noise={side: noise[side][name] for side in SIDES},
                error=dict.fromkeys(SIDES, 0.0),
                least=dict.fromkeys(SIDES, np.inf),
            )
            for name, array in self.base["imperative"].items()
            if name not in self.unlike
        }

    def examination(self) -> Examination:
        below = self._lower()
        for _ in range(POINTS):
            if self.drawn and self._settled():
                break
            self._draw()
        higher = {**self.unlike, **{name: self._finding(name, q) for name, q in self.quantities.items()}}
        lower = {name: below.get(name) or self._below(higher[name]) for name in higher} if self.lower else {}
        return Examination(tuple(higher.values()), tuple(lower.values()))

    def _run(self, inputs: Arrays, dtype: str) -> dict[str, Arrays]:
        """What both sides compute, each from its own copy: neither can change what the other is given."""
        return {side: self._run_side(side, inputs, dtype) for side in self.sides}

    def _run_side(self, side: str, inputs: Arrays, dtype: str) -> Arrays:
        call = self.sides[side]
        given = inputs if getattr(call, "copies", False) else {n: a.copy() for n, a in inputs.items()}
        outputs = dict(call(given, dtype))
        # One by one, since the outputs of a large model are large.
        return {name: np.array(outputs.pop(name)) for name in tuple(outputs)}

    def _noise_of(self, side: str) -> dict[str, float]:
        """How far a side is from itself, run twice, by quantity."""
        again = self._run_side(side, self.at, self.higher)
        return {
            name: gap(array, again[name]).absolute
            for name, array in self.base[side].items()
            if name not in self.unlike
        }

    def _attempt(self, inputs: Arrays, dtype: str | None) -> Outputs | None:
        """What both sides compute where nobody asked for it; None if one raises."""
        if dtype is None:
            return None
        try:
            return self._run(inputs, dtype)
        except Exception as error:  # noqa: BLE001  (whatever a side may raise)
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            return None

    def _probe(self, inputs: Arrays) -> Outputs | None:
        """What both sides compute in the higher precision; None where they raise or return something else."""
        outputs = self._attempt(inputs, self.higher)
        if outputs is None or not self.quantities.keys() - self._comparable(outputs):
            return outputs
        self.failure = self.failure or "other quantities or shapes are returned there"
        return None

    def _comparable(self, outputs: Outputs) -> set[str]:
        """The quantities that have the shape that they have at the given inputs, on both sides."""
        return {
            name
            for name in self.quantities
            if all(
                name in outputs[side] and outputs[side][name].shape == self.base[side][name].shape
                for side in SIDES
            )
        }

    def _lower(self) -> dict[str, Finding]:
        """Run both sides in the lower precision; returns what it cannot compare there."""
        at = rounded(self.at, self.lower)
        lower = self._attempt(at, self.lower)
        if lower is None or self.lower is None:
            self.lower = None
            return {}
        unlike = dict(mismatches(lower, self.lower))
        for name in self._comparable(lower) - unlike.keys():
            self.quantities[name].below = gap(*(lower[side][name] for side in SIDES))
        self._sample(at, lower)
        self.drawn = 0  # at the point itself, not at a neighbour
        return unlike

    @property
    def ratio(self) -> float:
        """Of the unit roundoffs."""
        return self.unit / unit_roundoff(self.lower) if self.lower else 1.0

    def _draw(self) -> None:
        """Draw the rounding errors at one more neighbour, which is needed no longer than that takes."""
        at = rounded(self._moved(self.at, self.lower), self.lower)
        self._sample(at, self._attempt(at, self.lower))

    def _sample(self, inputs: Arrays, lower: Outputs | None) -> None:
        """Draw the rounding errors at one more point."""
        upper = self._probe(inputs)
        if upper is None or (self.lower and lower is None):
            return
        self.drawn += 1
        readable = (
            self._comparable(lower) - dict(mismatches(lower, self.lower)).keys()
            if lower and self.lower
            else ()
        )
        for name, quantity in self.quantities.items():
            quantity.apart = _larger(quantity.apart, *(upper[side][name] for side in SIDES))
            for side in SIDES:
                result = (lower or upper)[side].get(name, upper[side][name])
                quantity.seen.setdefault(side, set()).add(sha256(result.tobytes()).digest())
                quantity.response = _larger(quantity.response, upper[side][name], self.base[side][name])
                quantity.moves = max(quantity.moves, quantity.response)
                if lower and name in readable:
                    error = gap(lower[side][name], upper[side][name]).absolute
                    if np.isfinite(error):
                        quantity.error[side] = max(quantity.error[side], error)
                        quantity.least[side] = min(quantity.least[side], error)
                    else:
                        quantity.blind.add(side)

    def _settled(self) -> bool:
        """Whether more draws would change no word, or not with a greater probability than POINTS leave."""
        for quantity in self.quantities.values():
            apart, budget = quantity.base.absolute, self._budget(quantity)
            beyond = apart / budget if budget else np.inf
            if apart > ENOUGH * budget and beyond**self.drawn < SAFETY**POINTS:
                return False
            culprit = self._careless(quantity)
            if culprit and self._bitless(quantity, culprit):
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
            self.chain * smallest_normal(self.higher),
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
            note=self.failure if word != "different" else "",
        )

    def _excess(self, name: str, quantity: _Quantity, budget: float) -> tuple[Word, Reason, str, float]:
        """What a difference beyond its budget is: word, reason, the side it lies with, and the budget."""
        parted = list(islice(self._parted(name, budget), CONFIRMED))
        if not self.drawn or (len(parted) < CONFIRMED and any(n.raised for n in self.neighbours)):
            return "undecided", "no neighbour", "", budget
        if not parted:
            return *self._isolated(quantity), "", budget
        # Where a computation is so unstable that the lower precision keeps none of it, its budget says
        # nothing, but its own response to the last bit of its inputs does.
        responses = [self._response(name, index) for index, _ in parted]
        reason: Reason = ""
        if all(apart > SAFETY * response for (_, apart), response in zip(parted, responses, strict=True)):
            noise = self._noise(name, quantity) if quantity.floating else 0.0
            if quantity.base.absolute > noise:
                reason, side = self._leak(name, quantity)
                doubt = "" if reason else self._doubt(name, quantity)
                return ("undecided", doubt, "", budget) if doubt else ("different", reason, side, budget)
            budget, reason = noise, "noise that the lower precision hides"
        else:
            budget = max(budget, SAFETY * max(responses))
        if quantity.base.absolute <= budget < quantity.base.scale:
            return "rounding", reason, "", budget
        return "undecided", "the last bit decides", "", budget

    def _parted(self, name: str, budget: float) -> Iterator[tuple[int, float]]:
        """The neighbours at which the sides are further apart than ``budget``, and how far."""
        for index in range(POINTS):
            if index == len(self.neighbours):
                self.neighbours.append(self._neighbour())
            apart = self.neighbours[index].apart.get(name, 0.0)
            if apart > budget:
                yield index, apart

    def _neighbour(self) -> _Neighbour:
        """One more point at which the sides may part."""
        state = self.random.bit_generator.state
        outputs = self._probe(self._beside())
        if outputs is None:
            return _Neighbour(state, {}, raised=True)
        for name, quantity in self.quantities.items():
            for side in SIDES:
                quantity.moves = _larger(quantity.moves, outputs[side][name], self.base[side][name])
        return _Neighbour(
            state, {n: gap(*(outputs[side][n] for side in SIDES)).absolute for n in self.quantities}
        )

    def _beside(self, state: Mapping[str, Any] | None = None) -> Arrays:
        """The inputs at a neighbour; at the one that was drawn in a state, if there is one."""
        # All their bits are used: with few, the higher precision would be exact.
        random = self.random if state is None else _drawn(state)
        return moved(self.at, RADIUS, self.lower or self.higher, random, off_zero=True)

    def _moved(self, inputs: Arrays, dtype: str | None = None) -> Arrays:
        """Every entry moved at random, by at most RADIUS units roundoff of ``dtype``."""
        return moved(inputs, RADIUS, dtype or self.higher, self.random)

    def _isolated(self, quantity: _Quantity) -> tuple[Word, Reason]:
        """What a difference is that exists at the given inputs and at none of their neighbours."""
        exact = self.lower and all(
            np.array_equal(array, rounded, equal_nan=is_floating(array))
            for array, rounded in zip(self.at.values(), rounded(self.at, self.lower).values(), strict=True)
        )
        if quantity.below is None or not exact:
            return "undecided", "a jump at this very point"
        # What rounding decides, it need not decide alike in two precisions; a convention it is.
        if quantity.below.absolute >= quantity.base.absolute / 2:
            return "different", "a convention at a kink"
        return "rounding", "a branch that fell the other way"

    def _response(self, name: str, index: int) -> float:
        """How far a side moves, at most, when the last bit of its inputs does."""
        neighbour = self.neighbours[index]
        if neighbour.responses is None:
            neighbour.responses = self._responses(neighbour)
        return neighbour.responses.get(name, np.inf)

    def _responses(self, neighbour: _Neighbour) -> dict[str, float]:
        """The same of all quantities, one side after the other: both would be much to be held at a time."""
        inputs, states = self._beside(neighbour.state), list[Mapping[str, Any]]()
        for _ in range(2):
            states.append(self.random.bit_generator.state)
            self._moved(inputs)
        left, right = ([*self._nudged(side, inputs, states)] for side in SIDES)
        both = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
        return {n: max(m[n] for moves in both for m in moves) for n in self.quantities} if both else {}

    def _nudged(
        self, side: str, inputs: Arrays, states: Iterable[Mapping[str, Any]]
    ) -> Iterator[dict[str, float] | None]:
        """How far a side moves with the last bit, by quantity; None where it raises or returns others."""
        there = self._attempt_side(side, inputs)
        for state in states:
            yield self._gaps(
                there, self._attempt_side(side, moved(inputs, RADIUS, self.higher, _drawn(state)))
            )

    def _gaps(self, there: Arrays | None, nudged: Arrays | None) -> dict[str, float] | None:
        if there is None or nudged is None:
            return None
        return {name: gap(nudged[name], there[name]).absolute for name in self.quantities}

    def _attempt_side(self, side: str, inputs: Arrays) -> Arrays | None:
        """What one side computes in the higher precision, if that can be compared with what is known."""
        try:
            outputs = self._run_side(side, inputs, self.higher)
        except Exception as error:  # noqa: BLE001  (whatever a side may raise)
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            return None
        known = self.base[side]
        same = all(n in outputs and outputs[n].shape == known[n].shape for n in self.quantities)
        return outputs if same else None

    def _lines(self, moving: str = "") -> Lines:
        """Lines along which one input moves; all of them without a name."""
        if moving not in self.lines:
            assert self.lower is not None
            names = [moving] if moving else [name for name, array in self.at.items() if is_floating(array)]
            self.lines[moving] = Lines(self._probe, self.at, names, self.higher, self.lower, self.random)
        return self.lines[moving]

    def _leak(self, name: str, quantity: _Quantity) -> tuple[Reason, str]:
        """Whether a difference is a precision leak, and whose."""
        if self.lower is None or not quantity.floating or quantity.blind:
            return "", ""
        coarse = unit_roundoff(self.lower) * quantity.base.scale
        if quantity.base.absolute > SAFETY * max(*quantity.error.values(), self.chain * coarse):
            return "", ""  # too large for a rounding error of the lower precision
        if quantity.base.absolute > SAFETY**2 * quantity.moves:
            return "", ""  # steps of that size are between the neighbours too
        for side, other in (SIDES, SIDES[::-1]):
            step = self._lines().roughness(side, name)
            if step >= quantity.base.absolute / SAFETY and step > SAFETY**2 * self._lines().roughness(
                other, name
            ):
                return "precision leak", side
        return "", ""

    def _noise(self, name: str, quantity: _Quantity) -> float:
        """How much the rounding noise of the higher precision accounts for, measured by itself.

        The lower precision can be blind to it: what it rounds to nothing has an error no larger than itself,
        and what is exact in it has none. A difference table is not blind.
        """
        if self.lower is None:
            return 0.0
        lines = self._lines()
        least = quantity.base.absolute / SAFETY  # less accounts for nothing
        # Finer than the lower precision nothing but the higher one makes noise.
        third = (lines.fine - lines.coarse) // 3
        between = range(lines.coarse + third, lines.fine - third + 1, 2)
        # Noise of that size is between the neighbours too, which are further away than these lines are long.
        seen = least <= SAFETY * quantity.moves
        noise = max(lines.steady(side, name, between, least) for side in SIDES) if seen else 0.0
        # Coarser, a precision leak does so too, and is told by noise that does not shrink about half of the
        # way from one precision to the other. What the lower one has no bit of, it cannot tell.
        credible = {
            side: max(error, quantity.base.scale)
            if error >= quantity.base.scale / 2 or side in quantity.blind
            else SAFETY * np.sqrt(self.ratio) * error
            for side, error in quantity.error.items()
        }
        return SAFETY * max(noise, self._coarse(name, least, credible) if noise < least else 0.0)

    def _doubt(self, name: str, quantity: _Quantity) -> Reason:
        """Why a difference that nothing explains need not be one of the functions; empty if it must."""
        if self.lower is None or not quantity.floating:
            return ""
        # Noise that may be of the higher precision as well as of a leak: the lower one may have lost one
        # component of a quantity wholly, and not the others.
        least = quantity.base.absolute / SAFETY
        if self._coarse(name, least, quantity.error, certain=False) >= least:
            return "noise of either precision"
        # Errors that are drawn of the same result again and again are one draw, which may be a lucky one.
        same = any(len(results) == 1 for results in quantity.seen.values())
        if same and quantity.base.absolute <= SAFETY**2 * self._budget(quantity):
            return "one draw"
        # Of two functions that differ, the lower precision would show as much.
        visible = self.chain * unit_roundoff(self.lower) * quantity.base.scale
        shown = np.inf if quantity.below is None else max(visible, quantity.below.absolute)
        if quantity.base.absolute > SAFETY * shown:
            return "in the higher precision alone"
        return ""

    def _coarse(self, name: str, least: float, most: Mapping[str, float], *, certain: bool = True) -> float:
        """The noise of either side at spacings that are coarser than the lower precision, if credible.

        Args:
            name: of the quantity.
            least: noise below it need not be found.
            most: by side, noise above it is not credible.
            certain: whether it is to be rounding; else it only casts a doubt, for which three spacings must
                agree instead of two.
        """
        if least > max(most.values()):
            return 0.0
        together = self._lines()
        spacings = list(range(6, together.coarse + 3, 2))
        agreeing = 2 if certain else 3
        alone = together.names if len(together.names) > 1 else ()
        for moving in ("", *alone):
            lines = self._lines(moving)
            levels = {s: lines.steady(s, name, spacings, least, agreeing=agreeing) for s in SIDES}
            found = max((level for s, level in levels.items() if level <= most[s]), default=0.0)
            if found:
                return found
            # The kinks of one input can hide the noise of another, but not where nothing is to be seen.
            spacings = [b for b in spacings if max(together.level(s, name, b) for s in SIDES) >= least]
            if len(spacings) < agreeing:
                break
        return 0.0

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
            if word in {"identical", "rounding"} and (culprit := self._careless(quantity)):
                side, reason = culprit, "bits lost without need"
                if self._bitless(quantity, culprit):
                    word, reason = "undecided", "no bit left in the lower precision"
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

    def _bitless(self, quantity: _Quantity, side: str) -> bool:
        """Whether a side has no correct bit in the lower precision, wherever it was looked at."""
        return quantity.below is not None and quantity.least[side] >= quantity.below.scale / 2

    def _careless(self, quantity: _Quantity) -> str:
        """The side that loses bits in the lower precision that it need not, wherever it was looked at.

        The other side keeps them, neighbouring points show that the function is not to blame, and the higher
        precision that the computation is not, since it does not lose there what an unstable one would.
        """
        below = quantity.below
        if self.lower is None or below is None or not quantity.floating:
            return ""
        apart = max(quantity.apart, quantity.base.absolute)
        conditioning = self.chain * max(quantity.response, unit_roundoff(self.lower) * below.scale)
        for culprit, witness in (SIDES, SIDES[::-1]):
            lost = quantity.least[culprit]
            needed = SAFETY * max(quantity.error[witness], conditioning)
            if needed < min(lost, below.scale / 2) < np.inf and SAFETY * apart < self.ratio * lost:
                return culprit
        return ""


def _drawn(state: Mapping[str, Any]) -> np.random.Generator:
    """A generator in a state that one was in before."""
    random = np.random.default_rng()
    random.bit_generator.state = state
    return random


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
            if array.dtype.kind not in "iub" and array.dtype not in (dtype, complex_of(dtype)):
                leak = is_floating(array) and unit_roundoff(array.dtype) > unit_roundoff(dtype)
                reason: Reason = "precision leak" if leak else "another dtype"
                yield (
                    name,
                    _different(name, reason, side, f"it is {array.dtype} on the {side} side, in {dtype}"),
                )
                break
        else:
            if is_floating(left[name]) != is_floating(right[name]):
                note = _unlike(left[name].dtype, right[name].dtype)
                yield name, _different(name, "another dtype", "", note)


def _different(name: str, reason: Reason, side: str, note: str) -> Finding:
    infinite, nothing = np.float64(np.inf), np.float64(0)
    return Finding(name, "different", infinite, infinite, infinite, nothing, nothing, reason, side, note=note)


def _unlike(left: object, right: object) -> str:
    return f"it is {left} on the imperative side and {right} on the functional"


def _larger(so_far: float, left: np.ndarray, right: np.ndarray) -> float:
    """The larger difference; one that is not finite says nothing of rounding."""
    absolute = gap(left, right).absolute
    return max(so_far, absolute) if np.isfinite(absolute) else so_far
