"""How far two sides agree where some values of the one stand in the places of the other's."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush

import numpy as np

from compare.port.alignment import Lost, lost, mirrored, partners, prints
from compare.port.layout import apart, nearest, turns
from compare.port.locate.fault import Phase
from compare.port.locate.sides import AT_HAND, Puts, Sides, in_bytes, room
from compare.port.mapping import Side
from scenarios.trace import Fingerprint, Trace, fingerprint

#: No more operations than these after a root, or before a value, are tried on either side.
REACH = 24

#: Layouts of a value that are tried, and where it is known which values belong together.
_LAYOUTS, _MORE_LAYOUTS = 2, 6

#: So many operations after a value are carried out to see whether it mends them,
_AHEAD = 48

#: and so many values that agree then prove it.
CONVINCED = 2

#: So many operations are carried out to look for a pair upstream.
REPLAYED = 20_000

#: Axes of a value that may be turned from case to case.
_MATRIX = 2

#: So many values tell how either side orders its axes.
_SAMPLE = 16


@dataclass(frozen=True, eq=False)
class Place:
    """A value of one side, at which the sides may part.

    Attributes:
        side: that computes it.
        trace: of the side.
        lost: what has no partner there.
        found: by value, the partners on the other side.
        constant: by value, whether it is one number throughout.
        value: by index.
    """

    side: Side
    trace: Trace
    lost: Lost
    found: Sequence[np.ndarray]
    constant: np.ndarray
    value: int

    @property
    def is_lost(self) -> bool:
        """Whether the value has no partner, and leads to what differs."""
        return self.value in self.lost.values

    @cached_property
    def region(self) -> list[int]:
        """What is lost of the value and of what leads to it, in order."""
        return sorted(self.trace.above([self.value]) & self.lost.values)

    def forward(self, value: int) -> list[int]:
        """What is computed at the line that a value is differentiated at, as far as the other side has it."""
        made = self.trace.made_by(value)
        if made is None or not made.source.file:
            return []
        here = (o for o in self.trace.operations if o.source == made.source and o.group == made.group)
        return [v for o in here for v in o.outputs if len(self.found[v]) and v in self.trace.forward]


class State:
    """The functional side with some values put in place, against the imperative one."""

    def __init__(self, sides: Sides, puts: Puts) -> None:
        self.sides, self.puts, self.left, self.told = sides, puts, sides.left, sides.told
        self.right, self.outputs, self._theirs = sides.heard(puts)
        wrong = [name for name in sides.differing(sides.outputs, self.outputs) if name not in sides.mended]
        forward = [name for name in wrong if of_phase(name, "forward")]
        self.phase: Phase = "forward" if forward else "backward"
        self.wrong = forward or wrong
        self.heard = prints(self.right, sides.lower, sides.entries)
        #: Whether something that is computed of what was put last has no counterpart.
        self.odd = False
        self.forth = partners(self.told, self.heard)
        self.back = mirrored(self.forth, len(self.right.values))
        self.lefts, self.rights = self._lost()

    def _lost(self) -> tuple[Lost, Lost]:
        ends = [self.left.outputs[name] for name in self.wrong]
        others = [self.right.outputs[n] for name in self.wrong for n in self.sides.counterparts[name]]
        # In a backward whatever led to the outputs of the forward is right, by other steps or not.
        ours, theirs = (
            trace.forward if self.phase == "backward" else frozenset[int]()
            for trace in (self.left, self.right)
        )
        return (
            lost(self.left, [bool(len(p)) for p in self.forth], self.told.constant, ends, ours),
            lost(self.right, [bool(len(p)) for p in self.back], self.heard.constant, others, theirs),
        )

    def at(self, side: Side, value: int) -> Place:
        """A value, with what is known of its side."""
        if side == "imperative":
            return Place(side, self.left, self.lefts, self.forth, self.told.constant, value)
        return Place(side, self.right, self.rights, self.back, self.heard.constant, value)

    def both(self, t: int, j: int) -> tuple[Place, Place]:
        """A value of the imperative side, and one of the functional side."""
        return self.at("imperative", t), self.at("functional", j)

    def tried(
        self, pairs: Iterable[tuple[int, int]], last: int | None = None
    ) -> Iterator[tuple[int, int, np.ndarray, tuple[int, int]]]:
        """Pairs of values of one size, in every layout, and how much agrees if one is put for the other."""
        comparable = (pair for pair in pairs if self.comparable(*pair))
        for t, j in self.ready(comparable, lambda j: self.next(j, last)[1]):
            for laid in self.laid(t, j):
                yield t, j, laid, self.agreeing(t, j, laid, last)

    def ready(
        self, pairs: Iterable[tuple[int, int]], more: Callable[[int], Collection[int]] = lambda _: ()
    ) -> Iterator[tuple[int, int]]:
        """Pairs one after the other, their values at hand: recorded for as many at once as there is room for.

        Args:
            pairs: of values, of the imperative side and of the functional one.
            more: what is needed of the functional side besides, given the value.
        """
        together: list[tuple[int, int]] = []
        ours, theirs = set[int](), set[int]()
        for t, j in pairs:
            left, right = ours | {t}, theirs.union([j], more(j))
            fits = self._fits("imperative", left) and self._fits("functional", right)
            if together and not fits:
                yield from self._ready(together, ours, theirs)
                together, left, right = [], {t}, {j, *more(j)}
            together.append((t, j))
            ours, theirs = left, right
        yield from self._ready(together, ours, theirs)

    def _ready(
        self, pairs: Sequence[tuple[int, int]], ours: Collection[int], theirs: Collection[int]
    ) -> Sequence[tuple[int, int]]:
        self.expect("imperative", ours)
        self.expect("functional", theirs)
        return pairs

    def reproduces(self, puts: Puts, j: int, laid: np.ndarray) -> bool:
        """Whether the functional side computes this value at ``j`` if those are put in their places."""
        if j in puts:
            return False
        steps, needed = self.between(puts, j)
        if not steps:
            return False
        given = {**self.have("functional", needed), **puts}
        made = dict(self.sides.replay(self.right, steps, given))
        return self.close(made[j], laid, j)

    def between(self, starts: Iterable[int], j: int) -> tuple[list[int], set[int]]:
        """The operations that lead from functional values to another one, and what they take besides."""
        key = frozenset(starts), j
        if key not in self._ways:
            above, reached, steps = self.right.above([j]), set(key[0]), list[int]()
            for index, operation in enumerate(self.right.operations):
                made = set(operation.outputs)
                if reached.intersection(operation.inputs) and made & above and not made & key[0]:
                    reached |= made
                    steps.append(index)
            needed = {v for index in steps for v in self.right.operations[index].inputs} - reached
            self._ways[key] = (steps, needed) if j in reached else ([], set())
        return self._ways[key]

    @cached_property
    def _ways(self) -> dict[tuple[frozenset[int], int], tuple[list[int], set[int]]]:
        return {}

    def comparable(self, t: int, j: int) -> bool:
        """Whether one value can stand in the place of the other."""
        one, other = self.left.values[t], self.right.values[j]
        alike = one.print.exact == other.print.exact or "bool" in {one.dtype, other.dtype}
        return one.print.size == other.print.size and alike

    def have(self, side: str, wanted: Collection[int]) -> dict[int, np.ndarray]:
        """Values of a side by index, computed anew where they are not at hand, and kept if there is room."""
        cache = self._cache[side]
        if missing := set(wanted) - cache.keys():
            trace = self.left if side == "imperative" else self.right
            missing |= set(room(trace)) - cache.keys()  # and none is recorded for again
            # The oldest go first, and before others come: there would not be room for both.
            more = in_bytes(trace.values[v] for v in missing)
            held = sum(array.nbytes for array in cache.values())
            for v in [v for v in cache if v not in wanted] if more <= AT_HAND else ():
                if held + more <= AT_HAND:
                    break
                held -= cache.pop(v).nbytes
            made = self.sides.values(side, missing, self.puts)
            if held + more > AT_HAND:
                return {v: made[v] if v in made else cache[v] for v in wanted}
            cache.update(made)
        return {v: cache[v] for v in wanted}

    def expect(self, side: Side, wanted: Collection[int]) -> None:
        """Have values at hand that will be asked for, if there is room for all of them."""
        if self._fits(side, wanted):
            self.have(side, wanted)

    def _fits(self, side: Side, wanted: Iterable[int]) -> bool:
        trace = self.left if side == "imperative" else self.right
        return in_bytes(trace.values[v] for v in wanted) <= AT_HAND

    def value(self, side: str, value: int) -> np.ndarray:
        """One value as numbers."""
        return number(self.have(side, [value])[value])

    @cached_property
    def _cache(self) -> dict[str, dict[int, np.ndarray]]:
        return {"imperative": self.sides.at_hand, "functional": self._theirs}

    def laid(self, t: int, j: int, *, turned: bool = False, again: bool = False) -> Iterator[np.ndarray]:
        """The value of ``t`` in layouts that fit ``j``, other than what is there.

        Args:
            t: on the imperative side.
            j: on the functional side.
            turned: whether its reciprocal, or what is true where it is not, is tried too.
            again: whether others are tried where one of them is what is there.
        """
        value, there = self.value("imperative", t), self.value("functional", j)
        budget = max(self.told.budget[t], self.heard.budget[j])
        usual = [self._usual[value.ndim]] if value.ndim == there.ndim and value.ndim in self._usual else []
        near: list[np.ndarray] = nearest(value, there, _MORE_LAYOUTS if turned or again else _LAYOUTS, usual)
        other = [laid for laid in near if apart(laid, there) > budget]
        if other if again else len(other) == len(near):
            near = other
            kind = self.have("functional", [j])[j].dtype
            if turned:
                near += [laid for laid in self._turned(t, there) if apart(laid, there) > budget]
            yield from (
                put for laid in near if np.array_equal(put := laid.astype(kind), laid, equal_nan=True)
            )

    def _turned(self, t: int, there: np.ndarray) -> list[np.ndarray]:
        """What the functional side may have for a value: a factor for a divisor, what is kept for a mask."""
        value = self.value("imperative", t)
        if self.left.values[t].dtype == "bool":
            return nearest(1 - value, there, 1)
        return nearest(1 / value, there, 1) if value.dtype.kind == "f" and np.all(value) else []

    @cached_property
    def _usual(self) -> Mapping[int, tuple[int, ...]]:
        """By number of axes, the order in which the functional side has those of the imperative one.

        It is that of the values which have one partner, and one order in which they are equal.
        """
        pairs: dict[int, list[tuple[int, int]]] = {}
        for t, alone in enumerate(self.forth):
            if len(alone) != 1 or len(self.back[alone[0]]) != 1:
                continue
            axes = len(self.left.values[t].shape)
            if axes > _MATRIX and len(self.right.values[alone[0]].shape) == axes:
                pairs.setdefault(axes, []).append((t, int(alone[0])))
        known = self.sides.usual
        chosen = {axes: some[:_SAMPLE] for axes, some in pairs.items() if axes not in known}
        for axes, some in chosen.items():
            turns = [self.turns(t, j) for t, j in self.ready(some)]
            votes = Counter(found[0] for found in turns if len(found) == 1)
            if votes:
                known[axes] = votes.most_common(1)[0][0]
        return known

    def moved(self, j: int) -> bool:
        """Whether a functional value has the entries of what it is made of."""
        return any(set(self.back[v]) & set(self.back[j]) for v in self.right.inputs(j))

    def turns(self, t: int, j: int) -> list[tuple[int, ...]]:
        """The orders of its axes in which one value is the other."""
        budget = float(max(self.told.budget[t], self.heard.budget[j]))
        return turns(self.value("imperative", t), self.value("functional", j), budget)

    def agreeing(self, t: int, j: int, laid: np.ndarray, last: int | None = None) -> tuple[int, int]:
        """How much of what the functional side computes of this is what the imperative side goes on with.

        An output that becomes right counts for ``CONVINCED`` of them. If a value becomes wrong it is −1.

        Args:
            t: on the imperative side.
            j: on the functional side, in the place of which it is put.
            laid: the value of ``t`` as it is put there.
            last: the last operation that is carried out; there are so many without it.

        Returns:
            So many; and as a negative number, how many are not.
        """
        below, after = self.lefts.below(t), self.rights.below(j)
        mark, budget = self.left.values[t].print, self.told.budget[t]
        # What is differentiated goes with what was there: the ties of a maximum are none of a mean.
        judged = self.right.forward if self.phase == "forward" else range(len(self.right.values))
        operations, needed = self.next(j, last)
        given, odd = self.have("functional", needed), 0
        good = CONVINCED * (j in self.ends and self.ended(fingerprint(laid), self.ends[j]))
        for index, array in self.sides.replay(self.right, operations, {**given, j: laid}):
            told = fingerprint(array)
            if index in self.ends and self.ended(told, self.ends[index]):
                good += CONVINCED
            if index in self.rest and not self.ended(told, self.rest[index]):
                return -1, 0
            if told.constant and (told.size > 1 or self.heard.constant[index]):
                continue
            same = self.told.same(told, self.heard.budget[index])
            if index not in after:
                if index in judged and len(self.back[index]) and not same.any():
                    return -1, 0
            elif not alike(told, mark, budget):
                found = any(p in below for p in np.flatnonzero(same))
                good, odd = good + found, odd + (not found)
        return good, -odd

    @cached_property
    def ends(self) -> dict[int, tuple[Fingerprint, float]]:
        """What functional outputs that differ should be, and how far rounding may move them."""
        return self._marks(self.wrong)

    @cached_property
    def rest(self) -> dict[int, tuple[Fingerprint, float]]:
        """The same for those that do not."""
        return self._marks(
            [
                name
                for name in self.sides.counterparts
                if of_phase(name, self.phase) and name not in self.wrong
            ]
        )

    def _marks(self, names: Collection[str]) -> dict[int, tuple[Fingerprint, float]]:
        return {
            self.right.outputs[name]: (
                self.sides.expected[name],
                max(
                    float(self.told.budget[self.left.outputs[wrong]]),
                    float(self.heard.budget[self.right.outputs[name]]),
                ),
            )
            for wrong in names
            for name in self.sides.counterparts[wrong]
            if name in self.sides.expected
        }

    @staticmethod
    def ended(told: Fingerprint, end: tuple[Fingerprint, float]) -> bool:
        """Whether an output is what it should be."""
        mark, budget = end
        placed = abs(told.order - mark.order) <= budget
        return alike(told, mark, budget) and placed and (mark.size == 1 or not mark.constant)

    def next(self, j: int, last: int | None = None) -> tuple[list[int], set[int]]:
        """The operations after a value by which it is proved, and what they take besides; told once."""
        if (j, last) not in self._nexts:
            self._nexts[j, last] = self.ahead(j, _AHEAD if last is None else REPLAYED, last)
        return self._nexts[j, last]

    @cached_property
    def _nexts(self) -> dict[tuple[int, int | None], tuple[list[int], set[int]]]:
        return {}

    def ahead(self, j: int, most: int, last: int | None = None) -> tuple[list[int], set[int]]:
        """The next operations that depend on a value, up to the last one, and what they take besides."""
        reached, needed = {j}, set[int]()
        steps: list[int] = []
        waiting = list(self.right.consumers[j])
        heapify(waiting)
        seen = set(waiting)
        while waiting and len(steps) < most:
            index = heappop(waiting)
            if last is not None and index > last:
                break
            operation = self.right.operations[index]
            steps.append(index)
            needed |= set(operation.inputs) - reached
            reached |= set(operation.outputs)
            for value in operation.outputs:
                for later in self.right.consumers[value]:
                    if later not in seen:
                        seen.add(later)
                        heappush(waiting, later)
        return steps, needed - reached

    def close(self, made: np.ndarray, laid: np.ndarray, j: int) -> bool:
        """Whether what is made at ``j`` is another value, up to rounding."""
        return apart(number(made), number(laid)) <= float(self.heard.budget[j])

    def elsewhere(self, t: int, j: int, among: Collection[int] | None = None) -> Puts:
        """What to put in the other places that the same two lines have run, if they correspond.

        Args:
            t: where they have run first, on the imperative side,
            j: and on the functional side.
            among: the functional values that are asked for; all of them without it.
        """
        ours, theirs = self.left.alike(t), self.right.alike(j)
        if len(ours) < 2 or len(theirs) % len(ours) or (t in self.left.forward) != (j in self.right.forward):  # noqa: PLR2004  # it ran once
            return {}
        step = len(theirs) // len(ours)
        first = ours.index(t)
        places = [theirs.index(j) + step * (k - first) for k in range(len(ours))]
        if places[0] < 0 or places[-1] >= len(theirs):
            return {}
        others = {theirs[place]: ours[k] for k, place in enumerate(places) if ours[k] > t}
        others = {right: left for right, left in others.items() if among is None or right in among}
        lefts, rights = self.have("imperative", others.values()), self.have("functional", others)
        made = {}
        for right, left in others.items():
            laid = nearest(number(lefts[left]), number(rights[right]), 1)
            if laid:
                made[right] = laid[0].astype(rights[right].dtype)
        return made


def of_phase(name: str, phase: Phase) -> bool:
    """Whether an output is one of this phase."""
    return name.startswith("gradients.") == (phase == "backward")


def number(array: np.ndarray) -> np.ndarray:
    """What is true or false is 1 or 0, as whoever multiplies by it has it."""
    return array.astype(np.float64) if array.dtype.kind == "b" else array


def alike(told: Fingerprint, mark: Fingerprint, budget: float) -> bool:
    """Whether two fingerprints are the same, up to rounding."""
    return told.infinite == mark.infinite and bool(np.abs(told.numbers - mark.numbers).max() <= budget)
