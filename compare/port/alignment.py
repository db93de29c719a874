"""Which values of two traces are the same, told by their fingerprints, and what is lost between them.

Two values are the same if their fingerprints differ by no more than rounding: how much that is for a value is
measured by recording its side in a lower precision too, as the judge does (docs/judging.md).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from compare.judge.precision import unit_roundoff
from compare.judge.rounding import SAFETY
from scenarios.trace import Fingerprint, Trace

#: How many rows of a comparison of all with all are held at a time.
_ROWS = 256

_END = -1  # what every lost computation leads to


@dataclass(frozen=True, eq=False)
class Prints:
    """The fingerprints of a trace as arrays, with how far rounding may move each.

    Attributes:
        numbers: ``(values, 6)``.
        infinite: ``(values, 3)``.
        constant: ``(values,)``, whether a value is one number throughout, so that it is recognised by chance;
            not where it is a single one that depends on what was given, but where it is nothing but rounding.
        budget: ``(values,)``, by how much every number may be off.
    """

    numbers: np.ndarray
    infinite: np.ndarray
    constant: np.ndarray
    budget: np.ndarray

    def same(self, told: Fingerprint, budget: float) -> np.ndarray:
        """``(values,)``, which of them have this fingerprint, up to their own budget or the one given."""
        budgets = np.maximum(self.budget, budget)
        # The first number alone rules out nearly all of them.
        rows = np.flatnonzero((np.abs(self.numbers[:, 0] - told.numbers[0]) <= budgets) & ~self.constant)
        apart = np.abs(self.numbers[rows] - told.numbers).max(axis=1, initial=0)
        alike = (self.infinite[rows] == np.array(told.infinite)).all(axis=1)
        same = np.zeros(len(self.numbers), bool)
        same[rows[alike & (apart <= budgets[rows])]] = True
        return same


def prints(trace: Trace, lower: Trace | None, entries: int) -> Prints:
    """The fingerprints of a trace in float64.

    Args:
        trace: in float64.
        lower: the same in float32, or rounded to it step by step; without it, or if it took another way,
            half of the digits must agree.
        entries: how many floating-point numbers went in.
    """
    told = [value.print for value in trace.values]
    numbers = np.array([p.numbers for p in told]).reshape(len(told), -1)
    scale = np.array([p.scale for p in told])
    unit = unit_roundoff("float64")
    budget = np.sqrt(unit) * scale
    if lower is not None and _same_way(trace, lower):
        coarse = np.array([v.print.numbers for v in lower.values]).reshape(numbers.shape)
        with np.errstate(invalid="ignore"):
            error = np.nan_to_num(np.abs(numbers - coarse).max(axis=1))
        ratio = unit / unit_roundoff("float32")
        budget = SAFETY * np.maximum(ratio * error, np.sqrt(max(entries, 1)) * unit * scale)
    exact = np.array([p.exact for p in told], bool)
    infinite = np.array([p.infinite for p in told]).reshape(len(told), -1)
    noise = ~exact & (budget >= scale) & ~infinite.any(axis=1)  # a mask is 0 and -inf
    return Prints(
        numbers,
        infinite,
        (np.array([p.constant for p in told], bool) & ~_telling(trace)) | noise,
        np.where(exact, 0.0, budget),
    )


def _telling(trace: Trace) -> np.ndarray:
    """``(values,)``, which are single numbers that were computed of what was given."""
    depends: list[bool] = []
    for index, value in enumerate(trace.values):
        depends.append(bool(value.name) or any(depends[i] for i in trace.inputs(index)))
    single = [value.print.size == 1 and not any(value.print.infinite) for value in trace.values]
    return np.asarray(np.array(depends, bool) & np.array(single, bool))


def _same_way(trace: Trace, lower: Trace) -> bool:
    """Whether two recordings of one side ran the same operations."""
    return len(trace.values) == len(lower.values) and all(
        a.name == b.name and a.outputs == b.outputs
        for a, b in zip(trace.operations, lower.operations, strict=False)
    )


def partners(left: Prints, right: Prints) -> list[np.ndarray]:
    """By value of the left side, the values of the right one that are the same; none for constants."""
    found: list[np.ndarray] = []
    for start in range(0, len(left.numbers), _ROWS):
        rows = slice(start, start + _ROWS)
        budget = np.maximum(left.budget[rows, None], right.budget[None])
        same = ~left.constant[rows, None] & ~right.constant[None]
        for k in range(left.numbers.shape[1]):
            same &= np.abs(left.numbers[rows, None, k] - right.numbers[None, :, k]) <= budget
        for k in range(left.infinite.shape[1]):
            same &= left.infinite[rows, None, k] == right.infinite[None, :, k]
        found += [np.flatnonzero(row) for row in same]
    return found


def mirrored(found: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """The same, seen from the right side, which has ``count`` values."""
    back: list[list[int]] = [[] for _ in range(count)]
    for left, rights in enumerate(found):
        for right in rights:
            back[right].append(left)
    return [np.array(lefts, int) for lefts in back]


@dataclass(frozen=True, eq=False)
class Lost:
    """What has no partner and leads to an output that differs, by way of nothing that has one.

    Attributes:
        values: such values.
        roots: those of them that are computed of what has partners alone, in the order of the data.
        after: the graph of these values and of what they lead to.
    """

    trace: Trace
    values: frozenset[int]
    roots: tuple[int, ...]
    after: nx.DiGraph

    @cached_property
    def _dominators(self) -> dict[int, int | None]:
        found: dict[int, int | None] = nx.immediate_dominators(self.after.reverse(copy=False), _END)
        return found

    @property
    def boundary(self) -> tuple[int, ...]:
        """The values that the roots were computed of."""
        return tuple(dict.fromkeys(b for root in self.roots for b in self.trace.inputs(root)))

    def chain(self, root: int) -> Iterator[int]:
        """A value, and those that everything lost must pass on its way from it to the outputs."""
        here: int | None = root
        while here is not None and here != _END:
            yield here
            here = self._dominators[here]

    def below(self, value: int) -> set[int]:
        """What is computed of a value."""
        if value not in self._below:
            self._below[value] = self._computed(value)
        return self._below[value]

    @cached_property
    def _below(self) -> dict[int, set[int]]:
        return {}

    def _computed(self, value: int) -> set[int]:
        start = [value] if value in self.after else [v for v in self.values if value in self.trace.inputs(v)]
        reached = set(start) - {value}
        for each in start:
            reached |= nx.descendants(self.after, each)
        return reached - {_END}


def lost(
    trace: Trace,
    partnered: Iterable[bool],
    constant: np.ndarray,
    outputs: Iterable[int],
    proven: Collection[int] = (),
) -> Lost:
    """What is lost on the way to ``outputs``, which differ.

    Args:
        trace: of one side.
        partnered: by value, whether the other side has it.
        constant: by value, whether it is one number throughout: such values are never lost.
        outputs: values that differ, whether or not they have partners.
        proven: values that are right, since what they lead to is.
    """
    known = np.array(list(partnered), bool) | constant
    ends = list(dict.fromkeys(outputs))
    after = nx.DiGraph()
    after.add_node(_END)
    waiting, found = list(ends), set(ends)
    after.add_edges_from((end, _END) for end in ends)
    while waiting:
        value = waiting.pop()
        for taken in trace.inputs(value):
            if known[taken] or trace.values[taken].operation is None or taken in proven:
                continue
            after.add_edge(taken, value)
            if taken not in found:
                found.add(taken)
                waiting.append(taken)
    roots = sorted(v for v in found if not any(i in found for i in trace.inputs(v)))
    return Lost(trace, frozenset(found), tuple(roots), after)
