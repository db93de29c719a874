"""Finds the operations at which two ports part: where what goes in agrees, and what comes out does not.

Both sides are recorded, and their values told by fingerprints. Of what leads to an output that differs, only
what has no partner is lost; an operation of which the inputs have partners and the output has none may be
the culprit, or a step that the other side takes otherwise. The proof decides: the imperative side's value is
put in the place of the functional side's, and what follows must then agree. If it does, the value stays
there, and the search goes on with what differs still: one run finds faults that have nothing to do with each
other.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from compare.judge.trees import gap
from compare.port.alignment import Lost, Prints, lost, mirrored, partners, prints
from compare.port.causes import Local, cause
from compare.port.layout import nearest
from scenarios.trace import Fingerprint, Operation, Source, Trace

#: No more faults than these are looked for in one pair.
MOST_FAULTS = 32

#: No more operations than these after a root are tried on either side.
_REACH = 24

#: Layouts of a value that are tried.
_LAYOUTS = 2

Phase = Literal["forward", "backward"]
Kind = Literal["another value", "missing", "extra", "another order"]
Puts = dict[int, np.ndarray]


class Recorded(Protocol):
    """One side, to be recorded."""

    def __call__(
        self,
        dtype: str,
        *,
        want: Collection[int] = (),
        **options: Any,  # noqa: ANN401  # those that the side has
    ) -> tuple[Trace, dict[int, np.ndarray]]:
        """As the side's own ``Port.record``, with the parameters and the arguments in place."""


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
            ``another order`` (the same entries at other places).
        phase: of the computation.
        imperative: the operation on that side.
        functional: on the other.
        region: by side, the operations between what agrees and what does not, in order.
        ancestors: the nearest values that agree, as they are called on either side.
        local: largest absolute difference when both are given the same.
        accumulated: and when each is given what it had computed.
        scale: largest magnitude of the imperative side's value.
        places: how often the same lines ran.
        left: the imperative side's value.
        right: what the functional side makes of the same inputs.
        cause: what makes the difference vanish when it is changed; empty if nothing that was tried does.
        evidence: what was found of it.
    """

    kind: Kind
    phase: Phase
    imperative: Site
    functional: Site
    region: Mapping[str, tuple[Site, ...]]
    ancestors: tuple[tuple[Site, Site], ...]
    local: float
    accumulated: float
    scale: float
    places: int
    left: np.ndarray
    right: np.ndarray
    cause: str = ""
    evidence: str = ""


class Locator:
    """Two recorded sides, and how far they have been made to agree."""

    def __init__(
        self,
        imperative: Recorded,
        functional: Recorded,
        counterparts: Mapping[str, Sequence[str]],
        differing: Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], Sequence[str]],
        entries: int,
    ) -> None:
        """Record both sides in two precisions.

        Args:
            imperative: one side.
            functional: the other.
            counterparts: by the name of an output of the imperative trace, those of the functional one.
            differing: of the outputs of both traces, the names of those (of the imperative side) that differ.
            entries: how many floating-point numbers go in.
        """
        self.sides: dict[str, Recorded] = {"imperative": imperative, "functional": functional}
        self.counterparts, self.differing, self.entries = counterparts, differing, entries
        self.opened: frozenset[str] = frozenset()
        self.left, self.told = self._recorded()
        self.right, _ = functional("float64")
        _, kept = imperative("float64", want=[self.left.outputs[name] for name in counterparts])
        self.outputs = {name: kept[self.left.outputs[name]] for name in counterparts}
        self.lower = functional("float32")[0]

    def _recorded(self) -> tuple[Trace, Prints]:
        """The imperative side, with the steps of what was opened."""
        here, below = (self.sides["imperative"](d, opened=self.opened)[0] for d in ("float64", "float32"))
        return here, prints(here, below, self.entries)

    def values(self, side: str, want: Collection[int], put: Puts | None = None) -> dict[int, np.ndarray]:
        """Values by their indices; of the functional side with some of them put in place."""
        options = {"opened": self.opened} if side == "imperative" else {"put": put or {}}
        return self.sides[side]("float64", want=want, **options)[1]

    def _open(self, region: Sequence[Site]) -> bool:
        """Note the steps of these operations from now on; False if there are none."""
        opened, count = self.opened | {site.operation for site in region}, len(self.left.operations)
        if opened == self.opened:
            return False
        self.opened = opened
        self.left, self.told = self._recorded()
        return len(self.left.operations) > count

    def faults(self) -> Iterator[Fault]:
        """All that can be told apart, in the order of the data, those of the forward first."""
        puts: Puts = {}
        seen: set[tuple[Source, Source]] = set()
        for _ in range(MOST_FAULTS):
            state = _State(self, puts)
            if not state.wrong:
                return
            found = state.search()
            if found is None:
                return
            if self._open(found[0].region["imperative"]):
                found = _State(self, puts).search() or found
            fault, more = found
            puts |= more
            lines = (fault.imperative.source, fault.functional.source)
            # What is differentiated wrongly because it is wrong is no fault of its own.
            derived = fault.phase == "backward" and any(
                a == b and a.file for told in seen for a, b in zip(told, lines, strict=True)
            )
            if lines not in seen and not derived:
                yield fault
            seen.add(lines)


class _State:
    """The functional side with some values put in place, against the imperative one."""

    def __init__(self, locator: Locator, puts: Puts) -> None:
        self.whole, self.puts, self.left, self.told = locator, puts, locator.left, locator.told
        names = [name for names in locator.counterparts.values() for name in names]
        want = [locator.right.outputs[name] for name in names]
        self.right, kept = locator.sides["functional"]("float64", want=want, put=puts)
        outputs = {name: kept[self.right.outputs[name]] for name in names}
        wrong = locator.differing(locator.outputs, outputs)
        forward = [name for name in wrong if not name.startswith("gradients.")]
        self.phase: Phase = "forward" if forward else "backward"
        self.wrong = forward or wrong
        self.heard = prints(self.right, locator.lower, locator.entries)
        self.forth = partners(self.told, self.heard)
        self.back = mirrored(self.forth, len(self.right.values))
        self.lefts, self.rights = self._lost()

    def _lost(self) -> tuple[Lost, Lost]:
        ends = [self.left.outputs[name] for name in self.wrong]
        others = [self.right.outputs[n] for name in self.wrong for n in self.whole.counterparts[name]]
        return (
            lost(self.left, [bool(len(p)) for p in self.forth], self.told.constant, ends),
            lost(self.right, [bool(len(p)) for p in self.back], self.heard.constant, others),
        )

    def search(self) -> tuple[Fault, Puts] | None:
        """The first place at which the imperative side's value mends what follows, and what to put there."""
        for t, j in self._candidates():
            mended = self._mended(t, j)
            if mended is not None:
                return self._fault(t, j, mended)
        return None

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Pairs of values of one size, those first that are earliest on the imperative side."""
        roots = self.rights.roots
        chains = sorted({v for root in roots for v in list(self.rights.chain(root))[:_REACH]})
        edges = sorted(v for v in self.rights.boundary if not self.heard.constant[v])
        for root in self.lefts.roots:
            given = sorted(v for v in self.left.inputs(root) if not self.told.constant[v])
            chain = list(self.lefts.chain(root))[:_REACH]
            for t in (*given, *chain):
                size = self.told_size(t)
                others = (*edges, *chains)
                for j in others:
                    if self.right.values[j].print.size == size:
                        yield t, j

    def told_size(self, t: int) -> int:
        return self.left.values[t].print.size

    def _values(self, side: str, value: int) -> np.ndarray:
        cache = self._cache.setdefault(side, {})
        if value not in cache:
            cache.update(self.whole.values(side, self._interesting[side] | {value}, self.puts))
        return cache[value]

    @cached_property
    def _cache(self) -> dict[str, dict[int, np.ndarray]]:
        return {}

    @cached_property
    def _interesting(self) -> dict[str, set[int]]:
        """By side, values that will be asked for."""
        pairs = list(self._candidates())
        return {"imperative": {t for t, _ in pairs}, "functional": {j for _, j in pairs}}

    def _mended(self, t: int, j: int) -> np.ndarray | None:
        """The value of ``t`` in the layout of ``j``, if what follows agrees once it is put there."""
        value, there = self._values("imperative", t), self._values("functional", j)
        budget = max(self.told.budget[t], self.heard.budget[j])
        for laid in nearest(value, there, _LAYOUTS):
            if gap(laid, there).absolute <= budget:
                return None  # it is there already
            if self._agrees_after(t, j, laid):
                return laid
        return None

    def _agrees_after(self, t: int, j: int, laid: np.ndarray) -> bool:
        below, after = self.lefts.below(t), self.rights.below(j)
        mark, budget = self.left.values[t].print, self.told.budget[t]
        good: list[int] = []
        bad: list[int] = []

        def watch(index: int, told: Fingerprint) -> bool:
            if index <= j or told.constant:
                return False
            same = self.told.same(told, self.heard.budget[index])
            if index in after:
                partners_ = [p for p in np.flatnonzero(same) if p in below]
                if partners_ and not _alike(told, mark, budget):
                    good.append(index)
            elif len(self.back[index]) and not same.any():
                bad.append(index)
            return bool(bad) or len(good) > 1

        record = self.whole.sides["functional"]
        trace, _ = record("float64", put={**self.puts, j: laid}, watch=watch, since=j)
        if bad:
            return False
        if len(good) > 1 or not trace.outputs:
            return bool(good)
        names = [name for names in self.whole.counterparts.values() for name in names]
        want = [trace.outputs[name] for name in names]
        _, kept = record("float64", want=want, put={**self.puts, j: laid})
        wrong = self.whole.differing(self.whole.outputs, {n: kept[trace.outputs[n]] for n in names})
        return (len(wrong) < len(self.wrong) and bool(good)) or not set(self.wrong) <= set(wrong)

    def _fault(self, t: int, j: int, laid: np.ndarray) -> tuple[Fault, Puts]:
        there = self._values("functional", j)
        puts = {j: laid, **self._elsewhere(t, j)}
        in_left, in_right = t in self.lefts.values, j in self.rights.values
        kind: Kind = (
            "another value"
            if in_left and in_right
            else "missing"
            if in_left
            else "extra"
            if in_right
            else "another order"
        )
        original = self.whole.values("functional", [j])[j] if self.puts else there
        local = self._local(t, j, laid, kind)
        named, evidence = cause(local)
        fault = Fault(
            kind=kind,
            phase=self.phase,
            imperative=self._site(self.left, self.lefts, t),
            functional=self._site(self.right, self.rights, j),
            region={
                "imperative": self._region(self.left, self.lefts, t),
                "functional": self._region(self.right, self.rights, j),
            },
            ancestors=self._ancestors(t),
            local=gap(laid, there).absolute,
            accumulated=gap(laid, original).absolute,
            scale=float(np.abs(laid).max(initial=0.0, where=np.isfinite(laid))),
            places=len(puts),
            left=laid,
            right=there,
            cause=named,
            evidence=evidence,
        )
        return fault, puts

    def _local(self, t: int, j: int, laid: np.ndarray, kind: Kind) -> Local:
        """What is known of a local difference; whatever is upstream of it has been made to agree."""
        numbers: list[float] = []
        operations: set[str] = set()
        arrays: dict[str, dict[int, np.ndarray]] = {}
        for side, trace, missing, value in (
            ("functional", self.right, self.rights, j),
            ("imperative", self.left, self.lefts, t),
        ):
            region = trace.above([value]) & missing.values or {value}
            made = [trace.made_by(v) for v in region]
            near = {i for v in region for i in trace.inputs(v)} - region
            operations |= {o.name for o in made if o is not None}
            numbers += [x for o in made if o is not None for x in o.options.values() if isinstance(x, float)]
            numbers += [
                float(trace.values[i].print.numbers[0]) for i in near if trace.values[i].print.constant
            ]
            arrays[side] = self.whole.values(side, near | {value}, self.puts)
        right = arrays["functional"].pop(j)
        arrays["imperative"].pop(t)
        given = [a for side in arrays.values() for a in side.values() if a.size > 1]
        budget = float(max(self.told.budget[t], self.heard.budget[j]))
        backward = self.phase == "backward"
        return Local(laid, right, tuple(given), tuple(numbers), frozenset(operations), kind, backward, budget)

    def _site(self, trace: Trace, missing: Lost, value: int) -> Site:
        """The operation that computes a value; of one that was given, the first that takes it and is lost."""
        made = trace.made_by(value)
        if made is None:
            taking = [trace.operations[k] for k in trace.consumers[value]]
            made = next((o for o in taking if set(o.outputs) & missing.values), None)
        return _site(trace, value, made)

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
        ours, theirs = _occurrences(self.left, t), _occurrences(self.right, j)
        if len(ours) < 2 or len(theirs) % len(ours):  # noqa: PLR2004  # it ran once
            return {}
        step = len(theirs) // len(ours)
        first = ours.index(t)
        places = [theirs.index(j) + step * (k - first) for k in range(len(ours))]
        if places[0] < 0 or places[-1] >= len(theirs):
            return {}
        others = {theirs[place]: ours[k] for k, place in enumerate(places) if ours[k] > t}
        lefts = self.whole.values("imperative", others.values())
        rights = self.whole.values("functional", others, self.puts)
        made = {}
        for right, left in others.items():
            laid = nearest(lefts[left], rights[right], 1)
            if laid:
                made[right] = laid[0]
        return made


def _occurrences(trace: Trace, value: int) -> list[int]:
    """The values that the same operation of the same line computes, wherever it ran."""
    made = trace.made_by(value)
    if made is None or not made.source.file:
        return [value]
    place = made.outputs.index(value)
    return [
        o.outputs[place]
        for o in trace.operations
        if o.name == made.name and o.source == made.source and len(o.outputs) > place
    ]


def _site(trace: Trace, value: int, made: Operation | None) -> Site:
    told = trace.values[value]
    if made is None:
        return Site("", told.name, Source(), (), told.shape, told.dtype)
    return Site(made.name, told.name, made.source, made.group, told.shape, told.dtype)


def _alike(told: Fingerprint, mark: Fingerprint, budget: float) -> bool:
    return told.infinite == mark.infinite and bool(np.abs(told.numbers - mark.numbers).max() <= budget)
