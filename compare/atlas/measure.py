"""Measures entries of the atlas: what both sides make of the same points, and what the judge says of it."""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from compare import twins
from compare.judge import SIDES, examine
from compare.judge.precision import rounded
from compare.judge.verdict import Finding, Word
from scenarios.atlas import Entry
from scenarios.types import Arrays, Device, Dtype

DTYPES: tuple[Dtype, ...] = ("float32", "float64")

#: What a side makes of points in a dtype: arrays by quantity, or the sentence by which it refuses one.
Reader = Callable[[Arrays, Dtype], Mapping[str, "np.ndarray | str"]]


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity of an entry in one dtype.

    Attributes:
        name: ``value``, ``zero`` (the sign of what is zero in it), ``gradient.x``, ``second.x``, ``tangent``.
        word: the judge's; ``refused`` where a side does not offer it.
        reason: what is peculiar about it; or the sentence by which a side refuses.
        left: what the one has; None where it refuses.
        right: what the other has.
        ulps: the largest difference of an entry, in units of the last place.
    """

    name: str
    word: Word | Literal["refused"]
    reason: str
    left: np.ndarray | None
    right: np.ndarray | None
    ulps: np.float64 = field(default_factory=lambda: np.float64(0))


Quantities = tuple[Quantity, ...]


@dataclass(frozen=True, eq=False)
class Reading:
    """What is measured of one entry in one dtype.

    Attributes:
        entry: its name.
        dtype: of the computation.
        port: PyTorch's expression against the naive one in JAX.
        translation: against the translation; empty where there is none.
        modes: by side, reverse mode against forward mode, where it offers both.
        compiled: JAX's naive expression carried out step by step against compiled as a whole; in float32.
    """

    entry: str
    dtype: Dtype
    port: Quantities
    translation: Quantities = ()
    modes: Mapping[str, Quantities] = field(default_factory=dict)
    compiled: Quantities = ()

    @property
    def word(self) -> str:
        """Of the port: the worst of the value and the gradients."""
        return worst(self.port)

    @property
    def translated(self) -> str:
        """Of the translation: the worst of the value and the gradients; empty where there is none."""
        return worst(self.translation) if self.translation else ""


_ORDER = ("different", "undecided", "vacuous", "rounding", "identical", "refused")


def worst(quantities: Quantities, kinds: Collection[str] = ("value", "gradient")) -> str:
    """The word that says least good of quantities of some kinds; refused only where all are."""
    words = [quantity.word for quantity in quantities if quantity.name.partition(".")[0] in kinds]
    return min(words, key=_ORDER.index, default="refused")


@dataclass(frozen=True)
class Sides:
    """Both frameworks, on one device."""

    device: Device = "cpu"

    def reader(self, side: str, text: str, fixed: Collection[str], **options: bool) -> Reader:
        """What a side makes of an expression; the options are those of its ``measured``."""
        read = twins.expressions(side)
        return lambda arrays, dtype: read(text, arrays, dtype, self.device, fixed=fixed, **options)


def measured(entry: Entry, sides: Sides) -> tuple[Reading, ...]:
    """All that is measured of an entry, in both precisions.

    Args:
        entry: of the atlas.
        sides: that measure it.
    """
    with warnings.catch_warnings():  # of what is asked for on purpose, such as a variance of one entry
        warnings.simplefilter("ignore")
        return tuple(_measured(entry, sides))


def _measured(entry: Entry, sides: Sides) -> Iterator[Reading]:
    at = rounded(entry.arrays, "float32")
    torch = sides.reader("imperative", entry.torch, entry.fixed)
    jax = sides.reader("functional", entry.jax, entry.fixed)
    port = compared(torch, jax, at)
    translation = sides.reader("functional", entry.translation, entry.fixed)
    translated = compared(torch, translation, at) if entry.translation else {}
    modes = {
        side: compared(_reverse(read), _forward(read), at)
        for side, read in (("imperative", torch), ("functional", jax))
    }
    compiled = _compiled(entry, sides, at)
    for dtype in DTYPES:
        yield Reading(
            entry.name,
            dtype,
            port[dtype],
            translated.get(dtype, ()),
            {side: found[dtype] for side, found in modes.items()},
            compiled if dtype == "float32" else (),
        )


def _reverse(read: Reader) -> Reader:
    """The sum of all gradients, or the sentence by which one is refused."""

    def mode(arrays: Arrays, dtype: Dtype) -> dict[str, np.ndarray | str]:
        found = read(arrays, dtype)
        slopes = [slope for name, slope in found.items() if name.startswith("gradient.")]
        refused = [slope for slope in slopes if isinstance(slope, str)]
        if refused or not slopes:
            return dict.fromkeys(("mode",), refused[0]) if refused else {}
        return {"mode": np.asarray(sum(np.sum(np.real(slope)) for slope in slopes), dtype)}

    return mode


def _forward(read: Reader) -> Reader:
    """The sum of what a step along ones changes, which is the sum of all gradients too."""

    def mode(arrays: Arrays, dtype: Dtype) -> dict[str, np.ndarray | str]:
        tangent = read(arrays, dtype).get("tangent")
        if tangent is None:
            return {}
        return {"mode": tangent if isinstance(tangent, str) else np.asarray(np.sum(np.real(tangent)), dtype)}

    return mode


def _compiled(entry: Entry, sides: Sides, at: Arrays) -> Quantities:
    """JAX step by step against JAX compiled: the value and the gradients, in float32."""
    steps, whole = (
        sides.reader("functional", entry.jax, entry.fixed, compiled=compiled, deep=False)
        for compiled in (False, True)
    )
    one, other = (
        {
            name: array
            for name, array in read(at, "float32").items()
            if name != "type" and isinstance(array, np.ndarray)
        }
        for read in (steps, whole)
    )
    # That no bit differs needs no judge, who would have every step compiled in float64 too.
    if one.keys() == other.keys() and all(np.array_equal(one[n], other[n], equal_nan=True) for n in one):
        return tuple(Quantity(name, "identical", "", one[name], other[name]) for name in one)
    return compared(steps, whole, at)["float32"]


def compared(left: Reader, right: Reader, at: Arrays) -> dict[Dtype, Quantities]:
    """What the judge says of every quantity, in both precisions.

    At a point where a value is infinite, or no number, or all derivatives are zero, there is nothing that
    rounding could move: then it is judged of what kind every entry is.
    """
    found = {dtype: (left(at, dtype), right(at, dtype)) for dtype in DTYPES}
    names = dict.fromkeys(name for both in found.values() for one in both for name in one)
    offered = [
        name
        for name in names
        if name != "type"
        and all(isinstance(one.get(name), np.ndarray) for both in found.values() for one in both)
    ]
    examination = examine(partial(_judged, left, offered), partial(_judged, right, offered), at)
    said = {"float64": examination.higher, "float32": examination.lower}
    return {
        dtype: tuple(_quantities(names, found[dtype], {f.quantity: f for f in said[dtype]}))
        for dtype in DTYPES
    }


def _judged(read: Reader, offered: Sequence[str], inputs: Arrays, dtype: Dtype) -> Arrays:
    """What is offered, with the kind of every entry beside it, and the sign of every zero of the value."""
    found = read(inputs, dtype)
    judged: dict[str, np.ndarray] = {}
    for name in offered:
        array = found[name]
        if isinstance(array, str):  # it is refused here, and was not at the point itself
            raise ValueError(array)  # noqa: TRY004
        floating = array.dtype.kind == "f"  # of whatever precision it is: that is said of its type
        judged[name] = (
            array.astype(dtype) if floating else array if array.dtype.kind == "c" else array.astype(np.int64)
        )
        if array.dtype.kind in "fc":
            judged[f"{name}.kind"] = _kinds(array)
    value = judged.get("value")
    if value is not None and value.dtype.kind == "f":
        judged["zero"] = np.where(value == 0, np.copysign(1, value), 0).astype(np.int64)
    return judged


def _kinds(array: np.ndarray) -> np.ndarray:
    """Of every entry: 0 for a number, 1 and −1 for infinities, 2 for none; of complex ones, of both parts."""
    parts = np.stack([array.real, array.imag]) if array.dtype.kind == "c" else array
    kinds: np.ndarray = np.where(np.isnan(parts), 2, np.where(np.isinf(parts), np.sign(parts), 0))
    return kinds.astype(np.int64)


def _quantities(
    names: Iterable[str], found: Iterable[Mapping[str, np.ndarray | str]], said: Mapping[str, Finding]
) -> Iterator[Quantity]:
    for name in names:
        if name == "type":
            continue
        told = [one.get(name, "there is none") for one in found]
        left, right = (one if isinstance(one, np.ndarray) else None for one in told)
        finding = said.get(name)
        if finding is None:
            refused = next(
                (one for one in told if isinstance(one, str)), "it is refused in another precision"
            )
            yield Quantity(name, "refused", refused, left, right)
            continue
        word, reason = _word(finding, said.get(f"{name}.kind"))
        yield Quantity(name, word, reason, left, right, finding.ulps)
    types = [str(one["type"]) for one in found if "type" in one]
    if len(types) == len(SIDES):
        same = types[0] == types[1]
        yield Quantity(
            "type", "identical" if same else "different", " and ".join(dict.fromkeys(types)), None, None
        )
    if (zero := said.get("zero")) is not None and zero.word != "identical":
        yield Quantity("zero", zero.word, "the sign of zero", None, None)


def _word(finding: Finding, kind: Finding | None) -> tuple[Word, str]:
    if kind is not None and kind.word != "identical":
        return kind.word, kind.reason or "a number on one side alone"
    if finding.word == "vacuous":
        return ("rounding" if finding.reason == "zero up to rounding" else "identical"), finding.reason
    return finding.word, finding.reason
