"""Lays two graphs beside each other: which nodes hold the same value, and why others have no twin."""

from collections.abc import Collection, Iterator, Mapping
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

    Values are the same if they agree in half of the digits of the largest number that went into them, entry
    by entry, transposed, or, where the shapes differ, in whatever order their entries stand: that links what
    is meant to be equal, and judges nothing. Of several candidates the one with the same name, gradient,
    shape and inputs is taken. A node whose value was not seen is told by its gradient and by what it takes.
    """
    entries = {id(n): _entries(n, graph) for graph in (left, right) for n in graph.nodes}
    forth = _found(left, right, entries, {})
    back = _found(right, left, entries, {twin: name for name, twin in reversed(list(forth.items()))})
    sides = {left.side: (left, right, forth), right.side: (right, left, back)}
    return Alignment(
        graphs={left.side: left, right.side: right},
        twins={side: twins for side, (_, _, twins) in sides.items()},
        alone={side: dict(_alone(graph, other, twins)) for side, (graph, other, twins) in sides.items()},
    )


@dataclass(frozen=True)
class _Entries:
    """What a value is recognised by: its entries, and the largest number that went into it."""

    value: np.ndarray | None
    gradient: np.ndarray | None
    scale: float


def _entries(node: Node, graph: Graph) -> _Entries:
    inputs = [graph[name].value for name in node.inputs]
    scale = max((_largest(array) for array in (node.value, *inputs) if array is not None), default=0.0)
    return _Entries(node.value, node.gradient, scale)


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0, where=np.isfinite(array)))


def _found(
    graph: Graph, other: Graph, entries: Mapping[int, _Entries], reverse: Mapping[str, str]
) -> dict[str, str]:
    """The twins of the nodes of a graph; ``reverse`` holds those that the other graph's nodes have chosen."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        inputs = {found[name] for name in node.inputs if name in found}
        candidates = [
            o
            for o in other.nodes
            if reverse.get(node.name) == o.name
            or _same(node, o, entries)
            or _unseen(node, o, entries, {*o.inputs} & inputs)
        ]
        if candidates:
            found[node.name] = max(candidates, key=lambda o: _likeness(node, o, entries, found, reverse)).name
    return found


def _same(node: Node, other: Node, entries: Mapping[int, _Entries]) -> bool:
    """Whether two nodes hold the same value; leaves are told by their names."""
    if node.kind == other.kind == "leaf":
        return node.name == other.name
    left, right = entries[id(node)], entries[id(other)]
    operated = "operation" in {node.kind, other.kind}
    return operated and _equal(left.value, right.value, max(left.scale, right.scale))


def _unseen(node: Node, other: Node, entries: Mapping[int, _Entries], shared: Collection[str]) -> bool:
    """Whether two operations, of which one's value was not seen, take the same and have the same gradient."""
    left, right = entries[id(node)], entries[id(other)]
    one_sided = (left.value is None) != (right.value is None)
    alike = node.kind == other.kind == "operation" and bool(shared) and node.shape == other.shape
    return one_sided and alike and _equal(left.gradient, right.gradient)


def _equal(left: np.ndarray | None, right: np.ndarray | None, scale: float = 0.0) -> bool:
    """Whether two arrays hold the same numbers, in one of the orders in which that is no coincidence."""
    if left is None or right is None or left.size != right.size or left.dtype.kind != right.dtype.kind:
        return False
    if left.shape != right.shape:
        return _agree(np.sort(left, axis=None), np.sort(right, axis=None), scale)
    return _agree(left, right, scale) or (left.T.shape == right.shape and _agree(left.T, right, scale))


def _agree(left: np.ndarray, right: np.ndarray, scale: float) -> bool:
    """Whether two arrays agree in half of the digits of their largest number, or of ``scale``."""
    if left.dtype.kind not in "fc":
        return np.array_equal(left, right)
    coarse = np.sqrt(max(unit_roundoff(array.dtype) for array in (left, right)))
    with np.errstate(invalid="ignore"):
        apart = np.abs(left - right)
    near = apart <= coarse * max(scale, _largest(left))
    return bool(np.all(near | (left == right) | (np.isnan(left) & np.isnan(right))))


def _likeness(
    node: Node,
    other: Node,
    entries: Mapping[int, _Entries],
    found: Mapping[str, str],
    reverse: Mapping[str, str],
) -> tuple[bool, bool, bool, bool, int]:
    """How much speaks for a pair besides its value."""
    inputs = {found.get(name) for name in node.inputs}
    return (
        reverse.get(node.name) == other.name,
        node.name == other.name and not node.name.startswith("%"),  # a number is no name
        _equal(entries[id(node)].gradient, entries[id(other)].gradient),
        node.shape == other.shape,
        len(inputs.intersection(other.inputs)),
    )


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
            yield (
                node.name,
                "a constant: it is no node of a tape" if graph.side == "functional" else "a constant",
            )
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
