"""Measures how far apart two trees of arrays are, at about the speed at which they can be read.

Both arrays pass through the cache once, a chunk at a time, and next to nothing is allocated. NumPy's iterator
cuts the chunks, whatever the strides, and widens narrow dtypes as it goes. There are no threads: they gained
nothing on two cores, where handing over the interpreter's lock cost what sharing the work saved.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite

import numpy as np

#: Bytes of a chunk: those of both sides and their difference fit a cache of one MiB.
CHUNK = 1 << 18


@dataclass(frozen=True)
class Gap:
    """How far apart two arrays of equal shape are.

    Attributes:
        absolute: largest |left − right| in float64, of complex numbers in modulus. Equal infinities, and NaN
            against NaN, are 0 apart; NaN or infinity against anything else is infinitely far.
        scale: largest finite magnitude on either side; 0 if there is none.
        where: index of the first entry that is ``absolute`` apart; () for a scalar and for no entries.
        unequal: number of entries that differ in a bit, or in value if the dtypes differ. All NaNs are equal.
        blank: number of entries that are not finite, on both sides alike.
        size: number of entries.
    """

    absolute: float
    scale: float
    where: tuple[int, ...]
    unequal: int
    blank: int
    size: int


def gaps(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> dict[str, Gap]:
    """Measure two trees, leaf by leaf.

    Raises:
        ValueError: a leaf is in one tree only, or the two of a name cannot be compared.
    """
    for side, here, there in (("left", left, right), ("right", right, left)):
        if extra := sorted(set(here) - set(there)):
            raise ValueError(f"only the {side} tree has {', '.join(extra)}")
    measured = {}
    for name in left:
        try:
            measured[name] = gap(left[name], right[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return measured


def gap(left: np.ndarray, right: np.ndarray) -> Gap:
    """Measure two arrays of equal shape.

    Integers are compared exactly, everything else as floating-point numbers that hold both sides. A 64-bit
    integer is rounded to float64 where it stands against a float, or int64 against uint64.

    Raises:
        ValueError: the shapes differ, or a dtype holds no numbers or wider ones than float64 and complex128.
    """
    if left.shape != right.shape:
        raise ValueError(f"the shape is {left.shape} on the left and {right.shape} on the right")
    common = _common(left.dtype, right.dtype)
    length = min(CHUNK // common.itemsize, left.size)
    reading = _Reading(common, length, bitwise=left.dtype == right.dtype)
    read = {"f": reading.real, "c": reading.complex}.get(common.kind, reading.whole)
    with np.errstate(over="ignore", invalid="ignore"):
        for x, y in np.nditer(
            [left, right],
            flags=["external_loop", "buffered", "zerosize_ok"],
            op_dtypes=[common, common],
            order="C",
            buffersize=length,
        ):
            read(x, y)
            reading.size += x.size
    where = np.unravel_index(reading.first, left.shape) if left.size else ()
    return Gap(
        absolute=float(reading.absolute),
        scale=float(reading.scale),
        where=tuple(map(int, where)),
        unequal=reading.unequal,
        blank=reading.blank,
        size=reading.size,
    )


@cache
def _common(*dtypes: np.dtype) -> np.dtype:
    """The dtype in which two are compared."""
    if all(dtype.kind in "biu" for dtype in dtypes):
        exact = np.result_type(*dtypes)
        if exact.kind in "iu":
            return exact
    for wide in (np.float32, np.float64, np.complex128):
        if all(np.can_cast(dtype, wide) for dtype in dtypes):
            return np.dtype(wide)
    raise ValueError(f"cannot compare {' with '.join(map(str, dtypes))}")


class _Reading:
    """What is known of two arrays after some of their chunks, and room for the differences of one."""

    def __init__(self, common: np.dtype, length: int, *, bitwise: bool) -> None:
        self.gap, self.mask, self.bitwise = np.empty(length, common), np.empty(length, bool), bitwise
        self.absolute: float = 0
        self.scale: float = 0
        self.first = self.unequal = self.blank = self.size = 0

    def real(self, x: np.ndarray, y: np.ndarray) -> None:
        """Read a chunk of float32 or float64."""
        gap, mask = self.gap[: x.size], self.mask[: x.size]
        word = f"u{x.itemsize}" if self.bitwise else x.dtype
        np.not_equal(x.view(word), y.view(word), out=mask)
        unequal, widest = int(np.count_nonzero(mask)), x.dtype.type(0)
        if unequal:
            np.subtract(x, y, out=gap)
            widest = np.abs(gap, out=gap).max()
        size, reach = _largest(x), float(widest)
        if not isfinite(size + reach) and (odd := _odd(x, y)).any():
            self._read_odd(x, y, odd)
            if not odd.all():
                self.real(np.where(odd, 0, x), np.where(odd, 0, y))
            return
        self.unequal += unequal
        # |y| ≤ |x| + |x − y|, so y is read only where it may be the largest. The sum may be rounded down to
        # the number below |y|: a tie is no proof.
        if size + reach >= self.scale:
            self.scale = max(self.scale, size, _largest(y))
        # Rounding keeps order, so what is widest in float64 is among what is widest in float32.
        if unequal and widest >= x.dtype.type(self.absolute):
            (at,) = np.equal(gap, widest, out=mask).nonzero()
            exact = np.abs(x[at].astype(np.float64) - y[at])
            self._note(exact.max().item(), at[exact.argmax()].item())

    def whole(self, x: np.ndarray, y: np.ndarray) -> None:
        """Read a chunk of integers."""
        unequal = int(np.count_nonzero(np.not_equal(x, y, out=self.mask[: x.size])))
        self.scale = max(self.scale, _largest(x))
        if unequal:
            self.unequal += unequal
            self.scale = max(self.scale, _largest(y))
            gap = np.maximum(x, y, out=self.gap[: x.size])
            gap -= np.minimum(x, y)
            # A signed difference that wraps around has the bits of the unsigned one.
            exact = gap.view(f"u{gap.itemsize}")
            self._note(exact.max().item(), exact.argmax().item())

    def complex(self, x: np.ndarray, y: np.ndarray) -> None:
        """Read a chunk of complex128."""
        if (odd := _odd(x, y)).any():
            self._read_odd(x, y, odd)
            x, y = np.where(odd, 0, x), np.where(odd, 0, y)
        gap = np.abs(x - y)
        self._note(gap.max().item(), gap.argmax().item())
        self.scale = max(self.scale, _largest(x), _largest(y))
        self.unequal += int(np.count_nonzero(self._differ(x, y)))

    def _read_odd(self, x: np.ndarray, y: np.ndarray, odd: np.ndarray) -> None:
        """Read the odd entries of a chunk; with zeros in their place, they have no part in the rest."""
        both_nan = np.isnan(x) & np.isnan(y)
        alike = (x == y) | both_nan
        self.blank += int(np.count_nonzero(odd & alike))
        self.unequal += int(np.count_nonzero(odd & self._differ(x, y) & ~both_nan))
        if (apart := odd & ~alike).any():
            self._note(np.inf, apart.argmax().item())
            for side in (x, y):
                self.scale = max(self.scale, _largest(np.where(np.isfinite(side), side, 0)))

    def _differ(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        unequal: np.ndarray = x != y
        if self.bitwise:
            words = [np.ascontiguousarray(side).view(f"u{min(side.itemsize, 8)}") for side in (x, y)]
            unequal = (words[0] != words[1]).reshape(x.size, -1).any(axis=1)
        return unequal

    def _note(self, absolute: float, at: int) -> None:
        if absolute > self.absolute:
            self.absolute, self.first = absolute, self.size + at


def _odd(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which entries are not finite on one side or both."""
    odd: np.ndarray = ~(np.isfinite(x) & np.isfinite(y))
    return odd


def _largest(x: np.ndarray) -> float:
    """The largest magnitude of a chunk; of real numbers, not finite if an entry is not."""
    if x.dtype.kind == "c":
        sizes = np.abs(x)
        return float(sizes.max(initial=0, where=np.isfinite(sizes)))
    return max(float(x.max()), -float(x.min()))
