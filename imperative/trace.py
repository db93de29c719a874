"""Writes down every operation that PyTorch runs, forward and backward, with what its values are told by."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import sep
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table
from torch._decomp.decompositions import native_batch_norm_helper
from torch.autograd.graph import Node
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from scenarios.sources import running, users_line
from scenarios.trace import UNTOLD, Operation, Source, Taken, Trace, Value, fingerprint

_OWN = str(Path(__file__).with_name("port.py"))
_FRAMEWORKS = tuple(f"{Path(str(module.__file__)).parent}{sep}" for module in (torch, jaxtyping))

_NORMS = {"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"}

_UNFILLED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"}

# What stops gradients, and what the user calls it.
_UNTAPED = "no_grad"
_STOPS: dict[Any, str] = {
    Tensor.detach: "detach",
    torch.detach: "detach",
    Tensor.data.__get__: "data",  # type: ignore[attr-defined]  # torch says that it is a tensor
    torch._C._set_grad_enabled: _UNTAPED,  # noqa: SLF001  # what no_grad and its like call
}

# Under which a node of the tape remembers which line recorded it, within which modules.
_LABEL = "gradtwin"


class Recorder:
    """Notes what runs inside ``with``; tensors that were made before are to be named first.

    Fused kernels are switched off, so that what they are made of is seen: attention, and recurrent layers.
    """

    def __init__(
        self,
        want: Collection[int | str] = (),
        opened: Collection[str] = (),
        *,
        without: Collection[int] = (),
        through: Collection[Source] = (),
        told: bool = True,
    ) -> None:
        """Note nothing yet.

        Args:
            want: indices of values, and names of outputs, of which a copy is kept in :attr:`kept`.
            opened: names of operations of which the steps are noted too, where PyTorch knows them.
            without: indices of values that are set to 0 as soon as they have been computed, but for views.
            through: lines at which gradients that are stopped are let through.
            told: whether values are given fingerprints.
        """
        self._told, self._through = told, frozenset(through)
        #: The lines at which gradients are stopped, and by what.
        self.stops: dict[Source, str] = {}
        self._opened, self._mode = frozenset(opened), _Dispatch(self)
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.kept: dict[int, np.ndarray] = {}
        self._want, self._without = frozenset(want), frozenset(without)
        # By storage: the views that are known, and what was last written there.
        self._known: dict[int, dict[tuple[object, ...], int]] = {}
        self._written: dict[int, int] = {}
        # Nothing else is given the address of a storage that is gone as long as somebody refers to it.
        self._referred: dict[int, StorageWeakRef] = {}
        self._modules: list[tuple[nn.Module, str]] = []
        self._within = ExitStack()

    def name(self, tensor: Tensor, name: str) -> None:
        """Call a tensor that was given ``name``."""
        self._lay(tensor, self._add(tensor, None, name), fresh=False)

    def trace(self, outputs: Mapping[str, Tensor]) -> Trace:
        """What was noted, with what these outputs are."""
        found = {name: self._index(tensor) for name, tensor in outputs.items()}
        self.kept |= {found[name]: plain(t).copy() for name, t in outputs.items() if name in self._want}
        return Trace("imperative", self.values, self.operations, found)

    def __enter__(self) -> "Recorder":
        for hook in (
            register_module_forward_pre_hook(lambda module, _: self._begin(module)),
            register_module_forward_hook(lambda *_: self._end(), always_call=True),
        ):
            self._within.callback(hook.remove)
        self._within.enter_context(sdpa_kernel(SDPBackend.MATH))
        before = torch.backends.mkldnn.set_flags(_enabled=False)
        self._within.callback(torch.backends.mkldnn.set_flags, *before[:1])
        self._within.enter_context(_Labels(self))
        self._within.enter_context(self._mode)
        return self

    def __exit__(self, *error: object) -> None:
        self._within.close()

    def _begin(self, module: nn.Module) -> None:
        above = self._modules[-1][0].named_children() if self._modules else ()
        name = next((n for n, child in above if child is module), type(module).__name__)
        self._modules.append((module, name))

    def _end(self) -> None:
        self._modules.pop()

    def label(self) -> tuple[Source, tuple[str, ...]]:
        """The line of the user's that is running, and the modules that it is a part of."""
        # A frame that is held by a name in itself would live, with all its tensors, until it is collected;
        # and inspect.stack reads the source of every frame.
        line = users_line(running(sys._getframe()), _OWN, __file__, *_FRAMEWORKS)  # noqa: SLF001
        return line, tuple(name for _, name in self._modules)

    def lets_through(self, function: Any, arguments: Sequence[Any]) -> bool:  # noqa: ANN401  # whatever torch calls
        """Whether a function stops gradients, at a line at which they are let through."""
        word = _STOPS.get(function)
        if word is None or (word == _UNTAPED and arguments[0]):
            return False
        line, _ = self.label()
        self.stops[line] = word
        return line in self._through

    def note(self, function: Any, arguments: Sequence[Any], options: Mapping[str, Any], run: Any) -> Any:  # noqa: ANN401  # whatever torch calls
        """Run one operation and write it down."""
        schema = function._schema  # noqa: SLF001  # no public name
        told = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        told |= {a.name: value for a, value in zip(schema.arguments, arguments, strict=False)} | dict(options)
        inputs = tuple(self._index(tensor) for value in told.values() for tensor in _tensors(value))
        taken = {name: self._taken(value) for name, value in told.items()}
        changed = [tensor for name in _changed(function, told) for tensor in _tensors(told.get(name))]
        opening = _opening(function, told, changed=bool(changed)) if _name(function) in self._opened else None
        if opening is not None:
            with self._mode:
                steps = opening(*arguments, **options)
            inputs += tuple(self._index(tensor) for tensor in _tensors(steps))
        node = torch._C._current_autograd_node()  # noqa: SLF001  # no public name
        label = _labels(node).get(_LABEL) if node is not None else None
        line, group = label or self.label()
        result = run()
        if _name(function) in _UNFILLED:
            result.zero_()  # whatever lay in the memory would be another value every time
        index, outputs = len(self.operations), []
        for tensor in changed:
            outputs.append(self._add(tensor, index, ""))
            self._lay(tensor, outputs[-1], fresh=True)
        results = result if len(schema.returns) > 1 else (result,)
        for returned, value in zip(schema.returns, results, strict=True):
            alias = returned.alias_info
            if alias is None or not alias.is_write:
                for tensor in _tensors(value):
                    if alias is None and len(self.values) in self._without:
                        tensor.zero_()
                    outputs.append(self._add(tensor, index, ""))
                    self._lay(tensor, outputs[-1], fresh=alias is None)
        call = f"torch.ops.{function}"
        self.operations.append(Operation(_name(function), inputs, tuple(outputs), call, taken, line, group))
        return result

    def _index(self, tensor: Tensor) -> int:
        """The index of the value that a tensor holds now."""
        storage, view = _place(tensor)
        known = self._known.get(storage, {}).get(view)
        if known is not None:
            return known
        written, operation = self._written.get(storage), None
        if written is not None:  # a view of what was changed in place since it was taken
            operation = len(self.operations)
            self.operations.append(Operation("view", (written,), (len(self.values),)))
        index = self._add(tensor, operation, "")
        self._lay(tensor, index, fresh=False)
        return index

    def _taken(self, told: object) -> object:
        if isinstance(told, Tensor):
            return Taken(self._index(told))
        return [self._taken(part) for part in told] if isinstance(told, list | tuple) else told

    def _add(self, tensor: Tensor, operation: int | None, name: str) -> int:
        index = len(self.values)
        if index in self._want:
            self.kept[index] = plain(tensor).copy()
        kind = str(tensor.dtype).removeprefix("torch.")
        mark = fingerprint(plain(tensor)) if self._told else UNTOLD
        self.values.append(Value(name, tuple(tensor.shape), kind, mark, operation))
        return index

    def _lay(self, tensor: Tensor, index: int, *, fresh: bool) -> None:
        """Remember where a value lies; whatever else lay in a storage that was written anew is gone."""
        storage, view = _place(tensor)
        if storage not in self._referred:
            self._referred[storage] = StorageWeakRef(tensor.untyped_storage())
        if fresh or storage not in self._known:
            self._known[storage] = {}
            self._written[storage] = index
        self._known[storage][view] = index


class _Dispatch(TorchDispatchMode):
    """Hands every operation to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # it carries no types
        self.recorder = recorder

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the operation returns
        options = kwargs or {}
        return self.recorder.note(func, args, options, lambda: func(*args, **options))


class _Labels(TorchFunctionMode):
    """Tells every node of the tape which line recorded it, so that its backward knows."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # whatever the function returns
        if self.recorder.lets_through(func, args):
            return args[0] if isinstance(args[0], Tensor) else None
        result = func(*args, **(kwargs or {}))
        waiting = [tensor.grad_fn for tensor in _tensors(result) if tensor.grad_fn is not None]
        label = self.recorder.label() if waiting else None
        while waiting:
            node: Node = waiting.pop()
            if _LABEL not in _labels(node):
                _labels(node)[_LABEL] = label
                waiting.extend(child for child, _ in node.next_functions if child is not None)
        return result


def _labels(node: Any) -> dict[str, Any]:  # noqa: ANN401  # torch says that it is a method
    found: dict[str, Any] = node.metadata
    return found


def _place(tensor: Tensor) -> tuple[int, tuple[object, ...]]:
    storage: int = tensor.untyped_storage()._cdata  # noqa: SLF001  # no public name
    return storage, (tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)


def _tensors(tree: object) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for branch in tree:
            yield from _tensors(branch)


def _changed(function: Any, told: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401
    """The names of the arguments that an operation changes in place."""
    for argument in function._schema.arguments:  # noqa: SLF001  # no public name
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield argument.name
    # Batch normalisation does so, and neither its schema nor the tensors' versions tell.
    if _name(function) in _NORMS and told.get("training"):
        yield from ("running_mean", "running_var")


def _opening(function: Any, told: Mapping[str, Any], *, changed: bool) -> Callable[..., Any] | None:  # noqa: ANN401
    """What does the same as an operation in smaller steps, and changes none of its arguments."""
    name = _name(function)
    if name in _NORMS:
        return _normalised
    if name == "convolution" and told["bias"] is not None:
        return _convolved
    # What changes its arguments would change them twice.
    return None if changed else decomposition_table.get(function)


def _normalised(*arguments: Any) -> Sequence[Tensor | None]:  # noqa: ANN401
    """Batch normalisation, with the statistics that it arrives at."""
    x, weight, bias, mean, variance, training, momentum, epsilon = arguments[:8]
    found: Sequence[Tensor | None] = native_batch_norm_helper(
        x, weight, bias, mean, variance, training, momentum, epsilon, functional=True
    )
    return found


def _convolved(x: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:  # noqa: ANN401
    """A convolution, and its bias after it."""
    result: Tensor = torch.ops.aten.convolution(x, weight, None, *options)
    return result + bias.view(-1, *(1,) * (result.ndim - 2))


def _name(function: Any) -> str:  # noqa: ANN401
    """``aten.addmm.default`` is ``addmm``."""
    return str(function.overloadpacket).removeprefix("aten.").removesuffix("_")


def plain(tensor: Tensor) -> np.ndarray:
    """A tensor as NumPy has it; shares memory where it can."""
    here = tensor.detach().cpu().resolve_conj().resolve_neg()
    return (here.float() if here.dtype is torch.bfloat16 else here).numpy()
