"""Finds the operations at which two ports part: where what goes in agrees, and what comes out does not.

Both sides are recorded, and their values told by fingerprints. Of what leads to an output that differs, only
what has no partner is lost; an operation of which the inputs have partners and the output has none may be
the culprit, or a step that the other side takes otherwise. The proof decides: the imperative side's value is
put in the place of the functional side's, and what follows must then agree. If it does, the value stays
there, and the search goes on with what differs still: one run finds faults that have nothing to do with each
other.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from heapq import heapify, heappop, heappush
from itertools import islice, product
from typing import Any, Literal, Protocol

import numpy as np

from compare.judge.trees import gap
from compare.port.alignment import Lost, lost, mirrored, partners, prints
from compare.port.causes import Convolution, Local, cause
from compare.port.layout import apart, nearest, turns
from compare.port.mapping import SIDES, Side
from scenarios.port import of_float
from scenarios.trace import Fingerprint, Operation, Source, Trace, Value, fingerprint

#: No more faults than these are looked for in one pair.
MOST_FAULTS = 32

#: So many in a row that follow from others end the search of the backward.
_FOLLOWING = 3

#: No more operations than these after a root are tried on either side.
_REACH = 24

#: So often a value is put in the place of another one at most, and where it is differentiated after a fault
#: of the forward, from which nearly all of that follows.
_TRIES, _TRIES_AFTER = 6_000, 1_000

#: Layouts of a value that are tried, and where it is known which values belong together.
_LAYOUTS, _MORE_LAYOUTS = 2, 6

#: So many operations after a value are carried out to see whether it mends them,
_AHEAD = 48

#: and so many values that agree then prove it.
_CONVINCED = 2

#: So many operations are carried out to look for a pair upstream.
_REPLAYED = 20_000

#: Axes of a value that may be turned from case to case.
_MATRIX = 2

#: So many values tell how either side orders its axes.
_SAMPLE = 16

#: The operations that hold gradients back.
_STOPPING = frozenset({"detach", "stop_gradient"})

#: Operations that leave a value as it is, unless they make it one of another dtype.
_COPIES = frozenset(
    {"to", "_to_copy", "convert_element_type", "clone", "copy", "prims.clone", "alias", *_STOPPING}
)

#: So many gradients are named.
_SHOWN = 3

#: What cotangents are added up by.
_SUMS = frozenset({"add", "add_", "add_any", "prims.add"})

#: Bytes of values that are kept at hand; what else is needed is computed anew.
_AT_HAND = 2**30

Phase = Literal["forward", "backward"]
Kind = Literal["another value", "missing", "extra", "another order", "stopped"]
Puts = dict[int, np.ndarray]

#: The cause of a gradient that one side holds back.
STOPPED = "gradient stopped"


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


@dataclass(frozen=True)
class Site:
    """One operation of a side.

    Attributes:
        operation: in the framework's own word; empty for a value that was given.
        value: what the user calls the value, if it was given.
        source: the user's line.
        group: modules that it is a part of.
        shape: of the value that it computes.
        dtype: of it.
    """

    operation: str
    value: str
    source: Source
    group: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        what = self.operation or self.value or "a constant"
        within = f" in {'.'.join(self.group)}" if self.group else ""
        line = f" at {self.source}" if self.source.file else ""
        return f"{what}{within}{line}"


@dataclass(frozen=True, eq=False)
class Fault:
    """A place where the two sides part.

    Attributes:
        kind: ``another value`` (both compute something there, and it differs), ``missing`` (the functional
            side goes on with what the imperative one changes first), ``extra`` (the other way round),
            ``another order`` (the same entries at other places), ``stopped`` (one side holds a gradient back
            there; ``left`` is the gradient by which that shows most, and ``right`` what it is without that).
        phase: of the computation.
        imperative: the operation on that side.
        functional: on the other.
        goes_on: by side, the operation that takes the value where nothing is done to it, as for ``missing``
            on the functional side.
        region: by side, the operations between what agrees and what does not, in order.
        ancestors: the nearest values that agree, as they are called on either side.
        local: largest absolute difference when both are given the same.
        accumulated: and when each is given what it had computed.
        scale: largest magnitude of the imperative side's value.
        places: how often the same lines ran.
        left: the imperative side's value.
        right: what the functional side makes of the same inputs.
        steps: by side, what was carried out in the region, to be carried out again.
        given: by side and index, the values that it was carried out on.
        ends: by side, the index of the value that differs.
        takers: by side, the lines that take what goes into the region.
        cause: what makes the difference vanish when it is changed; empty if nothing that was tried does.
        evidence: what was found of it.
    """

    kind: Kind
    phase: Phase
    imperative: Site
    functional: Site
    goes_on: Mapping[str, Site]
    region: Mapping[str, tuple[Site, ...]]
    ancestors: tuple[tuple[Site, Site], ...]
    local: float
    accumulated: float
    scale: float
    places: int
    left: np.ndarray
    right: np.ndarray
    steps: Mapping[str, tuple[Operation, ...]]
    given: Mapping[str, Mapping[int, np.ndarray]]
    ends: Mapping[str, int]
    takers: Mapping[str, frozenset[Source]]
    cause: str = ""
    evidence: str = ""


class Locator:
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
        for side in SIDES[::-1]:
            self.begin(side)

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
        want = [*self.counterparts, *_room(below)]
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
            trace, kept = self.recorded("functional", "float64", want=[*names, *_room(self.lower)], put=puts)
            self._heard = frozenset(puts), trace, {name: kept[trace.outputs[name]] for name in names}, kept
            self.original = self.original if puts else kept
        return self._heard[1:]

    def values(self, side: str, want: Collection[int], put: Puts | None = None) -> dict[int, np.ndarray]:
        """Values by their indices; of the functional side with some of them put in place."""
        options = {} if side == "imperative" else {"put": put or {}}
        return self.recorded(side, "float64", want=want, told=False, **options)[1]

    @staticmethod
    def _better(finer: Fault, fault: Fault, right: Trace) -> bool:
        """Whether a fault lies upstream of another one, and does not leave its cause unsaid."""
        upstream = finer.ends["functional"] in right.above([fault.ends["functional"]])
        return upstream and bool(finer.cause or not fault.cause)

    def open(self, state: "_State", fault: Fault) -> bool:
        """Note the steps of what a fault lies in from now on; False if there are none."""
        opened, count = self.opened.union(state.fused(fault)), len(self.left.operations)
        if opened == self.opened:
            return False
        self.opened = opened
        self._record()
        return len(self.left.operations) > count

    def faults(self) -> Iterator[Fault]:
        """All that can be told apart, in the order of the data, those of the forward first."""
        here, puts = self, Puts()
        told, following = _Told(), 0
        for _ in range(MOST_FAULTS):
            state = here.followed(puts, told)
            if (after := here._stopped(state, told)) is not None:
                yield from after.held(state)
                here, puts, following = after.whole, after.puts, 0
                continue
            found = state.search() if state.wrong else None
            if found is None:
                return
            puts = state.puts
            if here.open(state, found[0]):
                finer = _State(here, puts).search()
                if finer is not None and self._better(finer[0], found[0], state.right):
                    found = finer
            fault, more = found
            puts = {**puts, **more}
            if told.new(fault):
                yield fault
                following = 0
            elif fault.phase == "backward":
                following += 1
                if following == _FOLLOWING:
                    return

    def followed(self, puts: Puts, told: "_Told") -> "_State":
        """What is left where values are put, and where the lines that are wrong are differentiated."""
        state = _State(self, puts)
        for _ in range(MOST_FAULTS):
            more = state.following(told)
            if not more:
                break
            state = _State(self, {**state.puts, **more})
        return state

    def _stopped(self, state: "_State", told: "_Told") -> "_State | None":
        """What is left where gradients that one side holds back are let through, if that makes more right."""
        for side in SIDES if state.wrong else ():
            lines = sorted(self.stops[side].keys() - self.through[side], key=str)
            for line in lines:
                if (after := self._let_through(side, [line], state, told)) is not None:
                    return after
            # Where one hides the other neither of them alone makes anything right.
            together = self._let_through(side, lines, state, told) if lines[1:] else None
            if together is not None:
                return self._fewest(side, lines, state, told, together)
        return None

    def _fewest(
        self, side: Side, lines: Sequence[Source], state: "_State", told: "_Told", together: "_State"
    ) -> "_State":
        """The same with as few of these lines as make as much right."""
        chosen = list(lines)
        for line in lines:
            fewer = [other for other in chosen if other != line]
            same = self._let_through(side, fewer, state, told)
            if same is not None and same.wrong == together.wrong:
                together, chosen = same, fewer
        return together

    def _let_through(
        self, side: Side, lines: Collection[Source], state: "_State", told: "_Told"
    ) -> "_State | None":
        """What is left where gradients are let through at these lines; None unless that makes more right."""
        other = copy(self)
        other.through = {**self.through, side: self.through[side].union(lines)}
        try:
            other.begin(side)
        except Exception:  # noqa: BLE001  # the user's function may need what it holds back
            return None
        puts: Puts | None = state.puts
        if side == "functional" and puts:
            puts = _moved(puts, state.right, other.heard({})[0])
        if puts is None:
            return None
        after = other.followed(puts, told)
        # What is differentiated within the forward itself may be stopped too.
        mended = state.phase == "forward" and after.phase == "backward"
        return after if mended or set(after.wrong) < set(state.wrong) else None


class _Told:
    """Which faults are known."""

    def __init__(self) -> None:
        self.lines: set[tuple[Source, Source]] = set()
        self.wrong: dict[Side, set[Source]] = {side: set() for side in SIDES}
        #: Lines of either side that a fault of the forward lies at, or before; one of each.
        self.differentiated: dict[tuple[Source, Source], None] = {}
        self.shared: dict[Side, set[Source]] = {side: set() for side in SIDES}
        self.moved = self.single = False

    def new(self, fault: Fault) -> bool:
        """Whether this is a fault of its own, and neither the same lines again nor what follows from one."""
        lines = {"imperative": fault.imperative.source, "functional": fault.functional.source}
        pair = lines["imperative"], lines["functional"]
        new = pair not in self.lines and not self._derived(fault)
        self.lines.add(pair)
        self.moved = self.moved or fault.kind == "another order"
        self.single = self.single or (fault.phase == "forward" and fault.left.size == 1)
        if fault.phase == "forward":
            after = {side: site.source for side, site in fault.goes_on.items()}
            ours, theirs = ((lines[side], after.get(side, lines[side])) for side in SIDES)
            self.differentiated |= dict.fromkeys(product(ours, theirs))
            for side in SIDES:
                self.wrong[side].add(lines[side])
                self.shared[side] |= fault.takers[side]
        return new

    def _derived(self, fault: Fault) -> bool:
        """Whether it is what is differentiated wrongly because it is wrong."""
        if fault.phase == "forward":
            return False
        if self.single:  # such as a loss, by way of which everything is differentiated
            return True
        # What is taken by the wrong operation and by others has a sum of cotangents, which is wrong for that.
        more: dict[Kind, Side] = {"missing": "imperative", "extra": "functional"}
        if fault.kind in more:
            site = getattr(fault, more[fault.kind])
            if site.operation in _SUMS and site.source in self.shared[more[fault.kind]]:
                return True
        for place, side in enumerate(SIDES):
            sites = [*fault.region[side], getattr(fault, side)]
            if self.moved:  # what was at other places was differentiated there
                sites += [pair[place] for pair in fault.ancestors]
            if any(site.source.file and site.source in self.wrong[side] for site in sites):
                return True
        return False


class _State:
    """The functional side with some values put in place, against the imperative one."""

    def __init__(self, locator: Locator, puts: Puts) -> None:
        self.whole, self.puts, self.left, self.told = locator, puts, locator.left, locator.told
        self.right, self.outputs, self._theirs = locator.heard(puts)
        wrong = [
            name for name in locator.differing(locator.outputs, self.outputs) if name not in locator.mended
        ]
        forward = [name for name in wrong if _of(name, "forward")]
        self.phase: Phase = "forward" if forward else "backward"
        self.wrong = forward or wrong
        self.heard = prints(self.right, locator.lower, locator.entries)
        #: Whether something that is computed of what was put last has no counterpart.
        self.odd = False
        self.forth = partners(self.told, self.heard)
        self.back = mirrored(self.forth, len(self.right.values))
        self.lefts, self.rights = self._lost()

    def _lost(self) -> tuple[Lost, Lost]:
        ends = [self.left.outputs[name] for name in self.wrong]
        others = [self.right.outputs[n] for name in self.wrong for n in self.whole.counterparts[name]]
        # In a backward whatever led to the outputs of the forward is right, by other steps or not.
        ours, theirs = (
            trace.forward if self.phase == "backward" else frozenset[int]()
            for trace in (self.left, self.right)
        )
        return (
            lost(self.left, [bool(len(p)) for p in self.forth], self.told.constant, ends, ours),
            lost(self.right, [bool(len(p)) for p in self.back], self.heard.constant, others, theirs),
        )

    def held(self, before: "_State") -> Iterator[Fault]:
        """The gradients that are let through here, and were held back before."""
        mended = [name for name in before.wrong if name not in self.wrong]
        for side in SIDES:
            for line in sorted(self.whole.through[side] - before.whole.through[side], key=str):
                yield self._held(side, line, before, mended)

    def _held(self, side: Side, line: Source, before: "_State", mended: Sequence[str]) -> Fault:
        word, paths = (
            self.whole.stops[side][line],
            [n for name in mended for n in self.whole.counterparts[name]],
        )
        names, both = (
            (mended, (before.whole.outputs, self.whole.outputs))
            if side == "imperative"
            else (paths, (self.outputs, before.outputs))
        )
        most = max(names, key=lambda name: gap(*(arrays[name] for arrays in both)).absolute)
        left, right = (_number(arrays[most]) for arrays in both)
        difference = gap(left, right).absolute
        ends = {"imperative": before.left.outputs[mended[0]], "functional": before.right.outputs[paths[0]]}
        own, there = before.stopping(side, line, ends)
        sites = {
            side: Site(word, "", line, own.group, own.shape, own.dtype),
            SIDES[side == SIDES[0]]: there,
        }
        some = ", ".join(mended[:_SHOWN]) + (f" and {len(mended) - _SHOWN} more" if mended[_SHOWN:] else "")
        return Fault(
            kind="stopped",
            phase=before.phase,
            imperative=sites["imperative"],
            functional=sites["functional"],
            goes_on={},
            region={name: (site,) for name, site in sites.items()},
            ancestors=(),
            local=difference,
            accumulated=difference,
            scale=float(np.abs(left).max(initial=0.0, where=np.isfinite(left))),
            places=1,
            left=left,
            right=right,
            steps=dict.fromkeys(SIDES, ()),
            given={name: {} for name in SIDES},
            ends=ends,
            takers=dict.fromkeys(SIDES, frozenset()),
            cause=STOPPED,
            evidence=f"without {word} there, {some} agree{'s' * (len(mended) == 1)}",
        )

    def stopping(self, side: Side, line: Source, ends: Mapping[str, int]) -> tuple[Site, Site]:
        """What a line that stops a gradient computes, and the other side there; else one of these ends."""
        trace, found, other, end = (
            (self.left, self.forth, self.right, ends["functional"])
            if side == "imperative"
            else (self.right, self.back, self.left, ends["imperative"])
        )
        here = [
            o for o in trace.operations if o.source == line and o.outputs and o.outputs[0] in trace.forward
        ]
        here = [o for o in here if o.name in _STOPPING] or here
        beside = [int(found[o.outputs[0]][0]) for o in here if len(found[o.outputs[0]])]
        sites = [_site(other, v, other.made_by(v)) for v in (end, *beside)]
        there = next((site for site in reversed(sites) if site.source.file), sites[0])
        return _site(trace, here[0].outputs[0], here[0]) if here else there, there

    def fused(self, fault: Fault) -> set[str]:
        """The operations that may hide where a fault is: those in it, and those that take what it makes."""
        after = self.left.consumers[fault.ends["imperative"]] if self.odd else ()
        return {
            *(site.operation for site in fault.region["imperative"]),
            *(self.left.operations[index].name for index in after),
        }

    def following(self, told: _Told) -> Puts:
        """What to put where lines that are wrong in the forward are differentiated, if that mends it."""
        if self.phase == "forward":
            return {}
        pairs = [
            (t, j)
            for line, other in told.differentiated
            for t in sorted(v for v in self.lefts.values if _source(self.left, v) == line)
            for j in sorted(v for v in self.rights.values if _source(self.right, v) == other)
            if line.file and other.file and j not in self.puts
        ]
        # Where a line does much, what is wrong in it is searched for as elsewhere.
        for t, j, laid, (agreeing, _) in islice(self._tried(pairs), _REACH**2):
            if agreeing >= _CONVINCED:
                return {j: laid, **self._elsewhere(t, j)}
        return {}

    def search(self) -> tuple[Fault, Puts] | None:
        """The first place at which the other side's value mends what follows, and what to put there."""
        found = self._found()
        # What is differentiated wrongly for a fault of the forward has no share of its own.
        if found is None or self.phase == "forward" or not self.right.forward.isdisjoint(self.puts):
            return found
        if not _SUMS & {found[0].imperative.operation, found[0].functional.operation}:
            return found
        # Where shares are added up in another order, one that only one side has is in no sum of its own.
        return self._superfluous() or self._lacking() or found

    def _found(self) -> tuple[Fault, Puts] | None:
        second: tuple[int, int, np.ndarray] | None = None
        known = set(self._known)
        after = self.phase == "backward" and not self.right.forward.isdisjoint(self.puts)
        for t, j, laid, agreeing in islice(self._tried(self._candidates), _TRIES_AFTER if after else _TRIES):
            # What is done in another way may agree for a while without what is done first.
            if t in known and agreeing[0] <= -agreeing[1]:
                continue
            if agreeing >= (_CONVINCED,):
                return self._fault(*self._refined(*self._said_more(t, j, laid, agreeing)))
            if agreeing > (0, 0) and second is None:
                second = t, j, laid
        # One value that agrees is weak evidence, but there is no more where the next fault follows at once.
        return None if second is None else self._fault(*self._refined(*second))

    def _tried(
        self, pairs: Iterable[tuple[int, int]], last: int | None = None
    ) -> Iterator[tuple[int, int, np.ndarray, tuple[int, int]]]:
        """Pairs of values of one size, in every layout, and how much agrees if one is put for the other."""
        pairs = [pair for pair in pairs if self._comparable(*pair)]
        self._expect("imperative", {t for t, _ in pairs})
        self._expect("functional", {v for j in {j for _, j in pairs} for v in (j, *self._next(j, last)[1])})
        for t, j in pairs:
            for laid in self._laid(t, j):
                yield t, j, laid, self._agreeing(t, j, laid, last)

    def _superfluous(self) -> tuple[Fault, Puts] | None:
        """A share of gradients that only the functional side has: without it, what it leads to is right."""
        marks = {**self._rest, **self._ends}
        for j in [v for v in self.rights.roots if v not in self.puts][:_REACH]:
            beside = self._beside(self.right, j, self.back)
            operations, needed = self._ahead(j, _REPLAYED)
            if beside is None or len(operations) == _REPLAYED:
                continue
            there = self._have("functional", [j])[j]
            given = {**self._have("functional", needed), j: np.zeros_like(there)}
            right = {
                index: self._ended(fingerprint(array), marks[index])
                for index, array in self.whole.replay(self.right, operations, given)
                if index in marks
            }
            if all(right.values()) and right.keys() & self._ends.keys():
                return self._fault(beside, j, given[j])
        return None

    def _lacking(self) -> tuple[Fault, Puts] | None:
        """The other way round; nothing need be put anywhere, since all that it leads to is explained."""
        whole = self.whole
        ends = {name: whole.left.outputs[name] for name in whole.counterparts}
        for t in self.lefts.roots[:_REACH]:
            beside = self._beside(self.left, t, self.forth)
            below = {name for name in self.wrong if t in self.left.above([ends[name]])}
            if beside is None or not below:
                continue
            _, kept = whole.recorded("imperative", "float64", want=ends.values(), told=False, without=[t])
            wrong = set(whole.differing({name: kept[end] for name, end in ends.items()}, self.outputs))
            if not wrong & below and wrong <= {*self.wrong, *whole.mended}:
                whole.mended |= below
                left = self._values("imperative", t)
                return self._fault(t, beside, left, np.zeros_like(left))[0], {}
        return None

    def _beside(self, trace: Trace, value: int, found: Sequence[np.ndarray]) -> int | None:
        """What the other side has in the place of a share of gradients that it lacks, if anything."""
        near = (*self._forward(trace, value, found), *trace.inputs(value))
        return next((int(found[v][0]) for v in near if len(found[v])), None)

    @staticmethod
    def _forward(trace: Trace, value: int, found: Sequence[np.ndarray]) -> list[int]:
        """What is computed at the line that a value is differentiated at, as far as the other side has it."""
        made = trace.made_by(value)
        if made is None or not made.source.file:
            return []
        here = (o for o in trace.operations if o.source == made.source and o.group == made.group)
        return [v for o in here for v in o.outputs if len(found[v]) and v in trace.forward]

    def _said_more(
        self, t: int, j: int, laid: np.ndarray, agreeing: tuple[int, int]
    ) -> tuple[int, int, np.ndarray]:
        """The pair, or one with another value upstream on either side, if less is left that does not agree.

        After a softmax it cannot be seen where its largest score was taken away.
        """
        # What holds the same entries, such as the value before it was transposed, is no other one.
        ours, theirs = (
            [v for v in around if not constant[v] and v != value and not set(found[v]) & set(found[value])]
            for around, constant, value, found in (
                (_around(self.left, self.lefts, t), self.told.constant, t, self.forth),
                (_around(self.right, self.rights, j), self.heard.constant, j, self.back),
            )
        )
        pairs = [*((t, b) for b in theirs if b not in self.puts), *((a, j) for a in ours)]
        best, (after, _) = (t, j, laid), self._next(j)
        if not after:
            return best
        for a, b, put, more in self._tried(pairs, after[-1]):
            if more >= (_CONVINCED,) and more[::-1] > agreeing[::-1]:
                best, agreeing = (a, b, put), more
        self.odd = bool(agreeing[1])
        return best

    def _refined(self, t: int, j: int, laid: np.ndarray) -> tuple[int, int, np.ndarray]:
        """The first pair upstream that makes the pair agree in its turn."""
        while (upstream := self._upstream(t, j, laid)) is not None:
            t, j, laid = upstream
        return self._climbed(t, j, laid)

    def _upstream(self, t: int, j: int, laid: np.ndarray) -> tuple[int, int, np.ndarray] | None:
        """A pair upstream that makes the pair agree in its turn."""
        pairs = self._pairs_above(t, j)
        theirs = {b for _, b in pairs}
        self._expect("imperative", {a for a, _ in pairs})
        self._expect("functional", {v for b in theirs for v in self._between([b], j)[1]}.union(theirs))
        left = _REPLAYED
        for a, b in pairs:
            for put in self._laid(a, b, turned=True):
                for puts in self._together(a, b, put, theirs):
                    if self._reproduces(puts, j, laid) and self._agreeing(a, b, put) >= (0,):
                        return a, b, put
                    left -= len(self._between(puts, j)[0])
            if left <= 0:
                break
        return None

    def _pairs_above(self, t: int, j: int) -> list[tuple[int, int]]:
        """The pairs of values that may make a pair agree, those first that are nearest to where both begin.

        That an operation is missing is tried later, and what is one number throughout, such as a mask.
        """
        order = list[dict[int, tuple[int, int]]]()
        for trace, missing, value, constant in (
            (self.left, self.lefts, t, self.told.constant),
            (self.right, self.rights, j, self.heard.constant),
        ):
            around = [v for v in _around(trace, missing, value) if not constant[v] or _made(trace, v)]
            kinds = [(bool(constant[v]), v not in missing.values) for v in around]
            order.append(
                {
                    v: (2 * kind[0] + kind[1], kinds[:n].count(kind))
                    for n, (v, kind) in enumerate(zip(around, kinds, strict=True))
                }
            )
        ours, theirs = order
        pairs = [
            (a, b)
            for a, b in product(ours, theirs)
            if b not in self.puts
            and self._comparable(a, b)
            and not (a == t and b not in self.rights.values)
            and self._between([b], j)[0]
        ]
        return sorted(
            pairs, key=lambda pair: tuple(map(sum, zip(ours[pair[0]], theirs[pair[1]], strict=True)))
        )

    def _together(self, a: int, b: int, put: np.ndarray, among: Collection[int]) -> Iterator[Puts]:
        """A value to be put, alone and with those of the other times that its line has run.

        Where both factors of a product are wrong neither of them alone mends it.
        """
        yield {b: put}
        beside = {v: other for v, other in self._elsewhere(a, b).items() if v in among}
        if beside:
            yield {b: put, **beside}

    def _reproduces(self, puts: Puts, j: int, laid: np.ndarray) -> bool:
        """Whether the functional side computes this value at ``j`` if those are put in their places."""
        if j in puts:
            return False
        steps, needed = self._between(puts, j)
        if not steps:
            return False
        given = {**self._have("functional", needed), **puts}
        made = dict(self.whole.replay(self.right, steps, given))
        return self._close(made[j], laid, j)

    def _between(self, starts: Iterable[int], j: int) -> tuple[list[int], set[int]]:
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

    def _climbed(self, t: int, j: int, laid: np.ndarray) -> tuple[int, int, np.ndarray]:
        """The first pair upstream of a pair of the same entries in another order that mends it too."""
        if t in self.lefts.values or j in self.rights.values:
            return t, j, laid
        ours, theirs = (
            sorted(trace.above([value]))[: -_REACH - 1 : -1]
            for trace, value in ((self.left, t), (self.right, j))
        )
        for a, b in product(ours, theirs):
            if (a, b) == (t, j) or b not in self.forth[a] or b in self.puts:
                continue
            # What is right may be laid so that it makes up for what follows. What the last step moves to
            # another place may be what is wrong, but not what was computed there, or lies further up.
            last = a in self.left.inputs(t) and b in self.right.inputs(j) and self._moved(b)
            if not last and any(self._turns(int(v), b) for v in self.back[b]):
                continue
            for put in self._laid(a, b, again=True):
                if self._reproduces({b: put}, j, laid):
                    return self._climbed(a, b, put)
        return t, j, laid

    @cached_property
    def _known(self) -> list[int]:
        """What is known and taken by what is lost on the imperative side."""
        return sorted(v for v in self.lefts.boundary if not self.told.constant[v])

    @cached_property
    def _candidates(self) -> list[tuple[int, int]]:
        """Pairs of values, those first that are earliest on the imperative side."""
        ours, chains = (
            sorted({v for root in missing.roots for v in islice(missing.chain(root), _REACH)})
            for missing in (self.lefts, self.rights)
        )
        edges = sorted(v for v in self.rights.boundary if not self.heard.constant[v])
        # What takes a value that was put already cannot all be mended by another one.
        chains, edges = ([v for v in some if v not in self.puts] for some in (chains, edges))
        # Where one side does something more, the other one goes on with what is known.
        lost, known = set(ours), self._known
        both = [*chains, *edges]
        return [(t, j) for t in sorted(lost.union(known)) for j in (both if t in lost else chains)]

    def _comparable(self, t: int, j: int) -> bool:
        """Whether one value can stand in the place of the other."""
        one, other = self.left.values[t], self.right.values[j]
        alike = one.print.exact == other.print.exact or "bool" in {one.dtype, other.dtype}
        return one.print.size == other.print.size and alike

    def _have(self, side: str, wanted: Collection[int]) -> dict[int, np.ndarray]:
        """Values of a side by index, computed anew where they are not at hand, and kept if there is room."""
        cache = self._cache[side]
        if missing := set(wanted) - cache.keys():
            trace = self.left if side == "imperative" else self.right
            missing |= set(_room(trace)) - cache.keys()  # and none is recorded for again
            made = self.whole.values(side, missing, self.puts)
            if sum(a.nbytes for a in (*cache.values(), *made.values())) > _AT_HAND:
                made |= {v: cache[v] for v in wanted if v in cache}
                cache.clear()
                return {v: made[v] for v in wanted}
            cache.update(made)
        return {v: cache[v] for v in wanted}

    def _expect(self, side: str, wanted: Collection[int]) -> None:
        """Have values at hand that will be asked for, if there is room for all of them."""
        trace = self.left if side == "imperative" else self.right
        if _bytes(trace.values[v] for v in wanted) <= _AT_HAND:
            self._have(side, wanted)

    def _values(self, side: str, value: int) -> np.ndarray:
        return _number(self._have(side, [value])[value])

    @cached_property
    def _cache(self) -> dict[str, dict[int, np.ndarray]]:
        return {"imperative": self.whole.at_hand, "functional": self._theirs}

    def _laid(self, t: int, j: int, *, turned: bool = False, again: bool = False) -> Iterator[np.ndarray]:
        """The value of ``t`` in layouts that fit ``j``, other than what is there.

        Args:
            t: on the imperative side.
            j: on the functional side.
            turned: whether its reciprocal, or what is true where it is not, is tried too.
            again: whether others are tried where one of them is what is there.
        """
        value, there = self._values("imperative", t), self._values("functional", j)
        budget = max(self.told.budget[t], self.heard.budget[j])
        usual = self._usual.get(value.ndim, ()) if value.ndim == there.ndim else ()
        near: list[np.ndarray] = nearest(value, there, _MORE_LAYOUTS if turned or again else _LAYOUTS, usual)
        other = [laid for laid in near if apart(laid, there) > budget]
        if other if again else len(other) == len(near):
            near = other
            kind = self._have("functional", [j])[j].dtype
            if turned:
                near += [laid for laid in self._turned(t, there) if apart(laid, there) > budget]
            yield from (
                put for laid in near if np.array_equal(put := laid.astype(kind), laid, equal_nan=True)
            )

    def _turned(self, t: int, there: np.ndarray) -> list[np.ndarray]:
        """What the functional side may have for a value: a factor for a divisor, what is kept for a mask."""
        value = self._values("imperative", t)
        if self.left.values[t].dtype == "bool":
            return nearest(1 - value, there, 1)
        return nearest(1 / value, there, 1) if value.dtype.kind == "f" and np.all(value) else []

    @cached_property
    def _usual(self) -> dict[int, list[tuple[int, ...]]]:
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
        chosen = {axes: some[:_SAMPLE] for axes, some in pairs.items()}
        self._expect("imperative", {t for some in chosen.values() for t, _ in some})
        self._expect("functional", {j for some in chosen.values() for _, j in some})
        usual = {}
        for axes, some in chosen.items():
            votes = Counter(found[0] for t, j in some if len(found := self._turns(t, j)) == 1)
            usual[axes] = [order for order, _ in votes.most_common(1)]
        return usual

    def _moved(self, j: int) -> bool:
        """Whether a functional value has the entries of what it is made of."""
        return any(set(self.back[v]) & set(self.back[j]) for v in self.right.inputs(j))

    def _turns(self, t: int, j: int) -> list[tuple[int, ...]]:
        """The orders of its axes in which one value is the other."""
        budget = float(max(self.told.budget[t], self.heard.budget[j]))
        return turns(self._values("imperative", t), self._values("functional", j), budget)

    def _agreeing(self, t: int, j: int, laid: np.ndarray, last: int | None = None) -> tuple[int, int]:
        """How much of what the functional side computes of this is what the imperative side goes on with.

        An output that becomes right counts for ``_CONVINCED`` of them. If a value becomes wrong it is −1.

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
        operations, needed = self._next(j, last)
        given, odd = self._have("functional", needed), 0
        good = _CONVINCED * (j in self._ends and self._ended(fingerprint(laid), self._ends[j]))
        for index, array in self.whole.replay(self.right, operations, {**given, j: laid}):
            told = fingerprint(array)
            if index in self._ends and self._ended(told, self._ends[index]):
                good += _CONVINCED
            if index in self._rest and not self._ended(told, self._rest[index]):
                return -1, 0
            if told.constant and (told.size > 1 or self.heard.constant[index]):
                continue
            same = self.told.same(told, self.heard.budget[index])
            if index not in after:
                if index in judged and len(self.back[index]) and not same.any():
                    return -1, 0
            elif not _alike(told, mark, budget):
                found = any(p in below for p in np.flatnonzero(same))
                good, odd = good + found, odd + (not found)
        return good, -odd

    @cached_property
    def _ends(self) -> dict[int, tuple[Fingerprint, float]]:
        """What functional outputs that differ should be, and how far rounding may move them."""
        return self._marks(self.wrong)

    @cached_property
    def _rest(self) -> dict[int, tuple[Fingerprint, float]]:
        """The same for those that do not."""
        return self._marks(
            [name for name in self.whole.counterparts if _of(name, self.phase) and name not in self.wrong]
        )

    def _marks(self, names: Collection[str]) -> dict[int, tuple[Fingerprint, float]]:
        return {
            self.right.outputs[name]: (
                self.whole.expected[name],
                max(
                    float(self.told.budget[self.left.outputs[wrong]]),
                    float(self.heard.budget[self.right.outputs[name]]),
                ),
            )
            for wrong in names
            for name in self.whole.counterparts[wrong]
            if name in self.whole.expected
        }

    @staticmethod
    def _ended(told: Fingerprint, end: tuple[Fingerprint, float]) -> bool:
        """Whether an output is what it should be."""
        mark, budget = end
        placed = abs(told.order - mark.order) <= budget
        return _alike(told, mark, budget) and placed and (mark.size == 1 or not mark.constant)

    def _next(self, j: int, last: int | None = None) -> tuple[list[int], set[int]]:
        """The operations after a value by which it is proved, and what they take besides; told once."""
        if (j, last) not in self._nexts:
            self._nexts[j, last] = self._ahead(j, _AHEAD if last is None else _REPLAYED, last)
        return self._nexts[j, last]

    @cached_property
    def _nexts(self) -> dict[tuple[int, int | None], tuple[list[int], set[int]]]:
        return {}

    def _ahead(self, j: int, most: int, last: int | None = None) -> tuple[list[int], set[int]]:
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

    def _fault(self, t: int, j: int, put: np.ndarray, there: np.ndarray | None = None) -> tuple[Fault, Puts]:
        before = self.puts if there is None else {}
        there, laid = self._values("functional", j) if there is None else there, _number(put)
        puts = {j: put, **self._elsewhere(t, j)}
        kind = self._kind(t, j)
        original = _number(self._original(j)) if before else there
        steps, given = self._steps(t, j)
        named, evidence = cause(self._local(t, j, laid, there, steps, given))
        imperative, functional = self._sites(t, j)
        region = {
            "imperative": self._region(self.left, self.lefts, t),
            "functional": self._region(self.right, self.rights, j),
        }
        if named == "padding side":  # which may be an operation of its own, and other lines say by how much
            imperative, functional = (
                next((site for site in region[side] if "pad" in site.operation), named_site)
                for side, named_site in (("imperative", imperative), ("functional", functional))
            )
        sides = (("imperative", self.left, self.lefts, t), ("functional", self.right, self.rights, j))
        goes_on = {
            side: site
            for side, trace, missing, value in sides
            if value not in missing.values and (site := _taker(trace, missing, value)) is not None
        }
        fault = Fault(
            kind=kind,
            phase=self.phase,
            imperative=imperative,
            functional=functional,
            goes_on=goes_on,
            region=region,
            ancestors=self._ancestors(t),
            local=gap(laid, there).absolute,
            accumulated=gap(laid, original).absolute,
            scale=float(np.abs(laid).max(initial=0.0, where=np.isfinite(laid))),
            places=len(puts),
            left=laid,
            right=there,
            steps=steps,
            given=given,
            ends={"imperative": t, "functional": j},
            takers={side: _takers(trace, given[side]) for side, trace, *_ in sides},
            cause=named,
            evidence=evidence,
        )
        return fault, puts

    def _original(self, j: int) -> np.ndarray:
        """A functional value where nothing is put in its place."""
        at_hand = self.whole.original
        return at_hand[j] if j in at_hand else self.whole.values("functional", [j])[j]

    def _close(self, made: np.ndarray, laid: np.ndarray, j: int) -> bool:
        return apart(_number(made), _number(laid)) <= float(self.heard.budget[j])

    def _kind(self, t: int, j: int) -> Kind:
        # An output that differs is lost even where the other side has its value on the way to its own.
        in_left = t in self.lefts.values and not len(self.forth[t])
        in_right = j in self.rights.values and not len(self.back[j])
        if in_left or in_right:
            return "another value" if in_left and in_right else "missing" if in_left else "extra"
        if j in self.forth[t]:
            return "another order"
        # Both sides have either value somewhere: which of them is computed of the other?
        above, below = self.left.above([t]), self.right.above([j])
        if any(p in above for p in self.back[j]):
            return "missing"
        return "extra" if any(p in below for p in self.forth[t]) else "another value"

    def _steps(
        self, t: int, j: int
    ) -> tuple[dict[str, tuple[Operation, ...]], dict[str, dict[int, np.ndarray]]]:
        """By side, what was carried out in the region, and the values that it was carried out on."""
        steps: dict[str, tuple[Operation, ...]] = {}
        given: dict[str, dict[int, np.ndarray]] = {}
        for side, trace, missing, value in (
            ("imperative", self.left, self.lefts, t),
            ("functional", self.right, self.rights, j),
        ):
            region = trace.above([value]) & missing.values
            made = dict.fromkeys(trace.values[v].operation for v in sorted(region))
            steps[side] = tuple(trace.operations[k] for k in made if k is not None)
            inside = {v for operation in steps[side] for v in operation.outputs}
            near = {v for operation in steps[side] for v in operation.inputs} - inside
            given[side] = self._have(side, near or {value})
        return steps, given

    def _local(
        self,
        t: int,
        j: int,
        laid: np.ndarray,
        there: np.ndarray,
        steps: Mapping[str, tuple[Operation, ...]],
        given: Mapping[str, Mapping[int, np.ndarray]],
    ) -> Local:
        """What is known of a local difference; whatever is upstream of it has been made to agree."""
        made = [operation for side in steps.values() for operation in side]
        told = [_number(array) for side in SIDES[::-1] for array in given[side].values()]
        if self.phase == "backward":  # a mask, or an output that was saved, is there for what it was made of
            for side, trace in (("functional", self.right), ("imperative", self.left)):
                told += map(
                    _number, self._have(side, {i for v in given[side] for i in trace.inputs(v)}).values()
                )
        numbers = [x for operation in made for x in operation.options.values() if isinstance(x, float)]
        return Local(
            laid,
            there,
            tuple(array for array in told if array.size > 1),
            (*numbers, *(float(array.ravel()[0]) for array in told if array.size == 1)),
            frozenset(o.name for o in (*made, self.left.made_by(t), self.right.made_by(j)) if o is not None),
            self.phase == "backward",
            float(max(self.told.budget[t], self.heard.budget[j])),
            self._counts(t),
            tuple(self._convolutions(j)) if self.phase == "forward" else (),
            wide=self._widened(j, given["functional"]),
        )

    def _widened(self, j: int, given: Mapping[int, np.ndarray]) -> np.ndarray | None:
        """What the functional side computes at ``j`` where nothing of it has fewer digits than float64."""
        made = {self.right.values[v].operation for v in self.right.above([j]) & self.rights.values}
        region = sorted(k for k in made if k is not None)
        changed = {k: wide for k in region if (wide := _wide(self.right.operations[k].options))}
        if not changed:
            return None
        whole = {v: a.astype(np.float64) if of_float(a) else a for v, a in given.items()}
        try:
            return _number(dict(self.whole.replay(self.right, region, whole, changed))[j])
        except TypeError:  # of an operation that takes one dtype only
            return None

    def _convolutions(self, j: int) -> Iterator[Convolution]:
        """The convolutions that a functional value is lost with."""
        for v in sorted(self.right.above([j]) & self.rights.values):
            index = self.right.values[v].operation
            if index is None or self.right.operations[index].name != "conv_general_dilated":
                continue
            operation: Operation = self.right.operations[index]
            told: Mapping[str, Any] = operation.options
            yield Convolution(
                tuple((before, after) for before, after in told["padding"]),
                tuple(told["window_strides"]),
                partial(self._repadded, index, v, j),
            )

    def _repadded(self, index: int, v: int, j: int, padding: object) -> np.ndarray:
        """What the functional side computes at ``j`` where the convolution of ``v`` has another padding."""
        steps, needed = self._between([v], j) if v != j else ([], set[int]())
        given = self._have("functional", needed | set(self.right.operations[index].inputs))
        changed = {index: {"padding": padding}}
        return _number(dict(self.whole.replay(self.right, [index, *steps], given, changed))[j])

    def _counts(self, t: int) -> frozenset[int]:
        """Over how many entries the operations before a value went, if it was one that makes them fewer."""
        made = {self.left.values[v].operation for v in self.left.above([t])}
        near = sorted(k for k in made if k is not None)[-_REACH:]
        sizes = [
            (self.left.values[i].print.size, self.left.values[o].print.size)
            for k in near
            for i in self.left.operations[k].inputs
            for o in self.left.operations[k].outputs
        ]
        return frozenset(i // o for i, o in sizes if o and i > o and i % o == 0)

    def _sites(self, t: int, j: int) -> tuple[Site, Site]:
        """The two operations that are to be named."""
        left, right = (
            _computing(trace, missing, value)
            for trace, missing, value in ((self.left, self.lefts, t), (self.right, self.rights, j))
        )
        if self.phase == "backward":
            # A share of a gradient that one side lacks is named by where it begins, and the side that lacks
            # it by what it computes in the forward there.
            if t in self.lefts.values and j not in self.rights.values:
                left, there = self._beginning(self.left, self.lefts, t, self.forth, self.right)
                right = there or right
            elif j in self.rights.values and t not in self.lefts.values:
                right, there = self._beginning(self.right, self.rights, j, self.back, self.left)
                left = there or left
        return left, right

    def _beginning(
        self, trace: Trace, missing: Lost, value: int, found: Sequence[np.ndarray], other: Trace
    ) -> tuple[Site, Site | None]:
        """The first operation of a region, and what the other side computes at its line in the forward."""
        first = min(trace.above([value]) & missing.values)
        made = trace.made_by(first)
        site = _site(trace, first, made)
        if made is None or not made.source.file:
            return site, None
        beside = [int(found[v][0]) for v in self._forward(trace, first, found)]
        lines = [_site(other, p, other.made_by(p)) for p in beside]
        return site, next((line for line in reversed(lines) if line.source.file), None)

    def _region(self, trace: Trace, missing: Lost, value: int) -> tuple[Site, ...]:
        above = sorted(trace.above([value]) & missing.values)
        return tuple(_site(trace, v, trace.made_by(v)) for v in above)

    def _ancestors(self, t: int) -> tuple[tuple[Site, Site], ...]:
        """The nearest values that agree."""
        region = self.left.above([t]) & self.lefts.values or {t}
        near = dict.fromkeys(i for v in sorted(region) for i in self.left.inputs(v) if i not in region)
        return tuple(
            (_site(self.left, i, self.left.made_by(i)), _site(self.right, p, self.right.made_by(p)))
            for i in near
            if len(self.forth[i])
            for p in [int(self.forth[i][0])]
        )

    def _elsewhere(self, t: int, j: int) -> Puts:
        """What to put in the other places that the same two lines have run, if they correspond."""
        ours, theirs = self.left.alike(t), self.right.alike(j)
        if len(ours) < 2 or len(theirs) % len(ours) or (t in self.left.forward) != (j in self.right.forward):  # noqa: PLR2004  # it ran once
            return {}
        step = len(theirs) // len(ours)
        first = ours.index(t)
        places = [theirs.index(j) + step * (k - first) for k in range(len(ours))]
        if places[0] < 0 or places[-1] >= len(theirs):
            return {}
        others = {theirs[place]: ours[k] for k, place in enumerate(places) if ours[k] > t}
        lefts, rights = self._have("imperative", others.values()), self._have("functional", others)
        made = {}
        for right, left in others.items():
            laid = nearest(_number(lefts[left]), _number(rights[right]), 1)
            if laid:
                made[right] = laid[0].astype(rights[right].dtype)
        return made


def _moved(puts: Puts, old: Trace, new: Trace) -> Puts | None:
    """What is put in the forward of one recording as it is to be put in another one; None if that differs.

    What was put in the backward is not needed: it is found again.
    """
    moved: Puts = {}
    for value, array in puts.items():
        if value not in old.forward:
            continue
        made = old.made_by(value)
        if made is None:
            moved[value] = array
            continue
        there, here = (trace.like(made, made.outputs.index(value), forward=True) for trace in (old, new))
        if len(there) != len(here):
            return None
        moved[here[there.index(value)]] = array
    return moved


def _of(name: str, phase: Phase) -> bool:
    """Whether an output is one of this phase."""
    return name.startswith("gradients.") == (phase == "backward")


def _around(trace: Trace, missing: Lost, value: int) -> list[int]:
    """What is lost upstream of a value, and what that was computed of."""
    region = trace.above([value]) & missing.values or {value}
    return sorted(region | {i for v in region for i in trace.inputs(v)})


def _made(trace: Trace, value: int) -> bool:
    """Whether an array is computed of something, and not written in the program."""
    made = trace.made_by(value)
    return made is not None and bool(made.inputs) and trace.values[value].print.size > 1


def _taker(trace: Trace, missing: Lost, value: int) -> Site | None:
    """The first operation that takes a value and is lost."""
    for index in trace.consumers[value]:
        operation = trace.operations[index]
        for output in operation.outputs:
            if output in missing.values:
                return _site(trace, output, operation)
    return None


def _takers(trace: Trace, values: Iterable[int]) -> frozenset[Source]:
    """The lines that take values, as far as they are known."""
    taken = (trace.operations[index].source for value in values for index in trace.consumers[value])
    return frozenset(source for source in taken if source.file)


def _computing(trace: Trace, missing: Lost, value: int) -> Site:
    """The operation that computes a value; of one that was given, the first that takes it and is lost."""
    made = trace.made_by(value)
    while made is not None and made.name in _COPIES and trace.made_by(made.inputs[0]) is not None:
        told, before = trace.values[value], trace.values[made.inputs[0]]
        if (told.shape, told.dtype) != (before.shape, before.dtype):
            break
        value = made.inputs[0]
        made = trace.made_by(value)
    taker = _taker(trace, missing, value) if made is None else None
    return taker or _site(trace, value, made)


def _site(trace: Trace, value: int, made: Operation | None) -> Site:
    told = trace.values[value]
    if made is None:
        return Site("", told.name, Source(), (), told.shape, told.dtype)
    return Site(made.name, told.name, made.source, made.group, told.shape, told.dtype)


def _source(trace: Trace, value: int) -> Source:
    """The line that computes a value, if one is known."""
    made = trace.made_by(value)
    return Source() if made is None else made.source


def _bytes(values: Iterable[Value]) -> int:
    """That values take in float64, at most."""
    return sum(8 * value.print.size for value in values)


def _room(trace: Trace) -> range:
    """The indices of all values, if there is room for them to be kept at hand."""
    return range(len(trace.values) if _bytes(trace.values) <= _AT_HAND else 0)


def _number(array: np.ndarray) -> np.ndarray:
    """What is true or false is 1 or 0, as whoever multiplies by it has it."""
    return array.astype(np.float64) if array.dtype.kind == "b" else array


def _wide(options: Mapping[str, Any]) -> dict[str, np.dtype]:
    """The options of an equation that ask for fewer digits, asking for float64."""
    return {
        name: np.dtype(np.float64)
        for name in ("new_dtype", "preferred_element_type")
        if options.get(name) is not None
        and of_float(np.empty(0, options[name]))
        and options[name] != np.float64
    }


def _alike(told: Fingerprint, mark: Fingerprint, budget: float) -> bool:
    return told.infinite == mark.infinite and bool(np.abs(told.numbers - mark.numbers).max() <= budget)
