"""A computation as a graph: what a tape and a jaxpr both come down to, as plain data that can be drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Kind = Literal["leaf", "constant", "operation"]
Of = Literal["forward", "gradient"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation with the value that it computes, or a value that the computation starts from.

    Attributes:
        name: what the user calls the value, or a number behind a percent sign; the same whenever it is drawn.
        operation: in the framework's own word; empty for leaves and constants.
        kind: a leaf is what one differentiates by, a constant what one does not.
        inputs: names of the nodes whose values it takes, in order.
        shape: of the value; None where nothing is known of it.
        dtype: of the value; empty where nothing is known of it.
        value: what was computed; None where it was not seen.
        gradient: of the sum of the outputs with respect to the value; None where none flowed.
        kept: what the operation holds besides, by the framework's own name: tensors and numbers that are
            saved for the backward; parameters of an equation that are numbers.
        source: ``file.py:12``, the line of the user's that computed it; empty where it is not known.
        group: what it is a part of, the outermost first: modules, or functions that were called.
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


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed acyclic graph; edges follow the data.

    Attributes:
        side: ``imperative`` or ``functional``.
        of: ``forward``, or the ``gradient`` function.
        nodes: in the order of the data: inputs before what is computed of them.
        outputs: by the name of the output, the name of the node that computes it.
    """

    side: str
    of: Of
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]

    def __getitem__(self, name: str) -> Node:
        """The node called ``name``.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

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


def _line(node: Node) -> tuple[str, str]:
    what = f"{node.operation}({', '.join(node.inputs)})" if node.kind == "operation" else node.kind
    if node.kind == "constant" and node.value is not None and node.value.ndim == 0:
        what = f"{node.value:g}"
    shape = "" if node.shape is None else f"{node.dtype}[{','.join(map(str, node.shape))}]"
    return f"{node.name} = {what}", "  ".join(
        part for part in (shape, "/".join(node.group), node.source) if part
    )
