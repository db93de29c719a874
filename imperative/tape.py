"""Reads the tape: the ``grad_fn`` nodes that running a computation recorded."""

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jaxtyping
import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
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
    """The tape as a graph, with the gradients that flow through it.

    No ``.grad`` is changed and no hook is run: what a hook would make of a gradient is not seen.

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
    named = _distinct(_inputs(target, arguments, options)) | dict(names or {})
    watch = _Watch()
    if isinstance(target, Tensor):
        results = {named.get(target, "output"): target}
    else:
        with watch:
            results = dict(_tensors(target(*arguments, **options), "output"))
    outputs = {named.get(t, name): _edge(t) for name, t in results.items() if t.requires_grad}
    if all(variable(edge.node) is not None for edge in outputs.values()):
        raise ValueError("nothing was recorded: the result is a leaf, or no input requires a gradient.")
    given = [tensor for tensor in (*results.values(), *named) if tensor.requires_grad]
    seen = {_edge(tensor): _Seen(tensor.detach().clone()) for tensor in given} | watch.seen
    if of == "gradient":
        outputs, flowing = _differentiated(outputs, named)
        seen = flowing | seen
    called = {_edge(tensor): name for tensor, name in named.items() if tensor.requires_grad}
    called |= {edge: name for name, edge in outputs.items()}
    return _graph(outputs, seen, called, of)


class _Edge(NamedTuple):
    """One result of a node."""

    node: Node
    result: int


def _edge(tensor: Tensor) -> _Edge:
    found = get_gradient_edge(tensor)
    return _Edge(found.node, found.output_nr)


@dataclass(frozen=True)
class _Seen:
    """What was seen of a node when it was recorded."""

    value: Tensor
    source: str = ""
    group: tuple[str, ...] = ()


class _Watch(TorchFunctionMode):
    """Notes of every node that is recorded what it computed, at which line, within which modules."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[_Edge, _Seen] = {}
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
            if tensor.grad_fn is not None and (edge := _edge(tensor)) not in self.seen:
                group = tuple(name for _, name in self.modules)
                self.seen[edge] = _Seen(tensor.detach().clone(), _line(), group)
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
) -> Iterator[tuple[Tensor, str, str]]:
    """Parameters and arguments: what they are called, and within which argument."""
    if isinstance(target, nn.Module):
        yield from ((tensor, name, "") for name, tensor in target.named_parameters())
    if not callable(target) or isinstance(target, Tensor):
        return
    try:
        signature = inspect.signature(target.forward if isinstance(target, nn.Module) else target)
        given: Mapping[str, Any] = signature.bind(*arguments, **options).arguments
    except (TypeError, ValueError):  # a function that Python knows no signature of, or one that will raise
        given = {f"argument {index}": argument for index, argument in enumerate(arguments)} | dict(options)
    for name, argument in given.items():
        # Arguments that are trees, or modules, are known by what is in them.
        module = isinstance(argument, nn.Module)
        found = argument.named_parameters() if module else _tensors(argument, name)
        yield from ((tensor, called, name) for called, tensor in found)


def _distinct(inputs: Iterable[tuple[Tensor, str, str]]) -> dict[Tensor, str]:
    """Names that no two tensors share: those that do are called by their argument too."""
    first = {tensor: (name, argument) for tensor, name, argument in inputs}
    often = Counter(name for name, _ in first.values())
    return {t: name if often[name] == 1 else f"{argument}.{name}" for t, (name, argument) in first.items()}


def _order(outputs: Iterable[_Edge]) -> list[_Edge]:
    """Every result on the tape that is used, inputs first."""
    order: list[_Edge] = []
    found: set[_Edge] = set()
    waiting = [(edge, False) for edge in reversed(list(outputs))]
    while waiting:
        edge, complete = waiting.pop()
        if complete:
            order.append(edge)
        elif edge not in found:
            found.add(edge)
            waiting.append((edge, True))
            waiting.extend((below, False) for below in reversed(_below(edge.node)))
    return order


def _below(node: Node) -> list[_Edge]:
    """The results that a node took."""
    return [_Edge(child, result) for child, result in node.next_functions if child is not None]


def _flow(outputs: Iterable[_Edge], order: Sequence[_Edge]) -> dict[_Edge, Tensor]:
    """The gradient of the sum of the outputs with respect to every result on the tape.

    The nodes are asked one by one. The engine would run what hangs on them: hooks, and ``retain_grad``, which
    adds to ``.grad``.
    """
    flowed = {edge: torch.ones(_metadata(edge).shape, **_like(edge)) for edge in outputs}
    for node in reversed(dict.fromkeys(edge.node for edge in order)):
        results = [_Edge(node, k) for k in range(_results(node))]
        if variable(node) is not None or not any(edge in flowed for edge in results):
            continue
        call: Any = node
        slopes: list[Tensor | None] = [flowed.get(edge) for edge in results]
        if isinstance(node, BackwardCFunction):
            # A function of the user's is handed zeros for results that nothing depends on.
            call = node.apply
            slopes = [
                torch.zeros(_metadata(edge).shape, **_like(edge)) if slope is None else slope
                for edge, slope in zip(results, slopes, strict=True)
            ]
        answer = call(*slopes)
        given = answer if isinstance(answer, tuple) else (answer,)
        for (child, result), slope in zip(node.next_functions, given, strict=False):
            if child is not None and slope is not None:
                edge = _Edge(child, result)
                whole = slope.sum_to_size(_metadata(edge).shape)  # what was broadcast adds up
                flowed[edge] = flowed[edge] + whole if edge in flowed else whole
    return flowed


def _results(node: Node) -> int:
    """How many results a node has."""
    return 1 if variable(node) is not None else len(node._input_metadata)  # noqa: SLF001  # as below


def _metadata(edge: _Edge) -> Any:  # noqa: ANN401  # torch gives it no type
    """Shape, dtype and device of a result."""
    leaf = variable(edge.node)
    return leaf if leaf is not None else edge.node._input_metadata[edge.result]  # noqa: SLF001  # no other way


def _like(edge: _Edge) -> dict[str, Any]:
    found = _metadata(edge)
    return {"dtype": found.dtype, "device": found.device}


def _differentiated(
    outputs: Mapping[str, _Edge], named: Mapping[Tensor, str]
) -> tuple[dict[str, _Edge], dict[_Edge, _Seen]]:
    """The gradients of the sum of the outputs, as outputs of a tape of their own, and what was seen of it."""
    order = _order(outputs.values())
    try:
        with torch.enable_grad():
            flowed = _flow(outputs.values(), order)
    except RuntimeError as error:
        if "second time" in str(error):
            raise ValueError("the tape has been freed: nothing can be recorded of its gradient.") from error
        raise
    leaves = {edge: leaf for edge in order if (leaf := variable(edge.node)) is not None}
    slopes = {f"d{named.get(leaf, f'leaf {k}')}": flowed.get(e) for k, (e, leaf) in enumerate(leaves.items())}
    recorded = {name: _edge(s) for name, s in slopes.items() if s is not None and s.grad_fn is not None}
    if not recorded:
        raise ValueError("the gradient is constant: no tape is recorded of it.")
    seen = {_edge(g): _Seen(g.detach().clone()) for g in flowed.values() if g.grad_fn is not None}
    return recorded, seen


def _graph(
    outputs: Mapping[str, _Edge], seen: Mapping[_Edge, _Seen], called: Mapping[_Edge, str], of: Of
) -> Graph:
    order = _order(outputs.values())
    try:
        with torch.no_grad():
            flowed = _flow(outputs.values(), order)
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        flowed = {}  # it has been freed
    names: dict[_Edge, str] = {}
    taken: set[str] = set()
    nodes = []
    for index, edge in enumerate(order):
        node, known = edge.node, called.get(edge)
        names[edge] = known if known and known not in taken else f"%{index}"
        taken.add(names[edge])
        leaf, note = variable(node), seen.get(edge)
        value = leaf.detach() if leaf is not None else note.value if note else _result(node)
        like = _metadata(edge)
        nodes.append(
            graph.Node(
                name=names[edge],
                operation="" if leaf is not None else node.name().removeprefix("torch::autograd::"),
                kind="operation" if leaf is None else "leaf",
                inputs=tuple(names[below] for below in _below(node)),
                shape=tuple(like.shape),
                dtype=str(like.dtype).removeprefix("torch."),
                value=_array(value),
                gradient=_array(flowed.get(edge)),
                kept=dict(_saved(node)),
                source=note.source if note else "",
                group=note.group if note else (),
            )
        )
    return Graph("imperative", of, tuple(nodes), {name: names[edge] for name, edge in outputs.items()})


def _array(tensor: Tensor | None) -> np.ndarray | None:
    if tensor is None:
        return None
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy().copy()


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
                # −1 comes without its sign.
                signed = kept - 2**64 if isinstance(kept, int) and kept >= 2**63 else kept
                yield name.removeprefix("_saved_"), np.asarray(signed)


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
        raise ValueError("this tensor has no grad_fn: no input of it requires a gradient.")
    return get_gradient_edge(output).node


def children(node: Node) -> list[Node]:
    """The nodes that ``node`` hands its gradients to; constants have none."""
    return [child for child, _ in node.next_functions if child is not None]


def variable(node: Node) -> torch.Tensor | None:
    """The leaf that an ``AccumulateGrad`` node adds gradients to; None for every other node."""
    known: Any = node  # torch gives it no type
    return known.variable if node.name().endswith("::AccumulateGrad") else None


def operation(node: Node) -> str:
    """``PowBackward0`` → ``pow``."""
    return node.name().rstrip("0123456789").removesuffix("Backward").lower()
