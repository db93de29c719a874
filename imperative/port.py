"""A module or function of the user's own: run from NumPy arrays, and written down."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.dropout import _DropoutNd

from imperative.arrays import leave, select
from imperative.optimizer import leave_state, made, resume
from imperative.trace import Recorder, plain
from scenarios.port import (
    Answer,
    Arguments,
    Training,
    UnusablePortError,
    as_array,
    leaves,
    moments_and_buffers,
    of_float,
    weights,
)
from scenarios.trace import Source, Trace
from scenarios.types import Arrays, Device, Dtype, History, Result


class Port:
    """The imperative side of a pair."""

    def __init__(self, target: object, arguments: Arguments, loss: Callable[..., Any] | None = None) -> None:
        """Take a module or a function; nothing is run.

        Args:
            target: an ``nn.Module`` that is called with the arguments, or a function of a dict of tensors and
                the arguments (of the arguments alone, where there are no parameters).
            arguments: that it is called with.
            loss: of the output and the arguments, to be differentiated; a scalar.

        Raises:
            UnusablePortError: it is neither, or it would draw random numbers.
        """
        if not callable(target):
            raise UnusablePortError(
                f"the imperative side is {type(target).__name__}: give a torch.nn.Module or a function."
            )
        self.module = _copied(target) if isinstance(target, nn.Module) else None
        self.target, self.arguments, self.loss = target, arguments, loss
        if self.module is not None:
            _refuse_dropout(self.module)
        #: The lines at which gradients are stopped, and by what, as far as they have been recorded.
        self.stops: dict[Source, str] = {}

    @property
    def parameters(self) -> Arrays:
        """What the module holds, parameters and buffers, by the keys of its ``state_dict``; copies.

        Of names that stand for one tensor only the first is there.
        """
        held = self.module.state_dict() if self.module is not None else {}
        again = {name for names in self.tied for name in names[1:]}
        return {name: plain(tensor).copy() for name, tensor in held.items() if name not in again}

    @property
    def buffers(self) -> Collection[str]:
        """The names of those that are no parameters."""
        named = self.module.named_buffers(remove_duplicate=False) if self.module is not None else ()
        return {name for name, _ in named}

    @property
    def tied(self) -> Sequence[Sequence[str]]:
        """Names that stand for one and the same tensor."""
        held = self.module.state_dict(keep_vars=True) if self.module is not None else {}
        groups: dict[int, list[str]] = {}
        for name, tensor in held.items():
            groups.setdefault(id(tensor), []).append(name)
        return [names for names in groups.values() if len(names) > 1]

    def run(self, parameters: Arrays, arrays: Arrays, dtype: Dtype, device: Device = "cpu") -> Answer:
        """Run forward and backward.

        Args:
            parameters: by name; floating ones in whatever precision.
            arrays: of the arguments, by name.
            dtype: to compute in.
            device: to compute on.

        Raises:
            UnusablePortError: the output or the loss is none that can be differentiated, or what was given
                has been changed.
        """
        return self._evaluated(parameters, arrays, dtype, device, None)[0]

    def train(
        self,
        parameters: Arrays,
        arrays: Arrays,
        training: Training,
        *,
        state: Arrays,
        steps: int,
        dtype: Dtype,
        device: Device = "cpu",
        every: int | None = 1,
    ) -> Result:
        """Train every parameter on the same arguments, step after step; buffers go on from step to step.

        Args:
            parameters: to start from, by name.
            arrays: of the arguments, by name.
            training: optimizer and learning rate.
            state: of the optimizer, and ``buffers.<name>``, as a result holds them; empty for fresh ones.
            steps: how many.
            dtype: to compute in.
            device: to compute on.
            every: of which steps the loss is recorded; None records none.

        Returns:
            Loss and gradients of the first step, the losses, and parameters, state and loss after the last.
        """
        memory, buffers = moments_and_buffers(state)
        held = _enter({**parameters, **buffers}, dtype, device, self.buffers)
        given = {name: tensor.detach() for name, tensor in _enter(arrays, dtype, device, ()).items()}
        moving = {name: tensor for name, tensor in held.items() if tensor.requires_grad}
        optimizer = made(training, list(moving.values()))
        resume(optimizer, list(moving), memory)
        losses: list[Tensor] = []
        first: Arrays = {}
        for _ in range(steps):
            outputs, roots = self._forward(held, given)
            # A parameter that nothing depends on has a gradient of zero, as it has on the other side: for
            # None PyTorch would not even let it decay.
            for tensor, slope in zip(moving.values(), _slopes(roots, moving), strict=True):
                tensor.grad = slope
            first = first or leave({n: t.grad for n, t in moving.items() if t.grad is not None})
            losses.append(outputs["loss"].detach())
            optimizer.step()
        kept = {f"buffers.{name}": plain(held[name]).copy() for name in held.keys() - moving.keys()}
        with torch.no_grad():
            outcome, _ = self._forward({name: tensor.clone() for name, tensor in held.items()}, given)
        return Result(
            values=leave({"loss": losses[0]} if losses else {}),
            gradients=first,
            history=History.of_losses([loss.item() for loss in losses], dtype, every),
            converged=leave(moving),
            state={**leave_state(optimizer, moving), **kept},
            outcome=leave({"loss": outcome["loss"]}),
        )

    def record(
        self,
        parameters: Arrays,
        arrays: Arrays,
        dtype: Dtype,
        device: Device = "cpu",
        *,
        want: Collection[int | str] = (),
        opened: Collection[str] = (),
        without: Collection[int] = (),
        through: Collection[Source] = (),
        told: bool = True,
    ) -> tuple[Trace, dict[int, np.ndarray]]:
        """The same, with every operation written down; and copies of the values that are wanted, by index.

        Args:
            parameters: by name.
            arrays: of the arguments, by name.
            dtype: to compute in.
            device: to compute on.
            want: indices of values, and names of outputs, of which copies are returned, by index.
            opened: names of operations of which the steps are written down too, where PyTorch knows them.
            without: indices of values that are set to 0 as soon as they have been computed, but for views.
            through: lines at which gradients that are stopped are let through.
            told: whether values are given fingerprints.
        """
        recorder = Recorder(want, opened, without=without, through=through, told=told)
        _, trace = self._evaluated(parameters, arrays, dtype, device, recorder)
        assert trace is not None
        self.stops |= recorder.stops
        return trace, recorder.kept

    def _evaluated(
        self, parameters: Arrays, arrays: Arrays, dtype: Dtype, device: Device, recorder: Recorder | None
    ) -> tuple[Answer, Trace | None]:
        held, given = (_enter(named, dtype, device, self.buffers) for named in (parameters, arrays))
        by = {**held, **given}
        if recorder is not None:
            for name, tensor in by.items():
                recorder.name(tensor, name)
        moving = {name: tensor for name, tensor in by.items() if tensor.requires_grad}
        with recorder or nullcontext():
            outputs, roots = self._forward(held, given)
            slopes = dict(zip(moving, _slopes(roots, moving), strict=True))
        changed = {
            name: tensor
            for name, tensor in by.items()
            if not np.array_equal(
                plain(tensor), _cast(parameters.get(name, arrays.get(name)), dtype), equal_nan=True
            )
        }
        for name in changed.keys() - self.buffers:
            raise UnusablePortError(
                f"the imperative side changes {name} in place: let it work on a copy ({name}.clone())."
            )
        updates = {name: tensor for name, tensor in changed.items() if tensor.is_floating_point()}
        trace = None
        if recorder is not None:
            told = {**outputs, **{f"updates.{n}": t for n, t in updates.items()}}
            trace = recorder.trace({**told, **{f"gradients.{n}": t for n, t in slopes.items()}})
        # One by one, since the gradients of a large model are large.
        trees = (outputs, slopes, updates)
        answer = Answer(*({n: _leave(tree.pop(n), dtype) for n in tuple(tree)} for tree in trees))
        return answer, trace

    def _forward(
        self, held: Mapping[str, Tensor], given: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs by name, and those of them that are differentiated."""
        arguments = self.arguments.filled(given)
        if self.module is not None:
            output = functional_call(self.module, dict(held), arguments)
        elif held:
            output = self.target(dict(held), *arguments)
        else:
            output = self.target(*arguments)
        outputs = dict(leaves(output, Tensor))
        if not outputs:
            raise UnusablePortError(
                f"the imperative side returns {type(output).__name__}: let it return tensors."
            )
        if self.loss is not None:
            outputs["loss"] = _scalar(self.loss(output, *arguments))
            return outputs, {"loss": outputs["loss"]}
        return outputs, {name: t for name, t in outputs.items() if t.is_floating_point()}


def arrays(state_dict: nn.Module | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies of the tensors of a module, or of its ``state_dict``, bit for bit; NumPy arrays stay such.

    Raises:
        UnusablePortError: there is what is no array of numbers.
    """
    return {
        name: _bits(entry) if isinstance(entry, Tensor) else as_array(entry)
        for name, entry in _state(state_dict).items()
    }


def tied(state_dict: nn.Module | Mapping[str, Any]) -> Sequence[Sequence[str]]:
    """Names of tensors that are one and the same in memory."""
    groups: dict[object, list[str]] = {}
    for name, entry in _state(state_dict).items():
        if isinstance(entry, Tensor) and entry.numel():
            groups.setdefault((entry.data_ptr(), entry.shape, entry.stride()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def filled(arrays: Arrays) -> dict[str, Tensor]:
    """Tensors for ``load_state_dict``, bit for bit."""
    return {
        name: torch.tensor(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype.name == "bfloat16"
        else torch.tensor(array)
        for name, array in arrays.items()
    }


def _state(given: nn.Module | Mapping[str, Any]) -> Mapping[str, Any]:
    return given.state_dict() if isinstance(given, nn.Module) else given


def _bits(tensor: Tensor) -> np.ndarray:
    """A copy; of bfloat16, which PyTorch does not hand to NumPy, as JAX has it there."""
    if tensor.dtype is torch.bfloat16:
        return as_array(tensor.view(torch.int16)).view(ml_dtypes.bfloat16)
    return as_array(tensor)


def _copied(module: nn.Module) -> nn.Module:
    """A copy that shares what its state holds: other tensors take the places of these when it is called."""
    shared = {id(tensor): tensor for tensor in module.state_dict(keep_vars=True).values()}
    copied: nn.Module = copy.deepcopy(module, shared)
    return copied


def _slopes(roots: Mapping[str, Tensor], moving: Mapping[str, Tensor]) -> Sequence[Tensor]:
    if not moving:
        return ()
    roots = {name: root for name, root in roots.items() if root.requires_grad}
    if not roots:
        return [torch.zeros_like(tensor) for tensor in moving.values()]
    starts = [
        torch.ones_like(root)
        if root.ndim == 0
        else torch.tensor(weights(name, root.shape), dtype=root.dtype, device=root.device)
        for name, root in roots.items()
    ]
    return torch.autograd.grad(
        list(roots.values()), list(moving.values()), starts, allow_unused=True, materialize_grads=True
    )


def _enter(arrays: Arrays, dtype: Dtype, device: Device, fixed: Collection[str]) -> dict[str, Tensor]:
    place = select(device)
    return {
        name: torch.tensor(
            _cast(array, dtype), device=place, requires_grad=of_float(array) and name not in fixed
        )
        for name, array in arrays.items()
    }


def _cast(array: np.ndarray | None, dtype: Dtype) -> np.ndarray:
    assert array is not None
    return array.astype(dtype) if of_float(array) else array


def _leave(tensor: Tensor, dtype: Dtype) -> np.ndarray:
    array = plain(tensor).copy()
    return array if array.dtype.kind in "fc" else array.astype(dtype)


def _scalar(loss: object) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.is_floating_point():
        what = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise UnusablePortError(
            f"the imperative loss is {what}: a loss is a scalar; reduce it with .mean() or .sum()."
        )
    return loss


def _refuse_dropout(module: nn.Module) -> None:
    for name, child in module.named_modules():
        if isinstance(child, _DropoutNd) and child.training and child.p > 0:
            raise UnusablePortError(
                f"the imperative module is in training mode and '{name or 'it'}' drops out at random "
                f"(p={child.p:g}): call .eval(), or set its p to 0."
            )
