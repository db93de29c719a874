"""Both sides of a pair, recorded as far as they are needed."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Protocol

import numpy as np

from compare.port.alignment import prints
from compare.port.mapping import SIDES, Side
from scenarios.trace import Source, Trace, Value, fingerprint

#: Bytes of values that are kept at hand; what else is needed is computed anew.
AT_HAND = 2**29

Puts = dict[int, np.ndarray]


class Recorded(Protocol):
    """One side, to be recorded."""

    def __call__(
        self,
        dtype: str,
        *,
        want: Collection[int | str] = (),
        **options: Any,  # noqa: ANN401  # those that the side has
    ) -> tuple[Trace, dict[int, np.ndarray]]:
        """As the side's own ``Port.record``, with the parameters and the arguments in place."""


class Replayed(Protocol):
    """Carries operations of a functional trace out again, from values by index."""

    def __call__(
        self,
        trace: Trace,
        operations: Sequence[int],
        values: Mapping[int, np.ndarray],
        options: Mapping[int, Mapping[str, object]] = ...,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As ``Port.replay``, with the precision and the device in place."""


class Sides:
    """Two recorded sides, and how far they have been made to agree."""

    def __init__(
        self,
        imperative: Recorded,
        functional: Recorded,
        replay: Replayed,
        counterparts: Mapping[str, Sequence[str]],
        differing: Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], Sequence[str]],
        expected: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
        stops: Mapping[str, Mapping[Source, str]],
        entries: int,
    ) -> None:
        """Record both sides in two precisions.

        Args:
            imperative: one side.
            functional: the other.
            replay: carries operations of the other out again.
            counterparts: by the name of an output of the imperative trace, those of the functional one.
            differing: of the outputs of both traces, the names of those (of the imperative side) that differ.
            expected: what the functional outputs should be, given the imperative ones.
            stops: by side, the lines at which it stops gradients, and by what, as far as it has run.
            entries: how many floating-point numbers go in.
        """
        self._sides: dict[str, Recorded] = {"imperative": imperative, "functional": functional}
        self.replay, self.entries = replay, entries
        self.counterparts, self.differing, self._expected = counterparts, differing, expected
        self.stops = stops
        self.opened: frozenset[str] = frozenset()
        #: By side, the lines at which gradients that it stops are let through.
        self.through: dict[str, frozenset[Source]] = {side: frozenset() for side in SIDES}
        self.mended: set[str] = set()
        #: By number of axes, the order in which the functional side has those of the imperative one.
        self.usual: dict[int, tuple[int, ...]] = {}
        for side in SIDES[::-1]:
            self.begin(side)

    def let_through(self, side: Side, lines: Collection[Source]) -> "Sides":
        """The same sides, one of them recorded anew with gradients let through at these lines too."""
        other = copy(self)
        other.through = {**self.through, side: self.through[side].union(lines)}
        other.begin(side)
        return other

    def open(self, operations: Collection[str]) -> bool:
        """Note the steps of some operations from now on; False if they have none."""
        opened, count = self.opened.union(operations), len(self.left.operations)
        if opened == self.opened:
            return False
        self.opened = opened
        self._record()
        return len(self.left.operations) > count

    def begin(self, side: Side) -> None:
        """Record one side anew."""
        if side == "imperative":
            self._record()
        else:
            self._listen()

    def _listen(self) -> None:
        """Record the functional side as coarsely as its budgets ask for; the rest when it is asked for."""
        self._heard: tuple[frozenset[int], Trace, dict[str, np.ndarray], dict[int, np.ndarray]] | None = None
        # In float32 itself every operation would be compiled again, which takes longer than all of them.
        self.lower = self.recorded("functional", "float64", coarse=True)[0]
        #: Values of the functional side where nothing was put yet, if there is room for them.
        self.original: dict[int, np.ndarray] = {}

    def _record(self) -> None:
        """Record the imperative side, with the steps of what was opened."""
        below, _ = self.recorded("imperative", "float32")
        want = [*self.counterparts, *room(below)]
        self.left, kept = self.recorded("imperative", "float64", want=want)
        self.told = prints(self.left, below, self.entries)
        self.outputs = {name: kept[self.left.outputs[name]] for name in self.counterparts}
        #: Values of the imperative side, by index.
        self.at_hand = kept
        self.expected = {name: fingerprint(array) for name, array in self._expected(self.outputs).items()}

    def recorded(
        self,
        side: str,
        dtype: str,
        *,
        want: Collection[int | str] = (),
        **options: Any,  # noqa: ANN401  # those that the side has
    ) -> tuple[Trace, dict[int, np.ndarray]]:
        """Record one side, with the steps of what was opened, and gradients let through at some lines."""
        if side == "imperative":
            options["opened"] = self.opened
        return self._sides[side](dtype, want=want, through=self.through[side], **options)

    def heard(self, puts: Puts) -> tuple[Trace, dict[str, np.ndarray], dict[int, np.ndarray]]:
        """The functional side with some values put in place, its outputs, and values that are at hand.

        It is recorded once for one state.
        """
        if self._heard is None or self._heard[0] != puts.keys():
            names = [name for names in self.counterparts.values() for name in names]
            trace, kept = self.recorded("functional", "float64", want=[*names, *room(self.lower)], put=puts)
            self._heard = frozenset(puts), trace, {name: kept[trace.outputs[name]] for name in names}, kept
            self.original = self.original if puts else kept
        return self._heard[1:]

    def values(self, side: str, want: Collection[int], put: Puts | None = None) -> dict[int, np.ndarray]:
        """Values by their indices; of the functional side with some of them put in place."""
        options = {} if side == "imperative" else {"put": put or {}}
        return self.recorded(side, "float64", want=want, told=False, **options)[1]


def in_bytes(values: Iterable[Value]) -> int:
    """That values take in float64, at most."""
    return sum(8 * value.print.size for value in values)


def room(trace: Trace) -> range:
    """The indices of all values, if there is room for them to be kept at hand."""
    return range(len(trace.values) if in_bytes(trace.values) <= AT_HAND else 0)
