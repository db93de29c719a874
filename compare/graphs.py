"""Lays two graphs beside each other: which nodes hold the same value, and why others have no twin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from compare.judge.precision import unit_roundoff
from compare.twins import graphs
from scenarios import Device, Dtype
from scenarios.graph import Graph, Node, Of


@dataclass(frozen=True, eq=False)
class Alignment:
    """Two graphs of one computation.

    Attributes:
        graphs: by side.
        twins: by side, from the name of a node to that of the one on the other side with the same value.
        alone: by side, why a node has no twin.
    """

    graphs: Mapping[str, Graph]
    twins: Mapping[str, Mapping[str, str]]
    alone: Mapping[str, Mapping[str, str]]


def drawn(name: str, of: Of = "forward", *, dtype: Dtype = "float64", device: Device = "cpu") -> Alignment:
    """The graphs of a scenario's loss on both sides, aligned.

    Args:
        name: of the scenario.
        of: ``forward``, or the ``gradient`` function.
        dtype: that it is evaluated in.
        device: that it is evaluated on.

    Raises:
        UnavailableError: there is no such scenario, or device.
        ValueError: a side records nothing.
    """
    both = graphs(name, of, dtype, device)
    return align(both["imperative"], both["functional"])


def align(left: Graph, right: Graph) -> Alignment:
    """Find for every node the one on the other side that holds the same value.

    Values are the same if they agree in half of the digits of the largest number that went into them, in
    whatever order their entries stand: that links what is meant to be equal, and judges nothing. Of several
    candidates the one with the same name, gradient and inputs is taken.
    """
    scales = {id(node): _scale(node, graph) for graph in (left, right) for node in graph.nodes}

    def same(node: Node, other: Node) -> bool:
        return _same(node, other, max(scales[id(node)], scales[id(other)]))

    forth: dict[str, str] = {}
    for node in left.nodes:
        candidates = [other for other in right.nodes if same(node, other)]
        if candidates:
            forth[node.name] = max(candidates, key=lambda other: _likeness(node, other, forth)).name
    back: dict[str, str] = {}
    for node in right.nodes:
        pairs = [name for name, twin in forth.items() if twin == node.name]
        candidates = [other for other in left.nodes if other.name in pairs or same(node, other)]
        if candidates:
            inverse = {twin: name for name, twin in reversed(list(forth.items()))}
            back[node.name] = max(
                candidates, key=lambda o: (o.name in pairs, *_likeness(node, o, inverse))
            ).name
    sides = {left.side: (left, right, forth), right.side: (right, left, back)}
    return Alignment(
        graphs={left.side: left, right.side: right},
        twins={side: twins for side, (_, _, twins) in sides.items()},
        alone={side: dict(_alone(graph, other, twins)) for side, (graph, other, twins) in sides.items()},
    )


def _scale(node: Node, graph: Graph) -> float:
    """The largest magnitude of a value and of what it was computed of, to which its rounding is relative."""
    values = [node.value, *(graph[name].value for name in node.inputs)]
    return max(
        (float(np.abs(v).max(initial=0, where=np.isfinite(v))) for v in values if v is not None), default=0.0
    )


def _same(node: Node, other: Node, scale: float) -> bool:
    """Whether two nodes hold the same value; leaves are told by their names."""
    if "leaf" in {node.kind, other.kind} and node.kind == other.kind:
        return node.name == other.name
    if "operation" not in {node.kind, other.kind} or node.value is None or other.value is None:
        return False
    return _equal(node.value, other.value, scale)


def _equal(left: np.ndarray | None, right: np.ndarray | None, scale: float = 0.0) -> bool:
    if left is None or right is None or left.size != right.size or left.dtype.kind != right.dtype.kind:
        return False
    if left.dtype.kind not in "fc":
        return np.array_equal(np.sort(left, axis=None), np.sort(right, axis=None))
    coarse = max(unit_roundoff(array.dtype) for array in (left, right))
    a, b = (np.sort(array, axis=None) for array in (left, right))
    with np.errstate(invalid="ignore"):
        apart, scale = np.abs(a - b), max(scale, np.abs(a).max(initial=0, where=np.isfinite(a)))
    return bool(np.all((apart <= np.sqrt(coarse) * scale) | (a == b) | (np.isnan(a) & np.isnan(b))))


def _likeness(node: Node, other: Node, found: Mapping[str, str]) -> tuple[bool, bool, int, bool]:
    """How much speaks for a pair besides its value."""
    inputs = {found.get(name) for name in node.inputs}
    shared = len(inputs.intersection(other.inputs))
    return node.name == other.name, _equal(node.gradient, other.gradient), shared, node.shape == other.shape


def _alone(graph: Graph, other: Graph, twins: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Why nodes have no twin, as far as it can be told."""
    consumers: dict[str, list[str]] = {}
    for tail, head in graph.edges:
        consumers.setdefault(tail, []).append(head)
    moving: set[str] = set()
    for node in graph.nodes:
        if node.kind == "leaf" or moving.intersection(node.inputs):
            moving.add(node.name)
    for node in graph.nodes:
        if node.name in twins:
            continue
        if node.kind == "constant":
            yield node.name, "a constant: a tape records none" if graph.side == "functional" else "a constant"
        elif node.value is None:
            yield node.name, "its value was not seen"
        elif node.name not in moving:
            yield node.name, "it depends on no leaf: a tape does not record it"
        else:
            whole = _whole(node.name, consumers, twins)
            part = " and ".join(
                dict.fromkeys(other[name].operation for name in whole if other[name].operation)
            )
            yield node.name, f"a part of {part}" if part else "the other side computes no such value"


def _whole(name: str, consumers: Mapping[str, list[str]], twins: Mapping[str, str]) -> list[str]:
    """The first nodes downstream that have twins, as the names of these."""
    whole: list[str] = []
    waiting, seen = list(consumers.get(name, ())), set()
    while waiting:
        head = waiting.pop(0)
        if head in seen:
            continue
        seen.add(head)
        if head in twins:
            whole.append(twins[head])
        else:
            waiting.extend(consumers.get(head, ()))
    return whole
