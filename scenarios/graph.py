"""A computation as a graph: what a tape and a jaxpr both come down to, as plain data that can be drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import ClassVar, Literal

import numpy as np

Kind = Literal["leaf", "constant", "operation", "several", "outside"]

#: A drawing with more nodes or edges than these shows nothing to anybody, and takes long to lay out.
MOST_NODES, MOST_EDGES = 300, 900

#: Letters of a line in a drawing.
WIDTH = 48

# By kind: told apart without colours.
_SHAPES = {
    "leaf": ", style=rounded",
    "constant": ", shape=plaintext",
    "operation": "",
    "several": ", peripheries=2",
    "outside": ", shape=plaintext",
}
Of = Literal["forward", "gradient"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation with the value that it computes, or a value that the computation starts from.

    Attributes:
        name: what the user calls the value, or a number behind a percent sign; the same whenever it is drawn.
        operation: in the framework's own word; empty for leaves and constants.
        kind: a leaf is what one differentiates by, a constant what one does not; ``several`` stands for nodes
            that are drawn as one, ``outside`` for a value that is not a part of what is drawn.
        inputs: names of the nodes whose values it takes, in order.
        shape: of the value; None where nothing is known of it.
        dtype: of the value; empty where nothing is known of it.
        value: what was computed; None where it was not seen.
        gradient: of the sum of the outputs with respect to the value; None where none flowed.
        kept: what the operation holds besides, by the framework's own name: tensors and numbers that are
            saved for the backward; parameters of an equation that are numbers.
        source: ``file.py:12``, the line of the user's that computed it; empty where it is not known.
        group: what it is a part of, the outermost first: modules, or functions that were called.
        members: the nodes that it stands for, if it stands for several.
    """

    name: str
    operation: str
    kind: Kind
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    value: np.ndarray | None = None
    gradient: np.ndarray | None = None
    kept: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: str = ""
    group: tuple[str, ...] = ()
    members: tuple["Node", ...] = ()


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed acyclic graph; edges follow the data.

    Attributes:
        side: ``imperative`` or ``functional``.
        of: ``forward``, or the ``gradient`` function.
        nodes: in the order of the data: inputs before what is computed of them.
        outputs: by the name of the output, the name of the node that computes it.
    """

    STYLE: ClassVar[str] = (
        '  node [shape=box, fontname="Helvetica", fontsize=11, margin="0.15,0.06"];\n  edge [arrowsize=0.7];'
    )

    side: str
    of: Of
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]

    def __getitem__(self, name: str) -> Node:
        """The node called ``name``.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def identifiers(self, prefix: str) -> dict[str, str]:
        """By the name of a node, and of every one that is drawn within another, what the drawing calls it."""
        return {
            member.name: f"{prefix}{k}"
            for k, node in enumerate(self.nodes)
            for member in (*node.members, node)
        }

    @property
    def edges(self) -> Iterator[tuple[str, str]]:
        """From a node to one that takes its value; twice where it takes it twice."""
        return ((tail, node.name) for node in self.nodes for tail in node.inputs)

    def text(self) -> str:
        """The graph in plain text: a line for each node, without values, and the outputs."""
        lines = [_line(node) for node in self.nodes]
        width = max((len(left) for left, _ in lines), default=0)
        told = [f"{left:{width}}  {right}".rstrip() for left, right in lines]
        return "\n".join(
            [*told, *(f"{name} is {node}" for name, node in self.outputs.items() if name != node)]
        )

    def __str__(self) -> str:
        """The same as :meth:`text`."""
        return self.text()

    def collapsed(self, nodes: int = MOST_NODES, edges: int = MOST_EDGES) -> "Graph":
        """The graph with nodes drawn as one until there are no more than so many nodes and edges.

        What belongs to one group goes together first, the innermost groups before the outer ones; then
        neighbours in the order of the data.
        """
        first = sorted(
            self.nodes, key=lambda node: node.kind == "operation"
        )  # what has no inputs parts no group
        graph = replace(self, nodes=tuple(first))
        for depth in range(max((len(node.group) for node in self.nodes), default=0), 0, -1):
            if graph.small(nodes, edges):
                break
            graph = _merged(graph, [n.group[:depth] if len(n.group) >= depth else () for n in graph.nodes])
        while not graph.small(nodes, edges) and len(graph.nodes) > 1:
            graph = _merged(graph, [(f"%{k // 2}",) for k in range(len(graph.nodes))], named=False)
        return graph

    def small(self, nodes: int = MOST_NODES, edges: int = MOST_EDGES) -> bool:
        """Whether it has no more than so many nodes and different edges."""
        return len(self.nodes) <= nodes and len(set(self.edges)) <= edges

    def dot(self, prefix: str = "n") -> str:
        """The graph in Graphviz's language, collapsed if it is large."""
        return f"digraph {{\n{self.STYLE}\n{self.fitting().statements(prefix)}\n}}\n"

    def fitting(self) -> "Graph":
        """The graph as it can be drawn: collapsed if it is large."""
        return self if self.small() else self.collapsed()

    def opened(self, node: Node) -> "Graph":
        """What a node stands for, as a graph of its own; with what comes in from outside."""
        inside = {member.name for member in node.members}
        outside = dict.fromkeys(n for m in node.members for n in m.inputs if n not in inside)
        stubs = tuple(Node(name, "", "outside") for name in outside)
        return Graph(self.side, self.of, (*stubs, *node.members), {})

    def statements(self, prefix: str = "n") -> str:
        """Its nodes, called ``prefix0``, ``prefix1`` and so on, and its edges, in Graphviz's language."""
        index = self.identifiers(prefix)
        keyed = [(index[node.name], node) for node in self.nodes]
        lines = [
            f'  "{key}" [id="{key}", class="{node.kind}", label="{_label(node)}"{_SHAPES[node.kind]}];'
            for key, node in keyed
        ]
        edges = [f'  "{index[tail]}" -> "{index[head]}";' for tail, head in dict.fromkeys(self.edges)]
        return "\n".join([*lines, *edges])

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        from scenarios.layout import layout, svg  # noqa: PLC0415  # a runtime of its own, for whoever looks

        return svg(layout(self.dot()))


def _merged(graph: Graph, keys: list[tuple[str, ...]], *, named: bool = True) -> Graph:
    """Neighbours with the same key as one; only neighbours, since then no cycle can arise."""
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for key, run in groupby(zip(keys, graph.nodes, strict=True), lambda pair: pair[0]):
        few = [node for _, node in run]
        alone = not key or len(few) == 1
        nodes += few if alone else [_several(few, key if named else ())]
        names |= {node.name: (node if alone else few[-1]).name for node in few}
    return replace(
        graph,
        nodes=tuple(replace(node, inputs=tuple(names[name] for name in node.inputs)) for node in nodes),
        outputs={name: names[node] for name, node in graph.outputs.items()},
    )


def _several(nodes: list[Node], group: tuple[str, ...]) -> Node:
    """One node for several, with the value of the last and all that comes in from outside."""
    members = tuple(member for node in nodes for member in (node.members or (node,)))
    inside = {node.name for node in nodes}
    what = group[-1] if group else f"{members[0].name} to {members[-1].name}"
    return replace(
        nodes[-1],
        operation=f"{what}: {len(members)} nodes",
        kind="several",
        inputs=tuple(dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside)),
        kept={},
        source="",
        group=group[:-1],
        members=members,
    )


def _label(node: Node) -> str:
    """What a drawing says of a node: its name, what it does, and the type of its value."""
    unnamed = node.operation and node.name.startswith("%")
    lines = [f"{node.name} = {node.operation}"] if unnamed else [node.name, node.operation]
    if node.kind == "constant" and node.value is not None and node.value.ndim == 0:
        lines = [f"{node.value.item():g}"]
    elif node.shape is not None:
        lines.append(f"{node.dtype}[{','.join(map(str, node.shape))}]")
    told = ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines if line]
    short = [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in told]
    return "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in short)


def _line(node: Node) -> tuple[str, str]:
    what = f"{node.operation}({', '.join(node.inputs)})" if node.operation else node.kind
    if node.kind == "constant" and node.value is not None and node.value.ndim == 0:
        what = f"{node.value.item():g}"
    shape = "" if node.shape is None else f"{node.dtype}[{','.join(map(str, node.shape))}]"
    return f"{node.name} = {what}", "  ".join(
        part for part in (shape, "/".join(node.group), node.source) if part
    )
