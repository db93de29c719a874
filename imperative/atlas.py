"""Expressions of the atlas in PyTorch: what they are worth, and every kind of derivative of them."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from torch import Tensor, nn
from torch.autograd import forward_ad

from imperative.arrays import select
from scenarios.types import Arrays, Device, Dtype

_NAMES = {"torch": torch, "F": F, "nn": nn, "math": math, "inf": math.inf}

#: By kind of array, the type of a run's precision; whatever is missing stays as it is.
_TYPES = {
    ("float32", "f"): torch.float32,
    ("float64", "f"): torch.float64,
    ("float32", "c"): torch.complex64,
    ("float64", "c"): torch.complex128,
}


def measured(
    text: str, arrays: Arrays, dtype: Dtype, device: Device = "cpu", *, fixed: Collection[str] = ()
) -> dict[str, np.ndarray | str]:
    """What an expression is worth, and its derivatives: arrays, or the sentence by which PyTorch refuses.

    Args:
        text: an expression of the atlas (:class:`scenarios.atlas.Entry`).
        arrays: its arguments by name; those of real or complex numbers are differentiated by.
        dtype: to compute in.
        device: to compute on.
        fixed: the arguments that are not differentiated by.

    Returns:
        ``value``, and its ``type``; of a floating one also ``gradient.<name>`` of the sum of its entries in
        reverse mode, ``second.<name>`` of the sum of those gradients, and ``tangent`` in forward mode, along
        ones.
    """
    call = _function(text, tuple(arrays))
    place = select(device)
    given = {
        name: torch.tensor(array, dtype=_TYPES.get((dtype, array.dtype.kind)), device=place)
        for name, array in arrays.items()
    }
    names = [
        name
        for name, tensor in given.items()
        if (tensor.is_floating_point() or tensor.is_complex()) and name not in fixed
    ]
    moving = [given[name] for name in names]
    for tensor in moving:
        tensor.requires_grad_()
    value = _attempted(lambda: call(**given))
    if isinstance(value, str):
        return {"value": value}
    found: dict[str, np.ndarray | str] = {
        "value": _left(value),
        "type": np.array(str(value.dtype).removeprefix("torch.")),
    }
    if not value.is_floating_point() or not moving:
        return found
    slopes = _attempted(lambda: _slopes([value], moving, again=True))
    found |= _named("gradient", names, slopes)
    if isinstance(slopes, str):
        return found
    found |= _named("second", names, _attempted(lambda: _slopes(slopes, moving)))
    along = _attempted(lambda: _along(call, given, names))
    return {**found, "tangent": along if isinstance(along, str) else _left(along)}


@cache
def _function(text: str, names: tuple[str, ...]) -> Callable[..., Any]:
    function: Callable[..., Any] = eval(f"lambda {', '.join(names)}: {text}", dict(_NAMES))  # the atlas's own
    return function


def _slopes(roots: Sequence[Tensor], moving: Sequence[Tensor], *, again: bool = False) -> Sequence[Tensor]:
    """The gradient of the sum of all roots; zero by what they do not depend on."""
    roots = [root for root in roots if root.requires_grad]  # the others do not depend on anything
    if not roots:
        return [torch.zeros_like(tensor) for tensor in moving]
    ones = [torch.ones_like(root) for root in roots]
    return torch.autograd.grad(
        roots, moving, ones, create_graph=again, allow_unused=True, materialize_grads=True
    )


def _along(call: Callable[..., Any], given: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    """The derivative along ones, in forward mode."""
    with forward_ad.dual_level():
        dual = {
            name: forward_ad.make_dual(tensor.detach(), torch.ones_like(tensor)) if name in names else tensor
            for name, tensor in given.items()
        }
        value, tangent = forward_ad.unpack_dual(call(**dual))
        return torch.zeros_like(value) if tangent is None else tangent


def _attempted(call: Callable[[], Any]) -> Any:  # noqa: ANN401  # whatever is called for, or a sentence
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what PyTorch says
        return str(error).split("\n", 1)[0]


def _named(
    kind: str, names: Sequence[str], found: Sequence[Tensor] | str
) -> Iterator[tuple[str, np.ndarray | str]]:
    for number, name in enumerate(names):
        yield f"{kind}.{name}", found if isinstance(found, str) else _left(found[number])


def _left(tensor: Tensor) -> np.ndarray:
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # which NumPy has not
    return wide.detach().numpy(force=True).copy()
