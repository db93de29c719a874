"""What is told of a place where two ports part."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from compare.port.alignment import Lost
from compare.port.mapping import SIDES
from scenarios.trace import Operation, Source, Trace

#: No more faults than these are looked for in one pair.
MOST_FAULTS = 32

#: The operations that hold gradients back.
STOPPING = frozenset({"detach", "stop_gradient"})

#: Operations that leave a value as it is, unless they make it one of another dtype.
_COPIES = frozenset(
    {"to", "_to_copy", "convert_element_type", "clone", "copy", "prims.clone", "alias", *STOPPING}
)

#: What cotangents are added up by.
SUMS = frozenset({"add", "add_", "add_any", "prims.add"})

Phase = Literal["forward", "backward"]
Kind = Literal["another value", "missing", "extra", "another order", "stopped"]


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


@dataclass(frozen=True, eq=False, kw_only=True)
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
    goes_on: Mapping[str, Site] = field(default_factory=dict)
    region: Mapping[str, tuple[Site, ...]]
    ancestors: tuple[tuple[Site, Site], ...] = ()
    local: float
    accumulated: float
    scale: float
    places: int = 1
    left: np.ndarray
    right: np.ndarray
    steps: Mapping[str, tuple[Operation, ...]] = field(default_factory=lambda: dict.fromkeys(SIDES, ()))
    given: Mapping[str, Mapping[int, np.ndarray]] = field(
        default_factory=lambda: {side: {} for side in SIDES}
    )
    ends: Mapping[str, int]
    takers: Mapping[str, frozenset[Source]] = field(default_factory=dict)
    cause: str = ""
    evidence: str = ""


def taker(trace: Trace, missing: Lost, value: int) -> Site | None:
    """The first operation that takes a value and is lost."""
    for index in trace.consumers[value]:
        operation = trace.operations[index]
        for output in operation.outputs:
            if output in missing.values:
                return site_of(trace, output)
    return None


def takers(trace: Trace, values: Iterable[int]) -> frozenset[Source]:
    """The lines that take values, as far as they are known."""
    taken = (trace.operations[index].source for value in values for index in trace.consumers[value])
    return frozenset(source for source in taken if source.file)


def computing(trace: Trace, missing: Lost, value: int) -> Site:
    """The operation that computes a value; of one that was given, the first that takes it and is lost."""
    made = trace.made_by(value)
    while made is not None and made.name in _COPIES and trace.made_by(made.inputs[0]) is not None:
        told, before = trace.values[value], trace.values[made.inputs[0]]
        if (told.shape, told.dtype) != (before.shape, before.dtype):
            break
        value = made.inputs[0]
        made = trace.made_by(value)
    takes = taker(trace, missing, value) if made is None else None
    return takes or site_of(trace, value)


def site_of(trace: Trace, value: int) -> Site:
    """The operation that computes a value."""
    made = trace.made_by(value)
    told = trace.values[value]
    if made is None:
        return Site("", told.name, Source(), (), told.shape, told.dtype)
    return Site(made.name, told.name, made.source, made.group, told.shape, told.dtype)


def source_of(trace: Trace, value: int) -> Source:
    """The line that computes a value, if one is known."""
    made = trace.made_by(value)
    return Source() if made is None else made.source
