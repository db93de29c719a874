"""What can be told of the place at which two sides part."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from compare.judge.trees import gap
from compare.port.causes import Convolution, Local, cause
from compare.port.locate.fault import Fault, Kind, Site, computing, site_of, taker, takers
from compare.port.locate.sides import Puts
from compare.port.locate.state import REACH, Place, State, number
from compare.port.mapping import SIDES
from scenarios.port import of_float
from scenarios.trace import Operation, Trace


def explained(
    state: State, t: int, j: int, put: np.ndarray, there: np.ndarray | None = None
) -> tuple[Fault, Puts]:
    """All that can be told of a place where the sides part, and what to put so that they no longer do.

    Args:
        state: in which they part there.
        t: a value on the imperative side,
        j: that it takes the place of on the functional side,
        put: and as it is put there.
        there: what the functional side has, if that is not what it computes at ``j``.
    """
    original = _original(state, j) if there is None and state.puts else None
    there, laid = state.value("functional", j) if there is None else there, number(put)
    puts = {j: put, **state.elsewhere(t, j)}
    places = state.both(t, j)
    regions: dict[str, tuple[Site, ...]] = {place.side: _region(place) for place in places}
    steps, given = _steps(state, places)
    named, evidence = cause(_local(state, t, j, laid, there, steps, given))
    sites = dict(zip(SIDES, _sites(state, *places), strict=True))
    if named == "padding side":  # which may be an operation of its own, and other lines say by how much
        sites = {
            side: next((site for site in regions[side] if "pad" in site.operation), site)
            for side, site in sites.items()
        }
    fault = Fault(
        kind=_kind(state, t, j),
        phase=state.phase,
        **sites,
        goes_on={
            place.side: site
            for place in places
            if not place.is_lost and (site := taker(place.trace, place.lost, place.value))
        },
        region=regions,
        ancestors=_ancestors(*places),
        local=gap(laid, there).absolute,
        accumulated=gap(laid, there if original is None else number(original)).absolute,
        scale=float(np.abs(laid).max(initial=0.0, where=np.isfinite(laid))),
        places=len(puts),
        left=laid,
        right=there,
        steps=steps,
        given=given,
        ends={place.side: place.value for place in places},
        takers={place.side: takers(place.trace, given[place.side]) for place in places},
        cause=named,
        evidence=evidence,
    )
    return fault, puts


def _original(state: State, j: int) -> np.ndarray:
    """A functional value where nothing is put in its place."""
    at_hand = state.sides.original
    return at_hand[j] if j in at_hand else state.sides.values("functional", [j])[j]


def _kind(state: State, t: int, j: int) -> Kind:
    # An output that differs is lost even where the other side has its value on the way to its own.
    in_left = t in state.lefts.values and not len(state.forth[t])
    in_right = j in state.rights.values and not len(state.back[j])
    if in_left or in_right:
        return "another value" if in_left and in_right else "missing" if in_left else "extra"
    if j in state.forth[t]:
        return "another order"
    # Both sides have either value somewhere: which of them is computed of the other?
    above, below = state.left.above([t]), state.right.above([j])
    if any(p in above for p in state.back[j]):
        return "missing"
    return "extra" if any(p in below for p in state.forth[t]) else "another value"


def _steps(
    state: State, places: Iterable[Place]
) -> tuple[dict[str, tuple[Operation, ...]], dict[str, dict[int, np.ndarray]]]:
    """By side, what was carried out in the region, and the values that it was carried out on."""
    steps: dict[str, tuple[Operation, ...]] = {}
    given: dict[str, dict[int, np.ndarray]] = {}
    for place in places:
        made = dict.fromkeys(place.trace.values[v].operation for v in place.region)
        steps[place.side] = tuple(place.trace.operations[k] for k in made if k is not None)
        inside = {v for operation in steps[place.side] for v in operation.outputs}
        near = {v for operation in steps[place.side] for v in operation.inputs} - inside
        given[place.side] = state.have(place.side, near or {place.value})
    return steps, given


def _local(
    state: State,
    t: int,
    j: int,
    laid: np.ndarray,
    there: np.ndarray,
    steps: Mapping[str, tuple[Operation, ...]],
    given: Mapping[str, Mapping[int, np.ndarray]],
) -> Local:
    """What is known of a local difference; whatever is upstream of it has been made to agree."""
    made = [operation for side in steps.values() for operation in side]
    told = [number(array) for side in SIDES[::-1] for array in given[side].values()]
    if state.phase == "backward":  # a mask, or an output that was saved, is there for what it was made of
        for side, trace in (("functional", state.right), ("imperative", state.left)):
            above = {i for v in given[side] for i in trace.inputs(v)}
            told += map(number, state.have(side, above).values())
    numbers = [x for operation in made for x in operation.options.values() if isinstance(x, float)]
    return Local(
        laid,
        there,
        tuple(array for array in told if array.size > 1),
        (*numbers, *(float(array.ravel()[0]) for array in told if array.size == 1)),
        frozenset(o.name for o in (*made, state.left.made_by(t), state.right.made_by(j)) if o is not None),
        state.phase == "backward",
        float(max(state.told.budget[t], state.heard.budget[j])),
        _counts(state, t),
        tuple(_convolutions(state, j)) if state.phase == "forward" else (),
        wide=_widened(state, j, given["functional"]),
    )


def _widened(state: State, j: int, given: Mapping[int, np.ndarray]) -> np.ndarray | None:
    """What the functional side computes at ``j`` where nothing of it has fewer digits than float64."""
    made = {state.right.values[v].operation for v in state.right.above([j]) & state.rights.values}
    region = sorted(k for k in made if k is not None)
    changed = {k: wide for k in region if (wide := _wide(state.right.operations[k].options))}
    if not changed:
        return None
    whole = {v: a.astype(np.float64) if of_float(a) else a for v, a in given.items()}
    try:
        return number(dict(state.sides.replay(state.right, region, whole, changed))[j])
    except TypeError:  # of an operation that takes one dtype only
        return None


def _convolutions(state: State, j: int) -> Iterator[Convolution]:
    """The convolutions that a functional value is lost with."""
    for v in sorted(state.right.above([j]) & state.rights.values):
        index = state.right.values[v].operation
        if index is None or state.right.operations[index].name != "conv_general_dilated":
            continue
        operation: Operation = state.right.operations[index]
        told: Mapping[str, Any] = operation.options
        yield Convolution(
            tuple((before, after) for before, after in told["padding"]),
            tuple(told["window_strides"]),
            partial(_repadded, state, index, v, j),
        )


def _repadded(state: State, index: int, v: int, j: int, padding: object) -> np.ndarray:
    """What the functional side computes at ``j`` where the convolution of ``v`` has another padding."""
    steps, needed = state.between([v], j) if v != j else ([], set[int]())
    given = state.have("functional", needed | set(state.right.operations[index].inputs))
    changed = {index: {"padding": padding}}
    return number(dict(state.sides.replay(state.right, [index, *steps], given, changed))[j])


def _counts(state: State, t: int) -> frozenset[int]:
    """Over how many entries the operations before a value went, if it was one that makes them fewer."""
    made = {state.left.values[v].operation for v in state.left.above([t])}
    near = sorted(k for k in made if k is not None)[-REACH:]
    sizes = [
        (state.left.values[i].print.size, state.left.values[o].print.size)
        for k in near
        for i in state.left.operations[k].inputs
        for o in state.left.operations[k].outputs
    ]
    return frozenset(i // o for i, o in sizes if o and i > o and i % o == 0)


def _sites(state: State, left: Place, right: Place) -> tuple[Site, Site]:
    """The two operations that are to be named."""
    ours, theirs = (computing(place.trace, place.lost, place.value) for place in (left, right))
    if state.phase == "backward":
        # A share of a gradient that one side lacks is named by where it begins, and the side that lacks
        # it by what it computes in the forward there.
        if left.is_lost and not right.is_lost:
            ours, there = _beginning(left, right.trace)
            theirs = there or theirs
        elif right.is_lost and not left.is_lost:
            theirs, there = _beginning(right, left.trace)
            ours = there or ours
    return ours, theirs


def _beginning(place: Place, other: Trace) -> tuple[Site, Site | None]:
    """The first operation of a region, and what the other side computes at its line in the forward."""
    first = place.region[0]
    made = place.trace.made_by(first)
    site = site_of(place.trace, first)
    if made is None or not made.source.file:
        return site, None
    beside = [int(place.found[v][0]) for v in place.forward(first)]
    lines = [site_of(other, p) for p in beside]
    return site, next((line for line in reversed(lines) if line.source.file), None)


def _region(place: Place) -> tuple[Site, ...]:
    return tuple(site_of(place.trace, v) for v in place.region)


def _ancestors(left: Place, right: Place) -> tuple[tuple[Site, Site], ...]:
    """The nearest values that agree."""
    region = set(left.region or [left.value])
    near = dict.fromkeys(i for v in sorted(region) for i in left.trace.inputs(v) if i not in region)
    pairs = [(i, int(left.found[i][0])) for i in near if len(left.found[i])]
    return tuple(
        (
            site_of(left.trace, i),
            site_of(right.trace, p),
        )
        for i, p in pairs
    )


def _wide(options: Mapping[str, Any]) -> dict[str, np.dtype]:
    """The options of an equation that ask for fewer digits, asking for float64."""
    return {
        name: np.dtype(np.float64)
        for name in ("new_dtype", "preferred_element_type")
        if options.get(name) is not None
        and of_float(np.empty(0, options[name]))
        and options[name] != np.float64
    }
