"""What a floating-point format is like, and how inputs are moved and results counted in its units."""

from functools import cache

import ml_dtypes
import numpy as np

from compare.judge.trees import Gap
from scenarios.types import Arrays


@cache
def _format(dtype: np.dtype) -> ml_dtypes.finfo | None:
    """The format of a real or complex dtype, ml_dtypes' own ones among them; None if it rounds nothing."""
    try:
        return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]  # it carries no types
    except ValueError:
        return None


def _known(dtype: str | np.dtype) -> ml_dtypes.finfo:
    known = _format(np.dtype(getattr(ml_dtypes, dtype, dtype) if isinstance(dtype, str) else dtype))
    if known is None:
        raise ValueError(f"{dtype} is no floating-point dtype.")
    return known


def unit_roundoff(dtype: str | np.dtype) -> float:
    """Half the distance from 1 to the next number of ``dtype``: 2⁻⁵³ for float64, 2⁻²⁴ for float32."""
    return float(_known(dtype).eps) / 2


def smallest_normal(dtype: str | np.dtype) -> float:
    """The number below which rounding errors of ``dtype`` are absolute."""
    return float(_known(dtype).smallest_normal)


def is_floating(array: np.ndarray) -> bool:
    """Whether rounding has a say in it: real or complex, of whatever precision."""
    return _format(array.dtype) is not None


def complex_of(dtype: str) -> str:
    """The complex dtype whose parts are ``dtype``, or ``dtype`` where there is none."""
    return {"float64": "complex128", "float32": "complex64"}.get(dtype, dtype)


def chain(*trees: Arrays) -> float:
    """√N for N floating-point inputs: by how much N independent rounding errors add up.

    Source: N. Higham and T. Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci.
    Comput. 41, 2019.
    """
    entries = sum(array.size for tree in trees for array in tree.values() if is_floating(array))
    return float(np.sqrt(max(entries, 1)))


def rounded(inputs: Arrays, dtype: str | None) -> Arrays:
    """The inputs as ``dtype`` holds them, in the dtype they came in; as they are without one."""
    if dtype is None:
        return inputs
    return {
        name: array.astype(dtype).astype(array.dtype)
        if is_floating(array) and array.dtype.kind != "c"
        else array
        for name, array in inputs.items()
    }


def moved(
    inputs: Arrays, radius: float, dtype: str, random: np.random.Generator, *, off_zero: bool = False
) -> Arrays:
    """Every entry moved at random, by at most ``radius`` units roundoff of ``dtype`` relative to itself.

    Args:
        inputs: by name; those that are not floating stay.
        radius: in units roundoff.
        dtype: whose units they are.
        random: draws.
        off_zero: whether entries that are exactly zero move too, relative to the largest of their array (or
            to 1), and upwards: what may not be negative, such as a second moment, stays in its domain.
    """
    reach = radius * unit_roundoff(dtype)

    def drawn(array: np.ndarray) -> np.ndarray:
        if not is_floating(array):
            return array
        with np.errstate(invalid="ignore", over="ignore"):
            there = array * (1 + reach * random.uniform(-1, 1, array.shape))
        if off_zero and (zero := array == 0).any():
            size = np.abs(array).max(initial=0, where=np.isfinite(array)) or 1
            there = np.where(zero, reach * size * random.uniform(0, 1, array.shape), there)
        return np.asarray(there, dtype=array.dtype)

    return {name: drawn(array) for name, array in inputs.items()}


def wrong_bits(error: float, scale: float, dtype: str) -> np.float64:
    """How many of the last bits of a result in ``dtype`` an error makes wrong."""
    coarse = unit_roundoff(dtype) * scale
    return np.float64(np.log2(max(1.0, error / coarse)) if coarse and np.isfinite(error) else 0.0)


def last_bits(measured: Gap, unit: float) -> np.float64:
    """The difference in units of the last place of the largest magnitude."""
    if not measured.absolute or not measured.scale:
        return np.float64(np.inf if measured.absolute else 0)
    return np.float64(measured.absolute / (2 * unit * 2.0 ** np.floor(np.log2(measured.scale))))
