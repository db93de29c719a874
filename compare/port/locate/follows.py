"""What follows from the faults that are told already, and is none of its own."""

from itertools import islice, product

from compare.port.locate.fault import MOST_FAULTS, SUMS, Fault, Kind, source_of
from compare.port.locate.sides import Puts, Sides
from compare.port.locate.state import CONVINCED, REACH, State
from compare.port.mapping import SIDES, Side
from scenarios.trace import Source


class Told:
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
            if site.operation in SUMS and site.source in self.shared[more[fault.kind]]:
                return True
        for place, side in enumerate(SIDES):
            sites = [*fault.region[side], getattr(fault, side)]
            if self.moved:  # what was at other places was differentiated there
                sites += [pair[place] for pair in fault.ancestors]
            if any(site.source.file and site.source in self.wrong[side] for site in sites):
                return True
        return False


def followed(sides: Sides, puts: Puts, told: Told) -> State:
    """What is left where values are put, and where the lines that are wrong are differentiated."""
    state = State(sides, puts)
    for _ in range(MOST_FAULTS):
        more = _following(state, told)
        if not more:
            break
        state = State(sides, {**state.puts, **more})
    return state


def _following(state: State, told: Told) -> Puts:
    """What to put where lines that are wrong in the forward are differentiated, if that mends it."""
    if state.phase == "forward":
        return {}
    pairs = [
        (t, j)
        for line, other in told.differentiated
        for t in sorted(v for v in state.lefts.values if source_of(state.left, v) == line)
        for j in sorted(v for v in state.rights.values if source_of(state.right, v) == other)
        if line.file and other.file and j not in state.puts
    ]
    # Where a line does much, what is wrong in it is searched for as elsewhere.
    for t, j, laid, (agreeing, _) in islice(state.tried(pairs), REACH**2):
        if agreeing >= CONVINCED:
            return {j: laid, **state.elsewhere(t, j)}
    return {}
