"""Measures how far apart two trees of arrays are, in ULPs of what they are made of.

One ULP here is the spacing of floating-point numbers at the largest magnitude that a quantity takes, over
the whole tree (a gradient, a set of parameters) and over the whole run. A single entry would not do as
a yardstick: an entry whose true value is zero (the cubic's b) is rounding on both sides, and so is
a gradient on its way through zero.
"""

from dataclasses import dataclass, field

import numpy as np

from scenarios import Arrays, Dtype

#: Largest difference, in ULPs, that is put down to rounding. Provisional: one constant for every scenario,
#: quantity and dtype. Honest twins stay an order of magnitude below it, and one start value off by 1e-9
#: in float64 is four orders above (`benchmarks/results/agreement.md`).
LIMIT = 256


@dataclass(frozen=True, eq=False)
class Difference:
    """How far the two sides are apart in one quantity.

    Attributes:
        quantity: what was compared, in words.
        agrees: whether both sides have the same entries and they are within :data:`LIMIT`; None if that is
            not judged but only measured.
        absolute: largest absolute difference of an entry.
        relative: largest difference over the largest magnitude at the same step (maximum norms of the
            whole tree).
        ulps: ``absolute`` in ULPs of the largest magnitude over the run.
        where: the entry with the largest absolute difference, and its step.
        first_unequal_step: first recorded step at which a bit differs; None if there is none.
        note: what could not be compared at all, such as an entry that one side lacks.
        curve: ``relative`` at each recorded step, ``(rows,)``; empty where there are no steps.
    """

    quantity: str
    agrees: bool | None
    absolute: np.float64
    relative: np.float64
    ulps: np.float64
    where: str
    first_unequal_step: int | None = None
    note: str = ""
    curve: np.ndarray = field(default_factory=lambda: np.zeros(0))


def between(
    quantity: str,
    left: Arrays,
    right: Arrays,
    *,
    dtype: Dtype,
    judged: bool,
    steps: np.ndarray | None = None,
    scale: float = 0.0,
) -> Difference:
    """Measure one quantity, the imperative side's entries against the functional side's.

    Args:
        quantity: its name in words.
        left: the imperative side's arrays by name.
        right: the functional side's.
        dtype: of the run, which every array must have.
        judged: whether it counts for the verdict; what cannot be compared at all always does.
        steps: the recorded steps, if the arrays carry them as their first axis.
        scale: a magnitude that the quantity is known to take elsewhere in the run.
    """
    if mismatch := _mismatch(left, right, dtype):
        return incomparable(quantity, mismatch)
    rows = 1 if steps is None else len(steps)
    gaps = {name: _by_row(_gap(left[name], right[name]), rows) for name in left}
    widest = max(gaps, key=lambda name: gaps[name].max(initial=0.0))
    gap_per_row = np.max([gap.max(axis=1, initial=0.0) for gap in gaps.values()], axis=0)
    size_per_row = np.max(
        [
            _by_row(_size(tree[name]), rows).max(axis=1, initial=0.0)
            for tree in (left, right)
            for name in tree
        ],
        axis=0,
    )
    absolute = gap_per_row.max(initial=0.0)
    unit = ulp(max(size_per_row.max(initial=0.0), scale), np.dtype(dtype))
    curve = np.divide(gap_per_row, size_per_row, out=np.zeros(rows), where=gap_per_row > 0)
    ulps = np.float64(absolute / unit)
    where, first = _where(widest, gaps[widest], left[widest].shape, steps), None
    if steps is not None:
        unequal = np.any([_by_row(_unequal(left[n], right[n]), rows).any(axis=1) for n in left], axis=0)
        first = int(steps[unequal.argmax()]) if unequal.any() else None
    return Difference(
        quantity=quantity,
        agrees=bool(ulps <= LIMIT) if judged else None,
        absolute=absolute,
        relative=curve.max(initial=0.0),
        ulps=ulps,
        where=where,
        first_unequal_step=first,
        curve=np.zeros(0) if steps is None else curve,
    )


def ulp(magnitude: float, dtype: np.dtype) -> np.float64:
    """The spacing of the floating-point numbers of ``dtype`` at ``magnitude``."""
    below_overflow = np.nextafter(np.finfo(dtype).max, dtype.type(0))
    return np.float64(np.spacing(np.minimum(dtype.type(magnitude), below_overflow)))


def incomparable(quantity: str, why: str) -> Difference:
    """The difference of two things that have no entries in common to compare."""
    infinite = np.float64(np.inf)
    return Difference(
        quantity, agrees=False, absolute=infinite, relative=infinite, ulps=infinite, where="", note=why
    )


def _by_row(array: np.ndarray, rows: int) -> np.ndarray:
    return array.reshape(rows, array.size // max(rows, 1))


def _mismatch(left: Arrays, right: Arrays, dtype: Dtype) -> str:
    """Why the two cannot be compared entry by entry; empty if they can."""
    if not left and not right:
        return "neither side has any"
    for side, here, there in (("imperative", left, right), ("functional", right, left)):
        if extra := sorted(set(here) - set(there)):
            return f"only the {side} side has {', '.join(extra)}"
    for name, array in left.items():
        other = right[name]
        if array.shape != other.shape:
            return (
                f"{name} has shape {array.shape} on the imperative side and {other.shape} on the functional"
            )
        for side, tree in (("imperative", left), ("functional", right)):
            if tree[name].dtype != dtype:
                return f"{name} is {tree[name].dtype} on the {side} side, in a {dtype} run"
    return ""


def _gap(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Absolute differences in float64; equal infinities and NaNs in the same place are no difference."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def _size(array: np.ndarray) -> np.ndarray:
    """Magnitudes in float64, with what is not finite left out."""
    return np.where(np.isfinite(array), np.abs(array), 0).astype(np.float64)


def _unequal(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where a bit differs; NaNs count as equal."""
    word = np.dtype(f"u{left.itemsize}")
    unequal: np.ndarray = (left.view(word) != right.view(word)) & ~(np.isnan(left) & np.isnan(right))
    return unequal


def _where(name: str, gap: np.ndarray, shape: tuple[int, ...], steps: np.ndarray | None) -> str:
    if not gap.size:
        return name
    row, entry = divmod(int(gap.argmax()), gap.shape[1])
    shape = shape if steps is None else shape[1:]
    index = "".join(f"[{', '.join(map(str, np.unravel_index(entry, shape)))}]") if shape else ""
    return f"{name}{index}" + ("" if steps is None else f" at step {steps[row]}")
