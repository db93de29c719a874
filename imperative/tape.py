"""Reads the tape: the ``grad_fn`` nodes that running a computation recorded."""

import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from scenarios import graph
from scenarios.graph import Graph, Of

# Whose frames are not the user's.
_OURS = (*(str(Path(str(module.__file__)).parent) for module in (torch, jaxtyping)), __file__)


def draw(
    target: Tensor | Callable[..., Any],
    *arguments: Any,  # noqa: ANN401  # whatever the function takes
    of: Of = "forward",
    names: Mapping[Tensor, str] | None = None,
    **options: Any,  # noqa: ANN401
) -> Graph:
    """The tape as a graph, with the gradients that flow through it; no ``.grad`` is changed.

    Args:
        target: a tensor with a tape; or a function or module, which is run on the arguments and watched. Of
            what was not watched, only the values of leaves and of what operations saved are known.
        arguments: of the function.
        of: ``forward``, or ``gradient``: the tape of the backward, recorded in its turn.
        names: of tensors, beside those of parameters and arguments: ``{a: "a", b: "b"}``.
        options: of the function.

    Raises:
        ValueError: nothing was recorded, or it has been freed and the gradient cannot be recorded any more.
    """
    named = dict(_inputs(target, arguments, options)) | dict(names or {})
    watch = _Watch()
    if isinstance(target, Tensor):
        results = {named.get(target, "output"): target}
    else:
        with watch:
            results = dict(_tensors(target(*arguments, **options), "output"))
    outputs = {named.get(t, name): t for name, t in results.items() if t.requires_grad}
    if all(tensor.is_leaf for tensor in outputs.values()):
        raise ValueError("nothing was recorded: the result is a leaf, or no input requires a gradient.")
    seen = watch.seen
    if of == "gradient":
        outputs, flowing = _differentiated(outputs, named)
        seen = flowing | seen
    order = _order([root(tensor) for tensor in outputs.values()])
    names_of = {
        id(root(t)): n for n, t in (*((n, t) for t, n in named.items() if t.grad_fn), *outputs.items())
    }
    return _graph(order, outputs, seen, _flowed(outputs.values(), order), _Names(named, names_of), of)


@dataclass(frozen=True)
class _Seen:
    """What was seen of a node when it was recorded."""

    value: Tensor
    source: str = ""
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Names:
    """What the user calls leaves, by the tensor, and what nodes compute, by their identity."""

    leaves: Mapping[Tensor, str]
    nodes: Mapping[int, str]


class _Watch(TorchFunctionMode):
    """Notes of every node that is recorded what it computed, at which line, within which modules."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[Node, _Seen] = {}
        self.modules: list[tuple[nn.Module, str]] = []

    def __enter__(self) -> "_Watch":
        self.hooks = [
            register_module_forward_pre_hook(lambda module, _: self._begin(module)),
            register_module_forward_hook(lambda *_: self._end(), always_call=True),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]  # it carries no types
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # it carries no types
        for hook in self.hooks:
            hook.remove()

    def _begin(self, module: nn.Module) -> None:
        above = self.modules[-1][0].named_children() if self.modules else ()
        name = next((n for n, child in above if child is module), type(module).__name__)
        self.modules.append((module, name))

    def _end(self) -> None:
        self.modules.pop()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the function returns
        result = func(*args, **(kwargs or {}))
        for _, tensor in _tensors(result, ""):
            if tensor.grad_fn is not None and tensor.grad_fn not in self.seen:
                group = tuple(name for _, name in self.modules)
                self.seen[tensor.grad_fn] = _Seen(tensor.detach().clone(), _line(), group)
        return result


def _line() -> str:
    """The line of the user's that is running."""
    frame = sys._getframe()  # noqa: SLF001  # inspect.stack reads the source of every frame
    while frame.f_back is not None:
        frame = frame.f_back
        if not frame.f_code.co_filename.startswith(_OURS):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    return ""


def _tensors(tree: object, name: str, *, root: bool = True) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a tree of mappings and sequences: ``{"a": (x, y)}`` has ``a[0]`` and ``a[1]``."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _tensors(branch, str(key) if root else f"{name}.{key}", root=False)
    elif isinstance(tree, tuple | list):
        for index, branch in enumerate(tree):
            yield from _tensors(branch, f"{name}[{index}]", root=False)


def _inputs(
    target: object, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Iterator[tuple[Tensor, str]]:
    """Parameters and arguments, and what they are called."""
    if isinstance(target, nn.Module):
        yield from ((tensor, name) for name, tensor in target.named_parameters())
    if not callable(target) or isinstance(target, Tensor):
        return
    try:
        bound = inspect.signature(target.forward if isinstance(target, nn.Module) else target).bind(
            *arguments, **options
        )
        given: Mapping[str, Any] = bound.arguments
    except (TypeError, ValueError):  # a function that Python knows no signature of, or one that will raise
        given = {f"argument {index}": argument for index, argument in enumerate(arguments)} | dict(options)
    for name, argument in given.items():
        # Arguments that are trees, or modules, are known by what is in them.
        module = isinstance(argument, nn.Module)
        found = argument.named_parameters() if module else _tensors(argument, name)
        yield from ((tensor, called) for called, tensor in found)


def _order(roots: Sequence[Node]) -> list[Node]:
    """Every node of the tape, inputs first."""
    order: list[Node] = []
    found: set[Node] = set()
    waiting = [(node, False) for node in reversed(roots)]
    while waiting:
        node, complete = waiting.pop()
        if complete:
            order.append(node)
        elif node not in found:
            found.add(node)
            waiting.append((node, True))
            waiting.extend((child, False) for child in reversed(children(node)))
    return order


def _flowed(outputs: Collection[Tensor], order: Sequence[Node]) -> dict[Node, Tensor]:
    """The gradient that reaches every node from the sum of the outputs; none if the tape has been freed."""
    flowed: dict[Node, Tensor] = {}

    def keep(node: Node) -> Callable[[tuple[Tensor | None, ...]], None]:
        def hook(gradients: tuple[Tensor | None, ...]) -> None:
            for gradient in gradients:
                if gradient is not None:
                    flowed[node] = gradient.detach().clone()

        return hook

    leaves = {node: leaf for node in order if (leaf := variable(node)) is not None}
    hooks = [node.register_prehook(keep(node)) for node in order if node not in leaves]
    try:
        found = torch.autograd.grad(
            list(outputs),
            list(leaves.values()),
            [torch.ones_like(output) for output in outputs],
            retain_graph=True,
            allow_unused=True,
        )
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        return {}
    finally:
        for hook in hooks:
            hook.remove()
    return flowed | {node: g for node, g in zip(leaves, found, strict=True) if g is not None}


def _differentiated(
    outputs: Mapping[str, Tensor], named: Mapping[Tensor, str]
) -> tuple[dict[str, Tensor], dict[Node, _Seen]]:
    """The gradients of the sum of the outputs, as outputs of a tape of their own, and what was seen of it."""
    seen: dict[Node, _Seen] = {}

    def hook(gradients: tuple[Tensor | None, ...], _: tuple[Tensor | None, ...]) -> None:
        for gradient in gradients:
            if gradient is not None and gradient.grad_fn is not None:
                seen.setdefault(gradient.grad_fn, _Seen(gradient.detach().clone()))

    order = _order([root(tensor) for tensor in outputs.values()])
    leaves = [leaf for node in order if (leaf := variable(node)) is not None]
    hooks = [node.register_hook(hook) for node in order if variable(node) is None]
    try:
        found = torch.autograd.grad(
            list(outputs.values()),
            leaves,
            [torch.ones_like(output) for output in outputs.values()],
            create_graph=True,
            allow_unused=True,
        )
    finally:
        for each in hooks:
            each.remove()
    slopes = {
        f"d{named.get(leaf, f'leaf {k}')}": g
        for k, (leaf, g) in enumerate(zip(leaves, found, strict=True))
        if g is not None
    }
    recorded = {name: slope for name, slope in slopes.items() if slope.grad_fn is not None}
    if not recorded:
        raise ValueError("the gradient is constant: no tape is recorded of it.")
    # What several ways add up to is no node's share of it.
    return recorded, seen | {root(slope): _Seen(slope.detach().clone()) for slope in recorded.values()}


def _graph(
    order: Sequence[Node],
    outputs: Mapping[str, Tensor],
    seen: Mapping[Node, _Seen],
    flowed: Mapping[Node, Tensor],
    names: _Names,
    of: Of,
) -> Graph:
    called: dict[Node, str] = {}
    nodes = []
    for index, node in enumerate(order):
        leaf = variable(node)
        known = names.nodes.get(id(node)) if leaf is None else names.leaves.get(leaf)
        called[node] = known if known and known not in called.values() else f"%{index}"
        note = seen.get(node)
        value = leaf.detach() if leaf is not None else note.value if note else _result(node)
        flow = flowed.get(node)
        like = value if value is not None else flow
        nodes.append(
            graph.Node(
                name=called[node],
                operation="" if leaf is not None else node.name().removeprefix("torch::autograd::"),
                kind="operation" if leaf is None else "leaf",
                inputs=tuple(called[child] for child in children(node)),
                shape=None if like is None else tuple(like.shape),
                dtype="" if like is None else str(like.dtype).removeprefix("torch."),
                value=_array(value),
                gradient=_array(flow),
                kept=dict(_saved(node)),
                source=note.source if note else "",
                group=note.group if note else (),
            )
        )
    return Graph(
        "imperative", of, tuple(nodes), {name: called[root(tensor)] for name, tensor in outputs.items()}
    )


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().cpu().resolve_conj().numpy().copy()


def _result(node: Node) -> Tensor | None:
    """The value of a node that saved it."""
    try:
        result = getattr(node, "_saved_result", None)
    except RuntimeError:  # it has been freed
        return None
    return result if isinstance(result, Tensor) else None


def _saved(node: Node) -> Iterator[tuple[str, np.ndarray]]:
    """What a node keeps for its backward: tensors and numbers."""
    for name in dir(node):
        if name.startswith("_saved_"):
            try:
                kept = getattr(node, name)
            except RuntimeError:  # it has been freed
                continue
            if isinstance(kept, Tensor):
                yield name.removeprefix("_saved_"), _array(kept)  # type: ignore[misc]  # it is not None
            elif isinstance(kept, int | float):
                yield name.removeprefix("_saved_"), np.asarray(kept)


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
    """The node that computed ``output``, or that adds to its ``.grad`` if it is a leaf.

    Raises:
        ValueError: nothing was recorded for it.
    """
    if not output.requires_grad:
        raise ValueError("this tensor has no tape: no input of it requires a gradient.")
    return get_gradient_edge(output).node


def children(node: Node) -> list[Node]:
    """The nodes that ``node`` hands its gradients to; constants have none."""
    return [child for child, _ in node.next_functions if child is not None]


def variable(node: Node) -> torch.Tensor | None:
    """The leaf that an ``AccumulateGrad`` node adds gradients to; None for every other node."""
    return getattr(node, "variable", None)


def operation(node: Node) -> str:
    """``PowBackward0`` → ``pow``."""
    return node.name().rstrip("0123456789").removesuffix("Backward").lower()
