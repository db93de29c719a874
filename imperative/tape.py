"""Reads the tape: the ``grad_fn`` nodes that running a computation recorded."""

from collections.abc import Mapping

import torch
from torch.autograd.graph import Node


def walk(output: torch.Tensor, leaves: Mapping[str, torch.Tensor]) -> str:
    """The tape from ``output`` back to its leaves, as nested operations: ``sub(pow(a), mul(b))``.

    Args:
        output: a tensor with a ``grad_fn``.
        leaves: the leaf tensors by the name to show.

    Raises:
        ValueError: ``output`` has no tape.
        KeyError: the walk ends at a leaf without a name.
    """
    names = {id(tensor): name for name, tensor in leaves.items()}

    def describe(node: Node) -> str:
        if (leaf := variable(node)) is not None:
            return names[id(leaf)]
        return f"{operation(node)}({', '.join(describe(child) for child in children(node))})"

    return describe(root(output))


def native(output: torch.Tensor) -> str:
    """The same walk in PyTorch's own words, breadth first, one node and its children a clause."""
    clauses, queue = [], [root(output)]
    while queue:
        node = queue.pop(0)
        below = children(node)
        if below:
            clauses.append(f"{node.name()} → {', '.join(child.name() for child in below)}")
        queue.extend(below)
    return "; ".join(clauses).replace("torch::autograd::", "")


def root(output: torch.Tensor) -> Node:
    """The node that computed ``output``.

    Raises:
        ValueError: nothing was recorded for it.
    """
    if output.grad_fn is None:
        raise ValueError("this tensor has no grad_fn: it is a leaf, or no input of it requires a gradient.")
    return output.grad_fn


def children(node: Node) -> list[Node]:
    """The nodes that ``node`` hands its gradients to; constants have none."""
    return [child for child, _ in node.next_functions if child is not None]


def variable(node: Node) -> torch.Tensor | None:
    """The leaf that an ``AccumulateGrad`` node adds gradients to; None for every other node."""
    return getattr(node, "variable", None)


def operation(node: Node) -> str:
    """``PowBackward0`` → ``pow``."""
    return node.name().rstrip("0123456789").removesuffix("Backward").lower()
