"""Names the cause of a local difference, where changing one thing makes the difference vanish; else none.

Every probe takes what one side computes, changes the one thing that it stands for, and must arrive at what
the other side computes, entry by entry and up to rounding. What no probe explains has an unknown cause.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, permutations, product
from typing import Any

import ml_dtypes
import numpy as np
from scipy import special

#: Fewer entries than these can be explained by chance.
_ENOUGH = 4

#: So many paddings are tried where the axes differ.
_PADDINGS = 64

#: A value that is meant to remove what it is added to.
_FILL = -100.0


@dataclass(frozen=True, eq=False)
class Local:
    """A local difference, with both sides in one layout.

    Attributes:
        left: the imperative side's value.
        right: the functional side's, computed of the same.
        given: values that both were computed of, in the functional side's layout.
        numbers: that stand in either computation.
        operations: of both regions.
        backward: whether it is a gradient.
        budget: by how much rounding may move an entry.
        counts: over how many entries operations before it went.
    """

    left: np.ndarray
    right: np.ndarray
    given: tuple[np.ndarray, ...]
    numbers: tuple[float, ...]
    operations: frozenset[str]
    backward: bool
    budget: float
    counts: frozenset[int] = frozenset()

    def same(self, left: Any, right: Any) -> bool:  # noqa: ANN401  # arrays that broadcast
        """Whether two arrays are equal up to rounding, and say anything."""
        with np.errstate(all="ignore"):
            apart = np.abs(np.asarray(left) - np.asarray(right))
        equal = (np.asarray(left) == np.asarray(right)) | (apart <= self.budget)
        return bool(np.all(equal))

    @property
    def like(self) -> Iterator[np.ndarray]:
        """What of the given fits the value entry by entry."""
        for array in self.given:
            with np.errstate(all="ignore"):
                try:
                    yield np.broadcast_to(array, self.left.shape)
                except ValueError:
                    continue


def cause(local: Local) -> tuple[str, str]:
    """The name of the cause, and what shows it; two empty strings if none does."""
    if local.left.shape != local.right.shape or local.left.dtype.kind == "c":
        return "", ""
    with np.errstate(all="ignore"):
        for name, probe in _PROBES.items():
            evidence = probe(local)
            if evidence:
                return name, evidence
    return "", ""


def _precision(local: Local) -> str:
    if local.left.dtype.kind != "f":
        return ""
    for kind in ("float32", "float16", "bfloat16"):
        dtype = np.dtype(getattr(ml_dtypes, kind, kind))
        for one, other, side in (
            (local.left, local.right, "functional"),
            (local.right, local.left, "imperative"),
        ):
            coarse = one.astype(dtype).astype(one.dtype)
            if local.same(coarse, other) and not local.same(coarse, one):
                return f"the {side} side holds it in {kind}: rounding the other side's value to that gives it"
    return ""


def _relu_at_zero(local: Local) -> str:
    apart = np.abs(local.left - local.right) > local.budget
    if not local.backward or not apart.any() or apart.all():
        return ""
    masks = all(np.isin(side, (0, 1)).all() for side in (local.left, local.right))
    zero = any(np.all(x[apart] == 0) and not np.all(x == 0) for x in local.like)
    if masks and zero:
        return (
            f"they differ only at {int(apart.sum())} entries of {apart.size}, where the input is exactly 0 "
            "and one side passes the gradient on, the other not"
        )
    for slope in local.like:
        for one, other in ((local.left, local.right), (local.right, local.left)):
            for share in (0.5, 1.0):
                if np.all(one[apart] == 0) and local.same(other[apart], share * slope[apart]) and zero:
                    return (
                        f"they differ only at {int(apart.sum())} entries of {apart.size}, where the input is "
                        f"exactly 0 and one side passes {share:g} of the gradient on, the other none"
                    )
    return ""


def _dropout(local: Local) -> str:
    for one, other, side in (
        (local.left, local.right, "functional"),
        (local.right, local.left, "imperative"),
    ):
        dropped = (other == 0) & (one != 0)
        kept = ~dropped & (one != 0)
        if dropped.sum() < 1 or kept.sum() < _ENOUGH or one.size < 2 * _ENOUGH:
            continue
        ratio = float(np.median(other[kept] / one[kept]))
        if ratio > 1 and local.same(other[kept], ratio * one[kept]):
            return (
                f"the {side} side sets {dropped.mean():.0%} of the entries to 0 and multiplies the others by "
                f"{ratio:.6g}"
            )
    return ""


def _mask(local: Local) -> str:
    apart = ~((local.left == local.right) | (np.abs(local.left - local.right) <= local.budget))
    if not apart.any() or apart.all():
        return ""
    fills = [np.unique(side[apart]) for side in (local.left, local.right)]
    if all(len(fill) == 1 for fill in fills) and min(fill[0] for fill in fills) <= _FILL:
        ours, theirs = (float(fill[0]) for fill in fills)
        return f"they differ where a mask is: {ours:g} on the imperative side, {theirs:g} on the functional"
    return ""


def _gelu(local: Local) -> str:
    if local.backward:
        return ""
    for x in local.like:
        exact = special.erfc(-x / np.sqrt(2))
        tanh = 1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
        # Twice the share of x that is passed on, that less one, that share, or what is passed on.
        for part, less in ((1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.5 * x, 0.0)):
            for left, right, words in (
                (exact, tanh, "exact on the imperative side and its tanh approximation on the functional"),
                (tanh, exact, "the tanh approximation on the imperative side and exact on the functional"),
            ):
                if local.same(local.left, part * (left - less)) and (
                    local.same(local.right, part * (right - less))
                ):
                    return f"gelu is {words}"
    return ""


def _softmax(local: Local) -> str:
    for x in local.given:
        if x.shape != local.left.shape or x.ndim < 2:  # noqa: PLR2004  # another axis
            continue
        for function, name in ((special.softmax, "softmax"), (special.log_softmax, "log_softmax")):
            by_axis = [function(x, axis=axis) for axis in range(x.ndim)]
            for (a, left), (b, right) in permutations(enumerate(by_axis), 2):
                if local.same(local.left, left) and local.same(local.right, right):
                    return f"{name} goes along axis {a} on the imperative side, axis {b} on the functional"
    return ""


def _transposed(local: Local) -> str:
    left, right = local.left, local.right
    square = left.ndim == 2 and left.shape[0] == left.shape[1] > 1  # noqa: PLR2004
    if square and local.same(left, right.T) and not local.same(left, right):
        return "one is the transpose of the other"
    for weight in local.given:
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:  # noqa: PLR2004
            continue
        for x in local.given:
            if x is weight or not x.ndim or x.shape[-1] != len(weight):
                continue
            plain, turned = x @ weight, x @ weight.T
            for one, other in ((plain, turned), (turned, plain), (plain.T, turned.T), (turned.T, plain.T)):
                if one.shape == left.shape and local.same(left, one) and local.same(right, other):
                    return "with its square weight transposed, the functional side computes the same"
    return ""


def _epsilon(local: Local) -> str:
    """Variances that something was added to, be it under a root that has been taken."""
    for name, undone in _ROOTS.items():
        left, right = undone(local.left), undone(local.right)
        apart = left - right
        step = float(np.median(apart))
        if apart.size < 2 or step == 0 or not np.isfinite(apart).all():  # noqa: PLR2004
            continue
        slack = local.budget * float(np.abs(left).max() / np.abs(local.left).max())
        if not np.all(np.abs(apart - step) <= 4 * max(slack, np.spacing(np.abs(left).max()))):
            continue
        for variance in local.like:
            ours, theirs = (float(np.median(side - variance)) for side in (left, right))
            if np.all(np.abs(left - variance - ours) <= 8 * slack + 8 * np.spacing(np.abs(left).max())) and (
                np.all(variance >= 0)
            ):
                where = f" under the {name}" if name else ""
                return f"{ours:.6g} is added{where} on the imperative side, {theirs:.6g} on the functional"
    return ""


_ROOTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda x: x,
    "root": np.square,
    "reciprocal root": lambda x: 1 / np.square(x),
}


def _epsilon_place(local: Local) -> str:
    small = sorted({n for n in local.numbers if 0 < n < 0.1})  # noqa: PLR2004  # no epsilon is larger
    bases = [base for v in local.like if np.all(v >= 0) for base in (v, v**2)]
    for variance, inside, outside in product(bases, small, small):
        within, without = np.sqrt(variance + inside), np.sqrt(variance) + outside
        for one, other, words in (
            (within, without, "inside the root on the imperative side, outside on the functional"),
            (without, within, "outside the root on the imperative side, inside on the functional"),
        ):
            straight = local.same(local.left, one) and local.same(local.right, other)
            turned = local.same(local.left, 1 / one) and local.same(local.right, 1 / other)
            across = local.same(local.left * one, local.right * other) and not local.same(
                local.left, local.right
            )
            if straight or turned or across:
                return f"epsilon is {words} ({inside:g})" if inside == outside else f"epsilon is {words}"
    return ""


def _momentum(local: Local) -> str:
    for old, new in permutations(local.like, 2):
        way = new - old
        if not np.any(way):
            continue
        steps = []
        for side in (local.left, local.right):
            share = float(np.median((side - old)[way != 0] / way[way != 0]))
            steps.append(share if local.same(side, old + share * way) else np.nan)
        if np.isclose(sum(steps), 1) and not np.isclose(steps[0], steps[1]) and 0 < steps[0] < 1:
            return (
                f"the running value moves {steps[0]:.6g} of the way to the new one on the imperative side, "
                f"{steps[1]:.6g} on the functional: one side's momentum is one minus the other's"
            )
    return ""


def _ratio(local: Local) -> float:
    """The constant that the functional value is of the imperative one; NaN if there is none."""
    told = (local.left != 0) & np.isfinite(local.left) & np.isfinite(local.right)
    if not told.any():
        return np.nan
    ratio = float(np.median(local.right[told] / local.left[told]))
    if not np.isfinite(ratio) or ratio == 0 or not local.same(local.right, ratio * local.left):
        return np.nan
    return ratio


def _ddof(local: Local) -> str:
    """Sums over n entries that one side divides by n and the other by n − 1; or the roots of that."""
    if local.backward or local.same(local.left, local.right):
        return ""
    for power, what in ((1.0, "variance"), (2.0, "variance under the root")):
        left, right = local.left**power, local.right**power
        for total, count in _sums(local):
            for ours, theirs, words in (
                (count, count - 1, "n on the imperative side and by n − 1 on the functional"),
                (count - 1, count, "n − 1 on the imperative side and by n on the functional"),
            ):
                if local.same(left, total / ours) and local.same(right, total / theirs):
                    return f"the {what} is divided by {words} (n = {count})"
    # A few numbers, such as a loss, are as far apart for other reasons.
    told = local.left.size >= _ENOUGH and np.all(local.left >= 0)
    for count in sorted(n for n in local.counts if n > 2 and told):  # noqa: PLR2004
        for power, what in ((1.0, "variance"), (0.5, "variance under the root")):
            factor = (count / (count - 1)) ** power
            for one, other, words in (
                (local.left, local.right, "n − 1 on the imperative side and by n on the functional"),
                (local.right, local.left, "n on the imperative side and by n − 1 on the functional"),
            ):
                if local.same(one, factor * other):
                    return f"the {what} is divided by {words} (n = {count})"
    return ""


def _sums(local: Local) -> Iterator[tuple[np.ndarray, int]]:
    """Sums of squares that the value may be made of, in its shape, and over how many entries each goes."""
    for x in local.given:
        for axes in _axes(x.ndim):
            count = int(np.prod([x.shape[axis] for axis in axes]))
            if count > 1 and x.size == count * local.left.size:
                yield (np.var(x, axes) * count).reshape(local.left.shape), count
                if np.all(x >= 0):
                    yield x.sum(axes).reshape(local.left.shape), count
        if x.size == local.left.size and np.all(x >= 0):  # the sum has been taken already
            whole = x.reshape(local.left.shape)
            for side in (local.left, local.right):
                counts = np.round(np.median(whole[side > 0] / side[side > 0])) if np.any(side > 0) else 0
                yield from ((whole, int(n)) for n in (counts, counts + 1) if n > 1)


def _axes(count: int) -> Iterator[tuple[int, ...]]:
    return (axes for size in range(1, count + 1) for axes in combinations(range(count), size))


def _scaling(local: Local) -> str:
    ratio = _ratio(local)
    if np.isnan(ratio) or local.left.size < _ENOUGH or local.same(local.left, local.right) or ratio < 0:
        return ""
    sizes = sorted({n for x in (*local.given, local.left, local.right) for n in (*x.shape, x.size) if n > 1})
    for count in sizes:
        for power, words in (
            (0.5, f"√{count}"),
            (-0.5, f"1/√{count}"),
            (1.0, f"{count}"),
            (-1.0, f"1/{count}"),
        ):
            if np.isclose(ratio, float(count) ** power, rtol=1e-9, atol=0):
                return f"the functional value is {words} times the imperative one"
    return f"the functional value is {ratio:.9g} times the imperative one"


def _padding(local: Local) -> str:
    left, right = local.left, local.right
    if not any(word in name for name in local.operations for word in ("conv", "pad")):
        return ""
    for shifts in _shifts(left.shape):
        spans = list(zip(left.shape, shifts, strict=True))
        ahead = tuple(slice(max(by, 0), length + min(by, 0)) for length, by in spans)
        behind = tuple(slice(max(-by, 0), length + min(-by, 0)) for length, by in spans)
        inner = right[behind]
        if inner.size >= _ENOUGH and np.ptp(inner) > 0 and local.same(left[ahead], inner):
            moved = ", ".join(f"{abs(by)} along axis {axis}" for axis, by in enumerate(shifts) if by)
            return f"one is the other shifted by {moved}: padded on the other side"
    return ""


def _shifts(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Ways to shift an array along one of its axes, or along some of them by as much, leaving most of it."""
    for by, axes in product((1, 2, 3), _axes(len(shape))):
        if all(by < shape[axis] - 1 for axis in axes):
            for signs in product((1, -1), repeat=len(axes)):
                told = dict(zip(axes, signs, strict=True))
                yield tuple(by * told.get(axis, 0) for axis in range(len(shape)))


def paddings(
    padding: Any,  # noqa: ANN401  # pairs of numbers
    strides: Any,  # noqa: ANN401
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Other paddings of a convolution that may give as many entries, axis by axis or alike on all of them.

    Args:
        padding: before and after, by axis.
        strides: by axis.
    """
    choices = [
        [
            (before, total - before)
            for total in range(max(sum(pair) - stride + 1, 0), sum(pair) + stride)
            for before in range(total + 1)
        ]
        for pair, stride in zip(padding, strides, strict=True)
    ]
    alike = [(pair,) * len(choices) for pair in choices[0] if all(pair in some for some in choices)]
    for made in dict.fromkeys((*alike, *islice(product(*choices), _PADDINGS))):
        if made != tuple(tuple(pair) for pair in padding):
            yield made


def _index(local: Local) -> str:
    for one, other, side in (
        (local.left, local.right, "imperative"),
        (local.right, local.left, "functional"),
    ):
        plain, coarse = other.astype(np.float64), one.astype(np.float64)
        if np.array_equal(plain, np.floor(plain)) or not np.array_equal(coarse, np.floor(coarse)):
            continue
        for rounding, words in ((np.floor, "rounds down"), (np.trunc, "cuts off"), (np.round, "rounds")):
            if local.same(coarse, rounding(plain)):
                return f"the {side} side {words} to integers what the other keeps as it is"
    return ""


_PROBES: dict[str, Callable[[Local], str]] = {
    "precision": _precision,
    "relu at zero": _relu_at_zero,
    "dropout left on": _dropout,
    "mask fill value": _mask,
    "gelu": _gelu,
    "softmax axis": _softmax,
    "transposed weight": _transposed,
    "epsilon value": _epsilon,
    "epsilon place": _epsilon_place,
    "momentum convention": _momentum,
    "ddof": _ddof,
    "constant factor": _scaling,
    "integer or float index": _index,
    "padding side": _padding,
}

#: Every cause that can be named.
CAUSES: Sequence[str] = tuple(_PROBES)
