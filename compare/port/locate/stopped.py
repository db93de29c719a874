"""Gradients that one side holds back: let through at a line, what was wrong is right."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from compare.judge.trees import gap
from compare.port.locate.fault import STOPPING, Fault, Site, site_of
from compare.port.locate.follows import Told, followed
from compare.port.locate.sides import Puts
from compare.port.locate.state import State, number
from compare.port.mapping import SIDES, Side
from scenarios.trace import Source, Trace

#: The cause of a gradient that one side holds back.
STOPPED = "gradient stopped"

#: So many gradients are named.
_SHOWN = 3


def let_through(state: State, told: Told) -> State | None:
    """What is left where gradients that one side holds back are let through, if that makes more right.

    Args:
        state: what is left where they are not.
        told: the faults that are known.
    """
    for side in SIDES if state.wrong else ():
        lines = sorted(state.sides.stops[side].keys() - state.sides.through[side], key=str)
        for line in lines:
            if (after := _through(side, [line], state, told)) is not None:
                return after
        # Where one hides the other neither of them alone makes anything right.
        together = _through(side, lines, state, told) if lines[1:] else None
        if together is not None:
            return _fewest(side, lines, state, told, together)
    return None


def _fewest(side: Side, lines: Sequence[Source], state: State, told: Told, together: State) -> State:
    """The same with as few of these lines as make as much right."""
    chosen = list(lines)
    for line in lines:
        fewer = [other for other in chosen if other != line]
        same = _through(side, fewer, state, told)
        if same is not None and same.wrong == together.wrong:
            together, chosen = same, fewer
    return together


def _through(side: Side, lines: Collection[Source], state: State, told: Told) -> State | None:
    """What is left where gradients are let through at these lines; None unless that makes more right."""
    try:
        sides = state.sides.let_through(side, lines)
    except Exception:  # noqa: BLE001  # the user's function may need what it holds back
        return None
    puts: Puts | None = state.puts
    if side == "functional" and puts:
        puts = _moved(puts, state.right, sides.heard({})[0])
    if puts is None:
        return None
    after = followed(sides, puts, told)
    # What is differentiated within the forward itself may be stopped too.
    mended = state.phase == "forward" and after.phase == "backward"
    return after if mended or set(after.wrong) < set(state.wrong) else None


def held(before: State, after: State) -> Iterator[Fault]:
    """The gradients that are let through in the second of two states, and held back in the first."""
    mended = [name for name in before.wrong if name not in after.wrong]
    for side in SIDES:
        for line in sorted(after.sides.through[side] - before.sides.through[side], key=str):
            yield _held(side, line, before, after, mended)


def _held(side: Side, line: Source, before: State, after: State, mended: Sequence[str]) -> Fault:
    word = after.sides.stops[side][line]
    paths = [n for name in mended for n in after.sides.counterparts[name]]
    names, both = (
        (mended, (before.sides.outputs, after.sides.outputs))
        if side == "imperative"
        else (paths, (after.outputs, before.outputs))
    )
    most = max(names, key=lambda name: gap(*(arrays[name] for arrays in both)).absolute)
    left, right = (number(arrays[most]) for arrays in both)
    difference = gap(left, right).absolute
    ends = {"imperative": before.left.outputs[mended[0]], "functional": before.right.outputs[paths[0]]}
    own, there = _sites(side, line, before, ends)
    sites = {side: replace(own, operation=word, value="", source=line), SIDES[side == SIDES[0]]: there}
    some = ", ".join(mended[:_SHOWN]) + (f" and {len(mended) - _SHOWN} more" if mended[_SHOWN:] else "")
    return Fault(
        kind="stopped",
        phase=before.phase,
        imperative=sites["imperative"],
        functional=sites["functional"],
        region={name: (site,) for name, site in sites.items()},
        local=difference,
        accumulated=difference,
        scale=float(np.abs(left).max(initial=0.0, where=np.isfinite(left))),
        left=left,
        right=right,
        ends=ends,
        cause=STOPPED,
        evidence=f"without {word} there, {some} agree{'s' * (len(mended) == 1)}",
    )


def _sites(side: Side, line: Source, state: State, ends: Mapping[str, int]) -> tuple[Site, Site]:
    """What a line that stops a gradient computes, and the other side there; else one of these ends."""
    trace, found, other, end = (
        (state.left, state.forth, state.right, ends["functional"])
        if side == "imperative"
        else (state.right, state.back, state.left, ends["imperative"])
    )
    here = [o for o in trace.operations if o.source == line and o.outputs and o.outputs[0] in trace.forward]
    here = [o for o in here if o.name in STOPPING] or here
    beside = [int(found[o.outputs[0]][0]) for o in here if len(found[o.outputs[0]])]
    sites = [site_of(other, v) for v in (end, *beside)]
    there = next((site for site in reversed(sites) if site.source.file), sites[0])
    return site_of(trace, here[0].outputs[0]) if here else there, there


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
