"""Finds the operations at which two ports part: where what goes in agrees, and what comes out does not.

Both sides are recorded, and their values told by fingerprints. Of what leads to an output that differs, only
what has no partner is lost; an operation of which the inputs have partners and the output has none may be
the culprit, or a step that the other side takes otherwise. The proof decides: the imperative side's value is
put in the place of the functional side's, and what follows must then agree. If it does, the value stays
there, and the search goes on with what differs still: one run finds faults that have nothing to do with each
other.
"""

from collections.abc import Iterator

from compare.port.locate.fault import MOST_FAULTS, Fault, Site
from compare.port.locate.follows import Told, followed
from compare.port.locate.search import first_fault
from compare.port.locate.sides import Puts, Sides
from compare.port.locate.state import State
from compare.port.locate.stopped import held, let_through

__all__ = ["Fault", "Sides", "Site", "faults"]

#: So many in a row that follow from others end the search of the backward.
_FOLLOWING = 3


def faults(sides: Sides) -> Iterator[Fault]:
    """All that can be told apart, in the order of the data, those of the forward first."""
    puts, told, following = Puts(), Told(), 0
    for _ in range(MOST_FAULTS):
        state = followed(sides, puts, told)
        if (after := let_through(state, told)) is not None:
            yield from held(state, after)
            sides, puts, following = after.sides, after.puts, 0
            continue
        found = first_fault(state) if state.wrong else None
        if found is None:
            return
        puts = state.puts
        if sides.open(_hiding(state, found[0])):
            finer = first_fault(State(sides, puts))
            if finer is not None and _better(finer[0], found[0], state):
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


def _hiding(state: State, fault: Fault) -> set[str]:
    """The operations that may hide where a fault is: those in it, and those that take what it makes."""
    after = state.left.consumers[fault.ends["imperative"]] if state.odd else ()
    return {
        *(site.operation for site in fault.region["imperative"]),
        *(state.left.operations[index].name for index in after),
    }


def _better(finer: Fault, fault: Fault, state: State) -> bool:
    """Whether a fault lies upstream of another one, and does not leave its cause unsaid."""
    upstream = finer.ends["functional"] in state.right.above([fault.ends["functional"]])
    return upstream and bool(finer.cause or not fault.cause)
