"""Everything that ran, in order, as plain data: what either framework did, and by what its values are told.

Values are not kept: a trace of a large model is small. What each value is recognised by is its
:class:`Fingerprint`, and whoever needs the value itself has it computed anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

#: Entries of the vectors that weigh the order of the entries of a value.
_WEIGHTS = 4096

#: Entries that are looked at together: a multiple of the weights, few enough for a cache.
_CHUNK = 8 * _WEIGHTS


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a value is recognised by, whatever its layout.

    Attributes:
        size: how many entries it has.
        numbers: mean, mean magnitude, root of the mean square, mean cube over mean square, largest and
            smallest of the finite entries, all in the units of the value: transposing, reshaping, permuting
            and broadcasting change none of them.
        infinite: the shares of the entries that are +∞, −∞ and NaN; what a mask is filled with is often the
            largest number that there is, and counts as ∞.
        order: mean of the entries, each weighed by ±1 according to its place in row-major order.
        exact: whether rounding has no say in it: integers and booleans.
    """

    size: int
    numbers: np.ndarray
    infinite: tuple[float, float, float]
    order: float
    exact: bool

    @property
    def scale(self) -> float:
        """The largest magnitude of a finite entry."""
        return float(max(abs(self.numbers[4]), abs(self.numbers[5]))) if self.size else 0.0

    @property
    def constant(self) -> bool:
        """Whether all entries are one number: such a value is recognised by chance."""
        finite = self.numbers[4] == self.numbers[5] and not any(self.infinite)
        return self.size == 0 or bool(finite) or 1.0 in self.infinite


def endless(dtype: np.dtype) -> float:
    """From which magnitude on a number stands for ∞."""
    wide = dtype.kind == "f" and dtype.itemsize > 2  # noqa: PLR2004  # half precision has nothing to spare
    return float(np.finfo(dtype if wide else np.float64).max) / 4


#: Of a value that nobody will recognise.
UNTOLD = Fingerprint(0, np.zeros(6), (0.0, 0.0, 0.0), 0.0, exact=True)


def fingerprint(array: np.ndarray) -> Fingerprint:
    """The fingerprint of an array of numbers; complex ones by their parts."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is recognised by less
        return _fingerprint(array)


def _fingerprint(array: np.ndarray) -> Fingerprint:
    exact = array.dtype.kind in "biu"
    limit = endless(array.dtype)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    flat = np.ravel(array)
    size = flat.size
    if not size:
        return Fingerprint(0, np.zeros(6), (0.0, 0.0, 0.0), 0.0, exact)
    chunks = [_Chunk(flat[start : start + _CHUNK], limit) for start in range(0, size, _CHUNK)]
    infinite = (0.0, 0.0, 0.0)
    if odd := [chunk.infinite for chunk in chunks if any(chunk.infinite)]:
        infinite = tuple(sum(shares) / size for shares in zip(*odd, strict=True))
    count = sum(chunk.count for chunk in chunks)
    if not count:
        return Fingerprint(size, np.zeros(6), infinite, 0.0, exact)
    total, magnitude, square, cube = (sum(sums) for sums in zip(*(c.sums for c in chunks), strict=True))
    numbers = np.array(
        [
            total / count,
            magnitude / count,
            np.sqrt(square / count),
            cube / square if square else 0.0,
            max(chunk.largest for chunk in chunks),
            min(chunk.smallest for chunk in chunks),
        ]
    )
    order = _ordered(np.concatenate([chunk.order for chunk in chunks])) / count
    return Fingerprint(size, numbers, infinite, order, exact)


class _Chunk:
    """What is told of neighbouring entries while the cache holds them."""

    def __init__(self, entries: np.ndarray, limit: float) -> None:
        whole = flat = entries.astype(np.float64, copy=False)
        self.infinite: tuple[int, ...] = (0, 0, 0)
        square = _dot(flat, flat)
        if not square < limit * limit:
            odd = flat >= limit, flat <= -limit, np.isnan(flat)
            told = ~np.logical_or.reduce(odd)
            self.infinite = tuple(int(some.sum()) for some in odd)
            whole, flat = np.where(told, flat, 0.0), flat[told]
            square = _dot(flat, flat)
        self.count = flat.size
        self.order = _weighed(whole)
        self.sums = flat.sum(), np.abs(flat).sum(), square, _dot(flat * flat, flat)
        self.largest, self.smallest = flat.max(initial=-np.inf), flat.min(initial=np.inf)


def _ordered(flat: np.ndarray) -> float:
    """The sum of the entries, each with a sign that depends on its place."""
    while flat.size > 1:
        flat = _weighed(flat)
    return float(flat[0])


def _weighed(flat: np.ndarray) -> np.ndarray:
    """The sums of its rows, each entry with a sign that depends on its place in the row."""
    return np.array([row @ _signs()[: row.size] for row in _rows(flat)])


def _dot(left: np.ndarray, right: np.ndarray) -> float:
    return float(sum(a @ b for a, b in zip(_rows(left), _rows(right), strict=True)))


def _rows(flat: np.ndarray) -> list[np.ndarray]:
    """Neighbouring entries, so few that BLAS starts no threads for them: to wait for a core takes longer."""
    return [flat[start : start + _WEIGHTS] for start in range(0, flat.size, _WEIGHTS)]


@cache
def _signs() -> np.ndarray:
    return np.random.default_rng(0).choice([-1.0, 1.0], _WEIGHTS)


@dataclass(frozen=True)
class Source:
    """A line of a file; of the user's, if any is to blame.

    Attributes:
        file: path.
        line: from 1.
        callers: lines of the user's that led there, the innermost first; another way makes no other line.
    """

    file: str = ""
    line: int = 0
    callers: tuple["Source", ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else ""


@dataclass(frozen=True, eq=False)
class Value:
    """An array that was computed, given, or written in the program.

    Attributes:
        name: what the user calls it, if it was given.
        shape: of the array.
        dtype: in NumPy's word.
        print: what it is recognised by.
        operation: index of what computed it; None for what was given or is a constant.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    print: Fingerprint
    operation: int | None


@dataclass(frozen=True)
class Taken:
    """The value of this index, in the place of a tensor."""

    index: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation that ran.

    Attributes:
        name: in the framework's own word.
        inputs: indices of the values that it took, in order.
        outputs: indices of the values that it made.
        call: the Python expression that carries it out; empty where there is none.
        options: what it was told, by name: numbers, axes and so on, and on the imperative side a
            :class:`Taken` for every tensor.
        source: the line that asked for it; in a backward, the line of what is differentiated.
        group: modules that it is a part of, the outermost first.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    source: Source = Source()
    group: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Trace:
    """What one side did.

    Attributes:
        side: ``imperative`` or ``functional``.
        values: all of them.
        operations: in the order in which they ran.
        outputs: by the name of what the comparison looks at, the index of its value: those of the forward
            first.
    """

    side: str
    values: Sequence[Value]
    operations: Sequence[Operation]
    outputs: Mapping[str, int]

    @cached_property
    def consumers(self) -> Sequence[Sequence[int]]:
        """By the index of a value, the indices of the operations that took it."""
        taken: list[list[int]] = [[] for _ in self.values]
        for index, operation in enumerate(self.operations):
            for value in dict.fromkeys(operation.inputs):
                taken[value].append(index)
        return taken

    def above(self, values: Iterable[int]) -> set[int]:
        """The values that these were computed of, themselves included."""
        reached = set(values)
        waiting = list(reached)
        while waiting:
            maker = self.values[waiting.pop()].operation
            new = set() if maker is None else set(self.operations[maker].inputs) - reached
            reached |= new
            waiting.extend(new)
        return reached

    @cached_property
    def forward(self) -> frozenset[int]:
        """The values that outputs other than gradients were computed of, and these."""
        return frozenset(
            self.above(v for name, v in self.outputs.items() if not name.startswith("gradients."))
        )

    def alike(self, value: int) -> list[int]:
        """What the same operation of the same line computes in the same phase, wherever it ran.

        What is differentiated, and the operations that do it, have the same line.
        """
        made = self.made_by(value)
        if made is None or not made.source.file:
            return [value]
        return self.like(made, made.outputs.index(value), forward=value in self.forward)

    def like(self, made: Operation, place: int, *, forward: bool) -> list[int]:
        """The same of an operation, of this trace or of another one, and the place among what it makes."""
        ran = self._lines.get((made.name, made.source), ())
        outputs = (o.outputs[place] for o in ran if len(o.outputs) > place)
        return [v for v in outputs if (v in self.forward) == forward]

    @cached_property
    def _lines(self) -> Mapping[tuple[str, Source], Sequence[Operation]]:
        found: dict[tuple[str, Source], list[Operation]] = {}
        for operation in self.operations:
            found.setdefault((operation.name, operation.source), []).append(operation)
        return found

    def made_by(self, value: int) -> Operation | None:
        """The operation that computed a value."""
        index = self.values[value].operation
        return None if index is None else self.operations[index]

    def inputs(self, value: int) -> Iterator[int]:
        """The values that a value was computed of, directly."""
        maker = self.made_by(value)
        yield from () if maker is None else maker.inputs
