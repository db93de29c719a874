"""Names the cause of a local difference, where changing one thing makes the difference vanish; else none.

Every probe takes what one side computes, changes the one thing that it stands for, and must arrive at what
the other side computes, entry by entry and up to rounding. What no probe explains has an unknown cause.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, islice, permutations, product
from typing import Any

import ml_dtypes
import numpy as np
from scipy import special, stats

from compare.judge.precision import is_floating, unit_roundoff

#: Fewer entries than these can be explained by chance,
_ENOUGH = 4

#: and what chance alone brings about more often than this is no evidence.
_CHANCE = 1e-3

#: So many paddings are tried where the axes differ.
_PADDINGS = 64

#: A value that is meant to remove what it is added to.
_FILL = -100.0

#: No epsilon is larger.
_SMALL = 0.1

#: Bits of a mantissa after the point.
_FORMATS = {"float32": 23, "float16": 10, "bfloat16": 7, "TF32": 10}


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of the functional side that a local difference was computed of.

    Attributes:
        padding: before and after, by axis.
        strides: by axis.
        again: what the functional side computes with another padding.
    """

    padding: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    again: Callable[[tuple[tuple[int, int], ...]], np.ndarray]


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
        convolutions: of the functional side's region.
        unit: roundoff of the format that they were computed in.
        wide: what the functional side computes where it converts nothing to a format of fewer digits; None if
            it does not.
    """

    left: np.ndarray
    right: np.ndarray
    given: tuple[np.ndarray, ...]
    numbers: tuple[float, ...]
    operations: frozenset[str]
    backward: bool
    budget: float
    counts: frozenset[int] = frozenset()
    convolutions: tuple[Convolution, ...] = ()
    unit: float = 2.0**-53
    wide: np.ndarray | None = None

    def same(self, left: Any, right: Any, slack: Any = None) -> bool:  # noqa: ANN401  # they broadcast
        """Whether two arrays are equal up to rounding, and say anything.

        Args:
            left: one.
            right: the other.
            slack: how far rounding may move the entries of both; that of the values themselves without it.
        """
        left, right = np.asarray(left), np.asarray(right)
        allowed = (self.budget if slack is None else slack) + self.unit * (np.abs(left) + np.abs(right))
        equal = (left == right) | (np.isnan(left) & np.isnan(right))
        return bool(equal.size) and bool(np.all(equal | self._within(left - right, allowed)))

    @staticmethod
    def _within(apart: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        # What may be infinitely far off agrees with anything, and says nothing.
        return np.asarray((np.abs(apart) <= allowed) & np.isfinite(allowed))

    @property
    def ways(self) -> tuple[tuple[np.ndarray, np.ndarray, str, str], ...]:
        """Either side's value, the other's, and the names of both sides in that order."""
        return (
            (self.left, self.right, "imperative", "functional"),
            (self.right, self.left, "functional", "imperative"),
        )

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
    if local.left.shape != local.right.shape or not (_real(local.left) and _real(local.right)):
        return "", ""
    with np.errstate(all="ignore"):
        local = _plain(local)
        if not local.left.size or local.same(local.left, local.right):
            return "", ""
        for name, probe in _PROBES.items():
            evidence = probe(local)
            if evidence:
                return name, evidence
    return "", ""


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind in "biu" or (is_floating(array) and array.dtype.kind != "c")


def _plain(local: Local) -> Local:
    """The same in float64, which holds every other format; how coarse they were is kept."""
    units = [unit_roundoff(side.dtype) for side in (local.left, local.right) if is_floating(side)]
    return replace(
        local,
        left=local.left.astype(np.float64),
        right=local.right.astype(np.float64),
        given=tuple(array.astype(np.float64) for array in local.given if _real(array)),
        unit=min(units, default=local.unit),
    )


def _several(values: np.ndarray, slack: Any) -> bool:  # noqa: ANN401  # a number or an array
    """Whether enough of these numbers are different by more than rounding: one number often is but one."""
    numbers = np.sort(values[np.isfinite(values)])
    return 1 + int(np.count_nonzero(np.diff(numbers) > 2 * np.max(slack))) >= _ENOUGH


def _told(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """What y is over x at the entry that tells it best, the largest of x, and that entry; NaN without one."""
    finite = np.isfinite(x) & np.isfinite(y) & (x != 0)
    if not finite.any():
        return np.nan, np.nan
    best = np.argmax(np.where(finite, np.abs(x), 0))
    return float(y.flat[best] / x.flat[best]), float(abs(x.flat[best]))


def _precision(local: Local) -> str:
    if (
        local.wide is not None
        and local.same(local.left, local.wide)
        and not local.same(local.left, local.right)
    ):
        return "the functional side computes the same where it converts nothing to a format of fewer digits"
    for kind in ("float32", "float16", "bfloat16"):
        if evidence := _held(local, kind) or _multiplied(local, kind):
            return evidence
    return ""


def _tf32(local: Local) -> str:
    """In whose range float16 keeps as many bits, so that often either explains as much.

    Then it is float16 that a value is converted to, and TF32 that what multiplies takes by itself.
    """
    evidence = _multiplied(local, "TF32")
    converted = any(name.rpartition(".")[2] in _CONVERSIONS for name in local.operations)
    if evidence and not (converted and _multiplied(local, "float16")):
        return evidence
    return "" if _held(local, "float16") else _held(local, "TF32")


#: Operations that convert a value.
_CONVERSIONS = frozenset({"convert_element_type", "to", "_to_copy", "half", "type"})


def _rounded(array: np.ndarray, kind: str) -> np.ndarray:
    """The array as a format holds it."""
    if kind == "TF32":
        return _bits(array, _FORMATS[kind]).astype(np.float32).astype(array.dtype)
    return array.astype(np.dtype(getattr(ml_dtypes, kind, kind))).astype(array.dtype)


def _bits(array: np.ndarray, count: int) -> np.ndarray:
    """Rounded to so many bits after the point of the mantissa, ties to even."""
    mantissa, exponent = np.frexp(array)
    return np.asarray(np.ldexp(np.round(np.ldexp(mantissa, count + 1)), exponent - count - 1))


def _needed(array: np.ndarray, kind: str) -> np.ndarray:
    """Where the last bit of a format is taken: numbers of fewer bits are often round for other reasons."""
    return np.asarray(np.isfinite(array) & (_bits(array, _FORMATS[kind] - 1) != array))


def _spacing(array: np.ndarray, kind: str) -> np.ndarray:
    """How far from each other the numbers of a format are."""
    return np.asarray(np.ldexp(0.5, np.frexp(array)[1] - _FORMATS[kind]))


def _held(local: Local, kind: str) -> str:
    for one, other, _, side in local.ways:
        coarse = _rounded(one, kind)
        whole = any(np.array_equal(coarse, f(one)) for f in (np.floor, np.trunc, np.round))
        off = local.budget + local.unit * np.abs(one)
        told = (np.abs(coarse - one) > off) & _needed(coarse, kind)
        # Among numbers that are so far apart, another one is as near to one of them by chance.
        chance = np.prod(np.minimum(1, 2 * off / _spacing(coarse, kind)), where=told)
        if local.same(coarse, other) and chance < _CHANCE and not whole:
            return f"the {side} side holds it in {kind}: rounding the other side's value to that gives it"
    return ""


def _multiplied(local: Local, kind: str) -> str:
    """A product of what is given, of which the factors were rounded first."""
    for x, weight, times, terms in _products(local):
        exact, slack = _multiply(local, x, weight, times, terms)
        coarse = times(_rounded(x, kind), _rounded(weight, kind))
        if np.count_nonzero(np.abs(coarse - exact) > 2 * slack) < _ENOUGH:
            continue
        for one, other, _, side in local.ways:
            if local.same(one, exact, slack) and local.same(other, coarse, slack):
                return f"the {side} side rounds what it multiplies to {kind}: that of the other gives it"
    return ""


_Times = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _multiply(
    local: Local, x: np.ndarray, weight: np.ndarray, times: _Times, terms: int
) -> tuple[np.ndarray, np.ndarray]:
    """A product, and how far off: errors of a sum add up as in ``compare.judge.precision.chain``."""
    rounding = np.sqrt(terms) * local.unit * times(np.abs(x), np.abs(weight))
    return times(x, weight), local.budget + rounding


def _products(local: Local) -> Iterator[tuple[np.ndarray, np.ndarray, _Times, int]]:
    """Pairs of what is given, ways to multiply them that give the value's shape, and of how many terms."""
    for x, weight in permutations(local.given, 2):
        for a, b in product(range(x.ndim), range(weight.ndim)):
            rest = x.shape[:a] + x.shape[a + 1 :] + weight.shape[:b] + weight.shape[b + 1 :]
            if x.shape[a] == weight.shape[b] and rest == local.left.shape:
                yield x, weight, partial(np.tensordot, axes=(a, b)), x.shape[a]
        if x.ndim == weight.ndim > 2 and x.shape[:-2] == weight.shape[:-2]:  # noqa: PLR2004  # matrices
            for a, b in product((-2, -1), repeat=2):
                rest = (*x.shape[:-2], x.shape[-3 - a], weight.shape[-3 - b])
                if x.shape[a] == weight.shape[b] and rest == local.left.shape:
                    yield x, weight, partial(_batched, a=a, b=b), x.shape[a]


def _batched(x: np.ndarray, weight: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.asarray(np.moveaxis(x, a, -1) @ np.moveaxis(weight, b, -2))


def _relu_at_zero(local: Local) -> str:
    if not local.backward:
        return ""
    for x in local.like:
        zero, on = x == 0, x > 0
        # A mask, or what a relu has computed, does not say what went into it.
        if not np.any(x < 0):
            continue
        slopes = (("the mask is", np.ones_like(x)), *(("the share passed on is", g) for g in local.like))
        for (words, slope), (here, there) in product(slopes, permutations((0, 0.5, 1), 2)):
            sides = zip((local.left, local.right), (here, there), strict=True)
            if all(local.same(side, slope * (on + share * zero)) for side, share in sides):
                return (
                    f"they differ only at {int(zero.sum())} entries of {zero.size}, where the input is "
                    f"exactly 0: {words} {here:g} there on the imperative side, {there:g} on the functional"
                )
    return ""


def _dropout(local: Local) -> str:
    for one, other, _, side in local.ways:
        dropped, kept = (other == 0) & (one != 0), (other != 0) & (one != 0)
        count, of = int(dropped.sum()), int(dropped.sum() + kept.sum())
        if not count or not _several(one[kept], local.budget):
            continue
        ratio, largest = _told(one[kept], other[kept])
        if not ratio > 1 or not local.same(other[kept], ratio * one[kept], 2 * (1 + ratio) * local.budget):
            continue
        # A rate of 1 − 1 / ratio drops about as many, and neither by their values nor, unless it is known, in
        # rows, as where some are masked and a mean is over the others.
        likely = stats.binomtest(count, of, 1 - 1 / ratio).pvalue > _CHANCE
        off = (1 + ratio) * local.budget / largest
        meant = any(local.same(1 / ratio, known, off) for n in local.numbers for known in (n, 1 - n))
        if likely and not _cut(one, dropped, kept) and (meant or not _in_rows(dropped | (one == 0))):
            return (
                f"the {side} side sets {count / of:.0%} of the entries to 0 and multiplies the others by "
                f"{ratio:.6g}"
            )
    return ""


def _cut(values: np.ndarray, dropped: np.ndarray, kept: np.ndarray) -> bool:
    """Whether a threshold tells what is dropped."""
    return any(
        some[dropped].max() < some[kept].min() or some[kept].max() < some[dropped].min()
        for some in (values, np.abs(values))
    )


def _in_rows(dropped: np.ndarray) -> bool:
    """Whether it is the same along an axis."""
    return any(
        length > 1 and bool(np.all(dropped == dropped.take([0], axis)))
        for axis, length in enumerate(dropped.shape)
    )


def _mask(local: Local) -> str:
    left, right = local.left, local.right
    apart = ~((left == right) | (np.abs(left - right) <= local.budget))
    fills = [np.unique(side[apart]) for side in (left, right)]
    if any(len(fill) != 1 for fill in fills):
        return ""
    ours, theirs = (float(fill[0]) for fill in fills)
    # What stands in neither computation is data.
    meant = {*local.numbers, *(float(x.flat[0]) for x in local.given if np.unique(x).size == 1)}
    # The budget is of the largest number, which what is not masked may be far below.
    sizes = [np.abs(some).max(initial=0, where=np.isfinite(some)) for some in (left[~apart], left, right)]
    rest = local.budget * sizes[0] / max(sizes) if max(sizes) else local.budget
    if (
        min(ours, theirs) <= _FILL
        and {ours, theirs} <= meant
        and local.same(left[~apart], right[~apart], rest)
    ):
        return f"they differ where a mask is: {ours:g} on the imperative side, {theirs:g} on the functional"
    return ""


def _gelu(local: Local) -> str:
    if local.backward:
        return ""
    for x in local.like:
        shares = special.erfc(-x / np.sqrt(2)), 1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
        # Twice the share of x that is passed on, that less one, that share, or what is passed on.
        for part, less in ((1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.5 * x, 0.0)):
            exact, tanh = (part * (share - less) for share in shares)
            if local.same(exact, tanh, 2 * local.budget):
                continue
            for left, right, words in (
                (exact, tanh, "exact on the imperative side and its tanh approximation on the functional"),
                (tanh, exact, "the tanh approximation on the imperative side and exact on the functional"),
            ):
                if local.same(local.left, left) and local.same(local.right, right):
                    return f"gelu is {words}"
    return ""


def _softmax(local: Local) -> str:
    for x in local.given:
        if x.shape != local.left.shape or x.ndim < 2:  # noqa: PLR2004  # another axis
            continue
        for function, name in ((special.softmax, "softmax"), (special.log_softmax, "log_softmax")):
            by_axis = [function(x, axis=axis) for axis in range(x.ndim)]
            for (a, left), (b, right) in permutations(enumerate(by_axis), 2):
                alike = local.same(left, right, 2 * local.budget)
                if not alike and local.same(local.left, left) and local.same(local.right, right):
                    return f"{name} goes along axis {a} on the imperative side, axis {b} on the functional"
    return ""


def _transposed(local: Local) -> str:
    left, right = local.left, local.right
    square = left.ndim == 2 and left.shape[0] == left.shape[1] > 1  # noqa: PLR2004
    # What is not given, such as a product, may be turned for other reasons.
    weights = [w for x in local.given for w in (x, x.T) if w.shape == left.shape]
    if square and local.same(left, right.T) and any(local.same(left, w) for w in weights):
        return "either side is the transpose of the other"
    for x, weight in permutations(local.given, 2):
        if weight.ndim != 2 or len({*weight.shape, *x.shape[-1:]}) != 1 or not x.ndim:  # noqa: PLR2004
            continue
        times = partial(np.tensordot, axes=(-1, 0))
        made = [_multiply(local, x, w, times, len(w)) for w in (weight, weight.T)]
        for (one, off), (other, wrong) in (made, [(y.T, slack.T) for y, slack in made]):
            if one.shape != left.shape or local.same(one, other, off + wrong):
                continue
            # Whatever is added to the product, such as a bias, is the same on both sides; that of the keys of
            # an attention is lost in its softmax, and one side may have added it alone.
            slack = off + wrong + 2 * local.budget
            apart = [a - b - (one - other) for a, b, *_ in local.ways]
            if any(local.same(rest, row, slack) for rest in apart for row in _rows(local, rest.shape[-1])):
                return "with its square weight transposed, either side computes what the other does"
    return ""


def _rows(local: Local, length: int) -> Iterator[np.ndarray]:
    """Rows of zeros, and of what may be a bias, or several that are fused."""
    yield np.zeros(length)
    for array in local.given:
        if array.ndim == 1 and array.size and array.size % length == 0:
            for row in array.reshape(-1, length):
                yield from (row, -row)


def _epsilon(local: Local) -> str:
    """Variances that something was added to, be it under a root that has been taken."""
    for name, (undone, slope) in _ROOTS.items():
        left, right = undone(local.left), undone(local.right)
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            continue
        # To first order.
        slack, wrong = (slope(side) * local.budget for side in (local.left, local.right))
        for variance in local.like:
            best = np.argmin(slack + wrong)
            ours, theirs = (float((side - variance).flat[best]) for side in (left, right))
            off = float((slack + wrong).flat[best])
            known = np.abs(ours - theirs) > 2 * (slack + wrong)
            if not np.all(variance >= 0) or not _several(variance[known], off):
                continue
            fits = local.same(left, variance + ours, slack + off) and (
                local.same(right, variance + theirs, wrong + off)
            )
            if fits and all(-off <= added < _SMALL for added in (ours, theirs)):
                where = f" under the {name}" if name else ""
                ours, theirs = (added if added > off else 0.0 for added in (ours, theirs))
                return f"{ours:.6g} is added{where} on the imperative side, {theirs:.6g} on the functional"
    return ""


_Function = Callable[[np.ndarray], np.ndarray]

#: What undoes a root, and by how much more the result is off than the root was.
_ROOTS: dict[str, tuple[_Function, _Function]] = {
    "": (lambda x: x, np.ones_like),
    "root": (np.square, lambda x: 2 * np.abs(x)),
    "reciprocal root": (lambda x: 1 / np.square(x), lambda x: 2 / np.abs(x) ** 3),
}


def _epsilon_place(local: Local) -> str:
    small = sorted({n for n in local.numbers if 0 < n < _SMALL})
    bases = [base for v in local.like if np.all(v >= 0) for base in (v, v**2)]
    # A root divided by the other one is what either place gives of the other: roots alone are told first.
    for placed, variance, inside, outside in product((_rooted, _divided), bases, small, small):
        within, without = np.sqrt(variance + inside), np.sqrt(variance) + outside
        if not _several(within - without, 0):  # of one variance either place can do the same
            continue
        for one, other, words in (
            (within, without, "inside the root on the imperative side, outside on the functional"),
            (without, within, "outside the root on the imperative side, inside on the functional"),
        ):
            if placed(local, one, other):
                return f"epsilon is {words} ({inside:g})" if inside == outside else f"epsilon is {words}"
    return ""


def _rooted(local: Local, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the values are these, or one over them."""
    pairs = ((one, other), (1 / one, 1 / other))
    return any(local.same(local.left, ours) and local.same(local.right, theirs) for ours, theirs in pairs)


def _divided(local: Local, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the same was divided by these."""
    # Times what it was divided by, a value is as much more off.
    slack = (one + other) * local.budget
    told = np.abs(local.left * (one - other)) > slack
    return local.same(local.left * one, local.right * other, slack) and int(told.sum()) >= _ENOUGH


def _momentum(local: Local) -> str:
    for old, new in permutations(local.like, 2):
        way = new - old
        if not _several(way[way != 0], local.budget):
            continue
        steps = []
        for side in (local.left, local.right):
            share, largest = _told(way, side - old)
            # Where it is told, and where it is tried, the value may be off.
            steps.append(share if local.same(side, old + share * way, 2 * local.budget) else np.nan)
        off = 2 * (local.budget + local.unit * float(np.abs(old).max())) / largest
        ours, theirs = steps
        if abs(ours + theirs - 1) <= off < _CHANCE and abs(ours - theirs) > 2 * off and 0 < ours < 1:
            return (
                f"the running value moves {ours:.6g} of the way to the new one on the imperative side, "
                f"{theirs:.6g} on the functional: one side's momentum is one minus the other's"
            )
    return ""


def _ratio(local: Local) -> tuple[float, float]:
    """The constant that the functional value is of the imperative one, and how far off it is; NaN if none."""
    ratio, largest = _told(local.left, local.right)
    # Either value may be off where it is told, and where it is tried.
    slack = (1 + abs(ratio)) * local.budget
    known = np.abs((ratio - 1) * local.left) > 2 * slack
    several = _several(local.left[known], slack) or (local.left.size == 1 and bool(known.all()))
    if not local.same(local.right, ratio * local.left, 2 * slack) or not several:
        return np.nan, np.nan
    return ratio, slack / largest + 2 * local.unit * abs(ratio)


def _ddof(local: Local) -> str:
    """Sums over n entries that one side divides by n and the other by n − 1; or the roots of that."""
    if local.backward:
        return ""
    squared = any(word in name for name in local.operations for word in _SQUARED)
    return (_summed(local) if squared else "") or _corrected(local, squared=squared)


#: Operations without one of which there is no variance: a mean may be over one entry less as well.
_SQUARED = ("var", "std", "square", "pow", "norm")

#: By what a variance is divided: the larger one on the imperative side, and on the functional.
_BY = (
    "n − 1 on the imperative side and by n on the functional",
    "n on the imperative side and by n − 1 on the functional",
)


def _summed(local: Local) -> str:
    for power, what in ((1, "variance"), (2, "variance under the root")):
        left, right = local.left**power, local.right**power
        # To first order, x² is 2|x| times as far off as x.
        off, wrong = (power * np.abs(x) ** (power - 1) * local.budget for x in (local.left, local.right))
        for total, count in _sums(local):
            rounding = np.sqrt(count) * local.unit * total / (count - 1)
            for ours, theirs, words in zip((count - 1, count), (count, count - 1), _BY, strict=True):
                if local.same(left, total / ours, off + rounding) and (
                    local.same(right, total / theirs, wrong + rounding)
                ):
                    return f"the {what} is divided by {words} (n = {count})"
    return ""


def _corrected(local: Local, *, squared: bool) -> str:
    """By their ratio alone, where what was summed is not at hand: of variances, or by an n / (n − 1)."""
    told = np.abs(local.left - local.right) > 2 * local.budget
    # A few numbers, such as a loss, are as far apart for other reasons.
    if not _several(local.left[told], local.budget) or np.any(local.left < 0):
        return ""
    for factor, count, what in _corrections(local):
        if squared or any(local.same(n, count / (count - 1), 0) for n in local.numbers):
            for (one, other, *_), words in zip(local.ways, _BY, strict=True):
                if local.same(one, factor * other, (1 + factor) * local.budget):
                    return f"the {what} is divided by {words} (n = {count})"
    return ""


def _corrections(local: Local) -> Iterator[tuple[float, int, str]]:
    for count in sorted(n for n in local.counts if n > 2):  # noqa: PLR2004
        yield count / (count - 1), count, "variance"
        yield (count / (count - 1)) ** 0.5, count, "variance under the root"


def _sums(local: Local) -> Iterator[tuple[np.ndarray, int]]:
    """Sums of squares that the value may be made of, in its shape, and over how many entries each goes."""
    for x in local.given:
        for axes in _axes(x.ndim):
            count = int(np.prod([x.shape[axis] for axis in axes]))
            if count > 1 and x.size == count * local.left.size:
                yield (np.var(x, axes) * count).reshape(local.left.shape), count
                # An entry that is 0 may be masked, and not counted.
                if np.all(x > 0) and local.left.size >= _ENOUGH:
                    yield x.sum(axes).reshape(local.left.shape), count
        if x.size == local.left.size and np.all(x >= 0) and _several(x, 0):  # the sum has been taken already
            whole = x.reshape(local.left.shape)
            for side in (local.left, local.right):
                over, _ = _told(side, whole)
                near = (round(over), round(over) + 1) if abs(over) * local.unit < 1 else ()
                yield from ((whole, n) for n in near if n > 1)


def _axes(count: int) -> Iterator[tuple[int, ...]]:
    return (axes for size in range(1, count + 1) for axes in combinations(range(count), size))


def _scaling(local: Local) -> str:
    ratio, off = _ratio(local)
    # What may be a variance, and may not, has no cause.
    if not ratio > 0 or any(
        local.same(max(ratio, 1 / ratio), factor, off) for factor, *_ in _corrections(local)
    ):
        return ""
    for factors in _factors(local):
        # So many numbers meet any other by chance if it is not known well.
        if 2 * off * len(factors) > _CHANCE * ratio:
            return ""
        for factor, words in factors.items():
            if abs(ratio - factor) <= off + 4 * local.unit * factor:
                return f"the functional value is {words} times the imperative one"
    return ""


def _factors(local: Local) -> Iterator[dict[float, str]]:
    """Numbers that come of shapes, and these and those of the code by each other, and what they are called.

    A factor that is none of these may have been computed of the data.
    """
    arrays = (*local.given, local.left, local.right)
    if local.left.size == 1:  # a single number, such as a loss, is a factor apart from any other
        sizes = {n for n in (*local.counts, *(x.size for x in local.given)) if n > _ENOUGH}
        yield {power: words for n in sizes for power, words in ((float(n), f"{n}"), (1 / n, f"1/{n}"))}
        return
    counts = sorted({n for x in arrays for n in (*x.shape, x.size) if n > 1} | local.counts | {2})
    roots = {power: words for n in counts for power, words in ((n**0.5, f"√{n}"), (n**-0.5, f"1/√{n}"))}
    simple = roots | {
        power: words for n in counts for power, words in ((float(n), f"{n}"), (1 / n, f"1/{n}"))
    }
    yield simple
    numbers = {abs(n) for n in local.numbers if n and np.isfinite(n)} | {1.0}
    atoms = sorted({*simple, *numbers, *(n**0.5 for n in numbers)})
    yield {n: f"{n:.9g}" for over, under in product(atoms, repeat=2) for n in (over * under, over / under)}


def _padding(local: Local) -> str:
    left, right = local.left, local.right
    for convolution in local.convolutions:
        for padding in _paddings(convolution.padding, convolution.strides):
            made = convolution.again(padding)
            if made.shape == left.shape and local.same(left, made):
                return (
                    f"padded by {padding} and not by {convolution.padding}, the functional side computes the "
                    "same"
                )
    if not any(word in name for name in local.operations for word in ("convolution", "conv_general", "pad")):
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


def _paddings(
    padding: tuple[tuple[int, int], ...], strides: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Other paddings of a convolution that may give as many entries, axis by axis or alike on all of them."""
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
        if made != padding:
            yield made


def _index(local: Local) -> str:
    for plain, coarse, _, side in local.ways:
        # Places are counted from 0; 0 and 1 may say which is more likely; and one number may be taken away.
        if np.any(plain < 0) or coarse.max() <= 1 or np.ptp(plain - coarse) <= 2 * local.budget:
            continue
        whole = np.array_equal(plain, np.floor(plain))
        for step in sorted(n for n in local.numbers if n > 1 and n == np.floor(n)) if whole else (1.0,):
            for rounding, words in ((np.floor, "rounds down"), (np.round, "rounds")):
                if np.array_equal(coarse, step * rounding(plain / step)):
                    to = "integers" if step == 1 else f"multiples of {step:g}"
                    return f"the {side} side {words} to {to} what the other keeps as it is"
    return ""


_PROBES: dict[str, Callable[[Local], str]] = {
    "TF32": _tf32,
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
