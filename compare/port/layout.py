"""Puts a value of one side into the layout of the other's."""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from compare.judge.trees import gap
from scenarios.trace import endless

#: Of more axes than this not every order is tried.
_MOST_AXES = 5


def layouts(array: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The array in every order of its axes that fits ``shape``: as it is first."""
    if array.size != int(np.prod(shape)):
        return
    seen: set[tuple[int, ...]] = set()
    orders = permutations(range(array.ndim)) if array.ndim <= _MOST_AXES else [tuple(range(array.ndim))]
    for axes in orders:
        turned = array.transpose(axes)
        if axes in seen:
            continue
        seen.add(axes)
        if turned.shape == shape or _mergeable(turned.shape, shape):
            yield turned.reshape(shape)
    if len(shape) > array.ndim and len(shape) <= _MOST_AXES:
        # The other side has split an axis and moved its parts: undo that on this one.
        for axes in permutations(range(len(shape))):
            back = tuple(np.argsort(axes))
            turned_shape = tuple(shape[a] for a in axes)
            if axes != tuple(range(len(shape))) and _mergeable(array.shape, turned_shape):
                yield array.reshape(turned_shape).transpose(back)


def _mergeable(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    """Whether one shape becomes the other by merging or splitting neighbouring axes."""
    ends = [set(np.cumprod([n for n in shape if n != 1]).tolist()) for shape in (left, right)]
    return ends[0] <= ends[1] or ends[1] <= ends[0]


def apart(left: np.ndarray, right: np.ndarray) -> float:
    """The largest difference of two arrays of numbers, where what stands for ∞ is ∞."""
    return gap(_endless(left), _endless(right)).absolute


def _endless(array: np.ndarray) -> np.ndarray:
    # A limit that is beyond the dtype cannot be compared with it.
    far = np.abs(array) >= np.float64(endless(array.dtype)) if array.dtype.kind == "f" else np.zeros(1, bool)
    return np.where(far, np.copysign(np.inf, array), array) if far.any() else array


def turns(array: np.ndarray, like: np.ndarray, budget: float) -> list[tuple[int, ...]]:
    """The orders of its axes in which no entry of an array is further from another one than ``budget``."""
    if array.ndim != like.ndim or array.ndim > _MOST_AXES:
        return []
    return [
        axes
        for axes in permutations(range(array.ndim))
        if tuple(array.shape[a] for a in axes) == like.shape and apart(array.transpose(axes), like) <= budget
    ]


def nearest(
    array: np.ndarray, like: np.ndarray, most: int, usual: Sequence[tuple[int, ...]] = ()
) -> list[np.ndarray]:
    """The layouts of an array that fit another one, no more than ``most``, those nearest to it first.

    Before those come the ``usual`` orders of its axes, as far as they fit.
    """
    fits = [axes for axes in usual if tuple(array.shape[a] for a in axes) == like.shape]
    found = [(-1.0, array.transpose(axes)) for axes in fits]
    for laid in layouts(array, like.shape):
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(laid.astype(np.float64) - like.astype(np.float64))
            found.append((float(np.nan_to_num(apart, posinf=0).mean()) if apart.size else 0.0, laid))
    different: list[np.ndarray] = []
    for _, laid in sorted(found, key=lambda pair: pair[0]):
        if not any(np.array_equal(laid, other, equal_nan=True) for other in different):
            different.append(laid)
    return different[:most]
