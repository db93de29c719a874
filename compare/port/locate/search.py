"""Searches for the first place at which two sides part."""

from collections.abc import Collection, Iterator
from itertools import islice, product

import numpy as np

from compare.port.locate.explain import explained
from compare.port.locate.fault import SUMS, Fault
from compare.port.locate.sides import Puts
from compare.port.locate.state import CONVINCED, REACH, REPLAYED, Place, State
from scenarios.trace import Trace, fingerprint

#: So often a value is put in the place of another one at most, and where it is differentiated after a fault
#: of the forward, from which nearly all of that follows.
_TRIES, _TRIES_AFTER = 6_000, 1_000


def first_fault(state: State) -> tuple[Fault, Puts] | None:
    """The first place at which the other side's value mends what follows, and what to put there."""
    found = _found(state)
    # What is differentiated wrongly for a fault of the forward has no share of its own.
    if found is None or state.phase == "forward" or not state.right.forward.isdisjoint(state.puts):
        return found
    if not SUMS & {found[0].imperative.operation, found[0].functional.operation}:
        return found
    # Where shares are added up in another order, one that only one side has is in no sum of its own.
    return _superfluous(state) or _lacking(state) or found


def _found(state: State) -> tuple[Fault, Puts] | None:
    second: tuple[int, int, np.ndarray] | None = None
    known = set(_known(state))
    after = state.phase == "backward" and not state.right.forward.isdisjoint(state.puts)
    for t, j, laid, agreeing in islice(state.tried(_candidates(state)), _TRIES_AFTER if after else _TRIES):
        # What is done in another way may agree for a while without what is done first.
        if t in known and agreeing[0] <= -agreeing[1]:
            continue
        if agreeing >= (CONVINCED,):
            return explained(state, *_refined(state, *_said_more(state, t, j, laid, agreeing)))
        if agreeing > (0, 0) and second is None:
            second = t, j, laid
    # One value that agrees is weak evidence, but there is no more where the next fault follows at once.
    return None if second is None else explained(state, *_refined(state, *second))


def _superfluous(state: State) -> tuple[Fault, Puts] | None:
    """A share of gradients that only the functional side has: without it, what it leads to is right."""
    marks = {**state.rest, **state.ends}
    for j in [v for v in state.rights.roots if v not in state.puts][:REACH]:
        beside = _beside(state.at("functional", j))
        operations, needed = state.ahead(j, REPLAYED)
        if beside is None or len(operations) == REPLAYED:
            continue
        there = state.have("functional", [j])[j]
        given = {**state.have("functional", needed), j: np.zeros_like(there)}
        right = {
            index: state.ended(fingerprint(array), marks[index])
            for index, array in state.sides.replay(state.right, operations, given)
            if index in marks
        }
        if all(right.values()) and right.keys() & state.ends.keys():
            return explained(state, beside, j, given[j])
    return None


def _lacking(state: State) -> tuple[Fault, Puts] | None:
    """The other way round; nothing need be put anywhere, since all that it leads to is explained."""
    whole = state.sides
    ends = {name: whole.left.outputs[name] for name in whole.counterparts}
    for t in state.lefts.roots[:REACH]:
        beside = _beside(state.at("imperative", t))
        below = {name for name in state.wrong if t in state.left.above([ends[name]])}
        if beside is None or not below:
            continue
        _, kept = whole.recorded("imperative", "float64", want=ends.values(), told=False, without=[t])
        wrong = set(whole.differing({name: kept[end] for name, end in ends.items()}, state.outputs))
        if not wrong & below and wrong <= {*state.wrong, *whole.mended}:
            whole.mended |= below
            left = state.value("imperative", t)
            return explained(state, t, beside, left, np.zeros_like(left))[0], {}
    return None


def _beside(place: Place) -> int | None:
    """What the other side has in the place of a share of gradients that it lacks, if anything."""
    near = (*place.forward(place.value), *place.trace.inputs(place.value))
    return next((int(place.found[v][0]) for v in near if len(place.found[v])), None)


def _said_more(
    state: State, t: int, j: int, laid: np.ndarray, agreeing: tuple[int, int]
) -> tuple[int, int, np.ndarray]:
    """The pair, or one with another value upstream on either side, if less is left that does not agree.

    After a softmax it cannot be seen where its largest score was taken away.
    """
    # What holds the same entries, such as the value before it was transposed, is no other one.
    ours, theirs = (
        [
            v
            for v in _around(place)
            if not place.constant[v]
            and v != place.value
            and not set(place.found[v]) & set(place.found[place.value])
        ]
        for place in state.both(t, j)
    )
    pairs = [*((t, b) for b in theirs if b not in state.puts), *((a, j) for a in ours)]
    best, (after, _) = (t, j, laid), state.next(j)
    if not after:
        return best
    for a, b, put, more in state.tried(pairs, after[-1]):
        if more >= (CONVINCED,) and more[::-1] > agreeing[::-1]:
            best, agreeing = (a, b, put), more
    state.odd = bool(agreeing[1])
    return best


def _refined(state: State, t: int, j: int, laid: np.ndarray) -> tuple[int, int, np.ndarray]:
    """The first pair upstream that makes the pair agree in its turn."""
    while (upstream := _upstream(state, t, j, laid)) is not None:
        t, j, laid = upstream
    return _climbed(state, t, j, laid)


def _upstream(state: State, t: int, j: int, laid: np.ndarray) -> tuple[int, int, np.ndarray] | None:
    """A pair upstream that makes the pair agree in its turn."""
    pairs = _pairs_above(state, t, j)
    theirs = {b for _, b in pairs}
    left = REPLAYED
    for a, b in state.ready(pairs, lambda b: state.between([b], j)[1]):
        for put in state.laid(a, b, turned=True):
            for puts in _together(state, a, b, put, theirs):
                if state.reproduces(puts, j, laid) and state.agreeing(a, b, put) >= (0,):
                    return a, b, put
                left -= len(state.between(puts, j)[0])
        if left <= 0:
            break
    return None


def _pairs_above(state: State, t: int, j: int) -> list[tuple[int, int]]:
    """The pairs of values that may make a pair agree, those first that are nearest to where both begin.

    That an operation is missing is tried later, and what is one number throughout, such as a mask.
    """
    ours, theirs = map(_ranks, state.both(t, j))
    pairs = [
        (a, b)
        for a, b in product(ours, theirs)
        if b not in state.puts
        and state.comparable(a, b)
        and not (a == t and b not in state.rights.values)
        and state.between([b], j)[0]
    ]
    return sorted(pairs, key=lambda pair: tuple(map(sum, zip(ours[pair[0]], theirs[pair[1]], strict=True))))


def _ranks(place: Place) -> dict[int, tuple[int, int]]:
    """The values that may be wrong where one is, by what speaks against each, and its place among those."""
    around = [v for v in _around(place) if not place.constant[v] or _made(place.trace, v)]
    kinds = [2 * bool(place.constant[v]) + (v not in place.lost.values) for v in around]
    return {v: (kind, kinds[:n].count(kind)) for n, (v, kind) in enumerate(zip(around, kinds, strict=True))}


def _together(state: State, a: int, b: int, put: np.ndarray, among: Collection[int]) -> Iterator[Puts]:
    """A value to be put, alone and with those of the other times that its line has run.

    Where both factors of a product are wrong neither of them alone mends it.
    """
    yield {b: put}
    if beside := state.elsewhere(a, b, among):
        yield {b: put, **beside}


def _climbed(state: State, t: int, j: int, laid: np.ndarray) -> tuple[int, int, np.ndarray]:
    """The first pair upstream of a pair of the same entries in another order that mends it too."""
    if t in state.lefts.values or j in state.rights.values:
        return t, j, laid
    ours, theirs = (sorted(place.trace.above([place.value]))[: -REACH - 1 : -1] for place in state.both(t, j))
    for a, b in product(ours, theirs):
        if (a, b) == (t, j) or b not in state.forth[a] or b in state.puts:
            continue
        # What is right may be laid so that it makes up for what follows. What the last step moves to
        # another place may be what is wrong, but not what was computed there, or lies further up.
        last = a in state.left.inputs(t) and b in state.right.inputs(j) and state.moved(b)
        if not last and any(state.turns(int(v), b) for v in state.back[b]):
            continue
        for put in state.laid(a, b, again=True):
            if state.reproduces({b: put}, j, laid):
                return _climbed(state, a, b, put)
    return t, j, laid


def _known(state: State) -> list[int]:
    """What is known and taken by what is lost on the imperative side."""
    return sorted(v for v in state.lefts.boundary if not state.told.constant[v])


def _candidates(state: State) -> list[tuple[int, int]]:
    """Pairs of values, those first that are earliest on the imperative side."""
    ours, chains = (
        sorted({v for root in missing.roots for v in islice(missing.chain(root), REACH)})
        for missing in (state.lefts, state.rights)
    )
    edges = sorted(v for v in state.rights.boundary if not state.heard.constant[v])
    # What takes a value that was put already cannot all be mended by another one.
    chains, edges = ([v for v in some if v not in state.puts] for some in (chains, edges))
    # Where one side does something more, the other one goes on with what is known.
    lost, known = set(ours), _known(state)
    both = [*chains, *edges]
    return [(t, j) for t in sorted(lost.union(known)) for j in (both if t in lost else chains)]


def _around(place: Place) -> list[int]:
    """What is lost upstream of a value, and what that was computed of."""
    region = place.region or [place.value]
    return sorted({*region, *(i for v in region for i in place.trace.inputs(v))})


def _made(trace: Trace, value: int) -> bool:
    """Whether an array is computed of something, and not written in the program."""
    made = trace.made_by(value)
    return made is not None and bool(made.inputs) and trace.values[value].print.size > 1
