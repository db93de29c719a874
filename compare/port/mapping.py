"""Which parameter of a port is which: a bijection between the arrays of two sides, and exact conversion.

A map is a tuple of pieces. Each takes a block of one imperative array to a block of one functional array,
by a reshape, a permutation of axes, a flip and a reshape, so that every entry keeps its bits, whatever
they mean. Fused, split and stacked parameters are several pieces. What has no counterpart is listed with
its reason: every entry of every array is accounted for, exactly once.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
import numpy as np

Side = Literal["imperative", "functional"]
Shape = tuple[int, ...]

#: Of every axis of an array: from where, up to where.
Block = tuple[tuple[int, int], ...]

SIDES: tuple[Side, ...] = get_args(Side)
SCHEMA_VERSION = 1


class MapError(ValueError):
    """A map that is no bijection, does not fit its arrays, or cannot be read; the message says why."""


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A block of an imperative array that is a block of a functional one.

    The imperative block is reshaped to ``split``, its axes are permuted as ``np.transpose`` does, those in
    ``flip`` run backwards, and the result is reshaped to the functional block.

    Attributes:
        imperative, functional: names of the two arrays.
        axes: the permutation, of the axes of ``split``.
        split: shape before the permutation; None is that of the imperative block.
        flip: axes, after the permutation, that run backwards.
        imperative_block, functional_block: parts of the two arrays; None is all of it.
        evidence: what the pair and its layout rest on.
    """

    imperative: str
    functional: str
    axes: tuple[int, ...]
    split: Shape | None = None
    flip: tuple[int, ...] = ()
    imperative_block: Block | None = None
    functional_block: Block | None = None
    evidence: str = ""

    @property
    def guessed(self) -> bool:
        """Whether the evidence leaves another pair or layout as likely."""
        return "guessed" in self.evidence

    def name(self, side: Side) -> str:
        """The array of one side."""
        return self.imperative if side == "imperative" else self.functional

    def block(self, side: Side) -> Block | None:
        """The part of the array of one side."""
        return self.imperative_block if side == "imperative" else self.functional_block


class Leftover(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An array, or a block of one, that has no counterpart.

    Attributes:
        name: of the array.
        reason: why.
        block: the part; None is all of it.
        zero: whether the two sides can agree only where these entries are zero.
    """

    name: str
    reason: str
    block: Block | None = None
    zero: bool = False


def _nothing() -> dict[Side, tuple[Leftover, ...]]:
    return dict.fromkeys(SIDES, ())


def _untied() -> dict[Side, tuple[str, ...]]:
    return dict.fromkeys(SIDES, ())


@dataclass(frozen=True)
class Map:
    """A bijection between the arrays of two sides, up to what is left over.

    Attributes:
        shapes: by side, the shape of every array.
        pieces: of the bijection.
        left_over: by side, what has no counterpart.
        tied: by side, arrays that stand for several on the other side: their entries may be in several
            pieces, and all copies must be equal.
        notes: what is to be said of the map as a whole.
    """

    shapes: Mapping[Side, Mapping[str, Shape]]
    pieces: tuple[Piece, ...]
    left_over: Mapping[Side, tuple[Leftover, ...]] = field(default_factory=_nothing)
    tied: Mapping[Side, tuple[str, ...]] = field(default_factory=_untied)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Hold the map to what it claims.

        Raises:
            MapError: a name, a block, a shape or a permutation is none, or an entry is in no piece, or in
                several.
        """
        for piece in self.pieces:
            _check_piece(piece, self.shapes)
        for side in SIDES:
            _check_cover(self, side)

    def __str__(self) -> str:
        return self.text()

    @property
    def guesses(self) -> tuple[Piece, ...]:
        """The pieces for which another pair or layout is as likely."""
        return tuple(piece for piece in self.pieces if piece.guessed)

    def text(self) -> str:
        """A line per piece, then what is left over."""
        rows = [
            (
                _named(piece, "imperative", self.shapes),
                _named(piece, "functional", self.shapes),
                _described(piece, self.shapes),
                piece.evidence,
            )
            for piece in self.pieces
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [
            f"{a:{widths[0]}} → {b:{widths[1]}}  {how:{widths[2]}}  {why}".rstrip() for a, b, how, why in rows
        ]
        for side in SIDES:
            if self.left_over[side]:
                lines += ["", f"left over on the {side} side"]
                lines += [
                    f"  {entry.name}{_part(entry.block)} {self.shapes[side][entry.name]}: {entry.reason}"
                    for entry in self.left_over[side]
                ]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)

    def save(self, path: Path | str) -> None:
        """Write the map as JSON, one line per array and per piece, to be read and corrected by hand.

        Raises:
            MapError: the file cannot be written.
        """
        try:
            Path(path).write_bytes(_encoded(self))
        except OSError as error:
            raise MapError(f"{path}: cannot be written ({error.strerror}); name a place that can.") from error

    @classmethod
    def load(cls, path: Path | str) -> "Map":
        """Read a map; nothing in the file is executed.

        Raises:
            MapError: the file cannot be read, is no map, or holds one that is no bijection; the message names
                the file, what is wrong in it, and the remedy.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise MapError(
                f"{path}: cannot be read ({error.strerror}); name a file that a map was saved in."
            ) from error
        try:
            return _decoded(data)
        except MapError as error:
            raise MapError(f"{path}: {error}") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise MapError(
                f"{path}: not readable as a map ({error}); mend that place, or save the map again."
            ) from error

    def check(self, side: Side, arrays: Mapping[str, np.ndarray]) -> None:
        """Hold the map to the arrays of one side.

        Raises:
            MapError: an array of the map is missing, has another shape, or one is unknown to the map.
        """
        shapes = self.shapes[side]
        for name in arrays:
            if name not in shapes:
                raise MapError(f"the map lists no {side} array {name!r}{nearest(name, shapes)}; match again.")
        for name, shape in shapes.items():
            if name not in arrays:
                raise MapError(f"there is no {side} array {name!r}{nearest(name, arrays)}.")
            if np.shape(arrays[name]) != shape:
                raise MapError(
                    f"the {side} array {name!r} has the shape {np.shape(arrays[name])}, "
                    f"and in the map it is {shape}."
                )


def nearest(name: str, names: Iterable[str]) -> str:
    """A question that names what is most like an unknown name; empty if nothing is."""
    close = get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f"; is {' or '.join(map(repr, close))} meant?" if close else ""


def to_functional(
    arrays: Mapping[str, np.ndarray],
    map: Map,  # noqa: A002  # what it is called everywhere else
    like: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """The functional arrays that hold what the imperative ones do, bit for bit.

    Args:
        arrays: by imperative name; those that are left over need not be there.
        map: that joins them.
        like: functional arrays from which is copied what is left over. Without it, arrays that are left over
            are not returned, and blocks that are hold zeros.

    Raises:
        MapError: an array is missing or has another shape, those of one functional array have several dtypes,
            or the copies of a tied array differ.
    """
    return _converted(arrays, map, "imperative", "functional", like or {})


def to_imperative(
    arrays: Mapping[str, np.ndarray],
    map: Map,  # noqa: A002  # what it is called everywhere else
    like: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """The imperative arrays that hold what the functional ones do, bit for bit.

    As :func:`to_functional`, with the sides exchanged.

    Raises:
        MapError: as there.
    """
    return _converted(arrays, map, "functional", "imperative", like or {})


def _converted(
    arrays: Mapping[str, np.ndarray], by: Map, source: Side, target: Side, like: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}
    written: dict[str, np.ndarray] = {}
    for piece in by.pieces:
        there, here = piece.name(source), piece.name(target)
        value = moved(piece, _array(arrays, there, source, by), source, by.shapes)
        if here not in made:
            made[here] = _blank(here, value.dtype, target, by, like)
            written[here] = np.zeros(made[here].shape, bool)
        if made[here].dtype != value.dtype:
            raise MapError(
                f"the {target} array {here!r} would hold {made[here].dtype} and {value.dtype}: convert the "
                f"{source} arrays to one dtype first."
            )
        where = slices(piece.block(target))
        kept, before = made[here][where], written[here][where]
        if before.any() and (_bits(kept) != _bits(value))[before].any():
            raise MapError(
                f"{here!r} stands for several {source} arrays, and {there!r} differs from the others: they "
                "must be equal, or untied."
            )
        made[here][where] = value
        written[here][where] = True
    for entry in by.left_over[target]:
        if entry.name not in made and entry.name in like:
            made[entry.name] = like[entry.name].copy()
    return {name: made[name] for name in by.shapes[target] if name in made}


def _blank(name: str, dtype: np.dtype, side: Side, by: Map, like: Mapping[str, np.ndarray]) -> np.ndarray:
    """A new array, with what is left over of it."""
    blank = np.zeros(by.shapes[side][name], dtype)
    for entry in by.left_over[side]:
        if entry.name == name and name in like:
            blank[slices(entry.block)] = _array(like, name, side, by)[slices(entry.block)]
    return blank


def _array(arrays: Mapping[str, np.ndarray], name: str, side: Side, by: Map) -> np.ndarray:
    if name not in arrays:
        raise MapError(f"the {side} array {name!r} is missing{nearest(name, arrays)}.")
    array, shape = np.asarray(arrays[name]), by.shapes[side][name]
    if array.shape != shape:
        raise MapError(
            f"the {side} array {name!r} has the shape {array.shape}, and in the map it is {shape}."
        )
    return array


def moved(
    piece: Piece, array: np.ndarray, source: Side, shapes: Mapping[Side, Mapping[str, Shape]]
) -> np.ndarray:
    """The block of a piece, as the other side has it."""
    block, before, after = array[slices(piece.block(source))], *_steps(piece, shapes)
    if source == "imperative":
        turned = np.flip(block.reshape(before).transpose(piece.axes), piece.flip)
        return turned.reshape(_extent(piece, "functional", shapes))
    turned = np.flip(block.reshape(after), piece.flip).transpose(np.argsort(piece.axes))
    return turned.reshape(_extent(piece, "imperative", shapes))


def _steps(piece: Piece, shapes: Mapping[Side, Mapping[str, Shape]]) -> tuple[Shape, Shape]:
    """The shape of a piece before its permutation, and after."""
    before = _extent(piece, "imperative", shapes) if piece.split is None else piece.split
    return before, tuple(before[axis] for axis in piece.axes)


def _extent(piece: Piece, side: Side, shapes: Mapping[Side, Mapping[str, Shape]]) -> Shape:
    """The shape of a piece's block."""
    block = piece.block(side)
    return shapes[side][piece.name(side)] if block is None else tuple(stop - start for start, stop in block)


def slices(block: Block | None) -> tuple[slice, ...]:
    """A block as an index of its array."""
    return () if block is None else tuple(slice(start, stop) for start, stop in block)


def _bits(array: np.ndarray) -> np.ndarray:
    """The entries as bits without a meaning: a NaN is equal to itself, and −0 is not 0."""
    return np.frombuffer(array.tobytes(), np.dtype((np.void, array.itemsize))).reshape(array.shape)


def _check_piece(piece: Piece, shapes: Mapping[Side, Mapping[str, Shape]]) -> None:
    for side in SIDES:
        _check_block(piece.name(side), piece.block(side), side, shapes[side])
    this = f"{piece.imperative} → {piece.functional}"
    block, target = (_extent(piece, side, shapes) for side in SIDES)
    before = block if piece.split is None else piece.split
    if math.prod(before) != math.prod(block):
        raise MapError(f"{this}: the split {before} does not hold as many entries as {block}; mend it.")
    if sorted(piece.axes) != list(range(len(before))):
        raise MapError(f"{this}: the axes {piece.axes} are no permutation of the {len(before)} of {before}.")
    if not set(piece.flip) <= set(piece.axes) or len(set(piece.flip)) < len(piece.flip):
        raise MapError(f"{this}: the flip {piece.flip} names other axes than the {len(before)} of {before}.")
    if math.prod(before) != math.prod(target):
        raise MapError(f"{this}: {block} does not fit {target}, which holds another number of entries.")


def _check_block(name: str, block: Block | None, side: Side, shapes: Mapping[str, Shape]) -> None:
    if name not in shapes:
        raise MapError(f"the map lists no {side} array {name!r}{nearest(name, shapes)}; list its shape.")
    if block is None:
        return
    shape = shapes[name]
    if len(block) != len(shape):
        raise MapError(
            f"the block {_part(block)} of {name!r} has {len(block)} axes, and the array {len(shape)}."
        )
    if not all(0 <= start < stop <= size for (start, stop), size in zip(block, shape, strict=True)):
        raise MapError(f"the block {_part(block)} of {name!r} is out of the range of {shape}.")


def _check_cover(by: Map, side: Side) -> None:
    """Hold a side to every entry being in one piece, or left over."""
    blocks: dict[str, list[Block | None]] = {name: [] for name in by.shapes[side]}
    for entry in by.left_over[side]:
        _check_block(entry.name, entry.block, side, by.shapes[side])
        blocks[entry.name].append(entry.block)
    for piece in by.pieces:
        blocks[piece.name(side)].append(piece.block(side))
    for name in by.tied[side]:
        _check_block(name, None, side, by.shapes[side])
    for name, parts in blocks.items():
        shape = by.shapes[side][name]
        if not parts:
            raise MapError(f"the {side} array {name!r} {shape} is in no piece, and not left over.")
        if part := next(_where(parts, shape, at_least=0, at_most=0), None):
            raise MapError(f"{part} of the {side} array {name!r} is in no piece, and not left over.")
        if name not in by.tied[side] and (part := next(_where(parts, shape, at_least=2), None)):
            raise MapError(
                f"{part} of the {side} array {name!r} is in several pieces: let them not overlap, or list "
                "the array as tied."
            )


def _where(
    blocks: Sequence[Block | None], shape: Shape, at_least: int, at_most: int | None = None
) -> Iterator[str]:
    """The parts of an array that so many blocks cover."""
    whole = tuple((0, size) for size in shape)
    boxes = [whole if block is None else block for block in blocks]
    cuts = [
        sorted({0, size, *(edge for box in boxes for edge in box[axis])}) for axis, size in enumerate(shape)
    ]
    times = np.zeros([len(cut) - 1 for cut in cuts], int)
    for box in boxes:
        cells = (slice(cut.index(a), cut.index(b)) for cut, (a, b) in zip(cuts, box, strict=True))
        times[tuple(cells)] += 1
    odd = (times >= at_least) & (times <= (len(boxes) if at_most is None else at_most))
    for cell in np.argwhere(odd):
        part = tuple((cut[i], cut[i + 1]) for cut, i in zip(cuts, cell.tolist(), strict=True))
        yield "all" if part == whole else _part(part)


def _part(block: Block | None) -> str:
    return "" if block is None else f"[{', '.join(f'{start}:{stop}' for start, stop in block)}]"


def _named(piece: Piece, side: Side, shapes: Mapping[Side, Mapping[str, Shape]]) -> str:
    """An array, the part of it that is meant, and that part's shape."""
    block, shape = piece.block(side), shapes[side][piece.name(side)]
    cut = [
        ":" if (start, stop) == (0, size) else f"{start}:{stop}"
        for (start, stop), size in zip(block or (), shape, strict=block is not None)
    ]
    part = f"[{', '.join(cut)}]" if block is not None else ""
    return f"{piece.name(side)}{part} {_extent(piece, side, shapes)}"


def _described(piece: Piece, shapes: Mapping[Side, Mapping[str, Shape]]) -> str:
    """What is done to the imperative block, in words."""
    before, after = _steps(piece, shapes)
    said = []
    if before != _extent(piece, "imperative", shapes):
        said.append(f"as {before}")
    if piece.axes == (1, 0):
        said.append("transposed")
    elif piece.axes != tuple(range(len(before))):
        said.append(f"axes {' '.join(map(str, piece.axes))}")
    if piece.flip:
        said.append(f"backwards along {' '.join(map(str, piece.flip))}")
    if after != (target := _extent(piece, "functional", shapes)) and target != before:
        said.append(f"as {target}")
    return ", ".join(said) or "as it is"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    shapes: dict[Side, dict[str, tuple[Annotated[int, msgspec.Meta(ge=0)], ...]]]
    pieces: tuple[Piece, ...]
    left_over: dict[Side, tuple[Leftover, ...]] = msgspec.field(default_factory=_nothing)
    tied: dict[Side, tuple[str, ...]] = msgspec.field(default_factory=_untied)
    notes: tuple[str, ...] = ()


def _encoded(by: Map) -> bytes:
    content = {
        "schema_version": SCHEMA_VERSION,
        "shapes": {side: dict(by.shapes[side]) for side in SIDES},
        "pieces": by.pieces,
        "left_over": {side: by.left_over[side] for side in SIDES},
        "tied": {side: by.tied[side] for side in SIDES},
        "notes": by.notes,
    }
    return "".join(_written(msgspec.to_builtins(content), "")).encode() + b"\n"


def _written(value: object, indent: str) -> Iterator[str]:
    """JSON with a line for every array, piece and left-over."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        for number, (key, entry) in enumerate(value.items()):
            yield f"{',' if number else '{'}\n{deeper}{msgspec.json.encode(key).decode()}: "
            yield from _written(entry, deeper)
        yield f"\n{indent}}}"
    elif isinstance(value, list | tuple) and value and isinstance(value[0], dict | str):
        for number, entry in enumerate(value):
            line = msgspec.json.format(msgspec.json.encode(entry), indent=0).decode()
            yield f"{',' if number else '['}\n{deeper}{line}"
        yield f"\n{indent}]"
    else:
        yield msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _decoded(data: bytes) -> Map:
    """The map of a file.

    Raises:
        MapError: it is of another schema, or is no bijection.
        msgspec.MsgspecError: it is no map.
    """
    version = msgspec.json.decode(data, type=_Version).schema_version
    if version != SCHEMA_VERSION:
        raise MapError(
            f"written in schema {version}, and this gradtwin reads schema {SCHEMA_VERSION}; match again."
        )
    file = msgspec.json.decode(data, type=_File)
    for name, kept in (("shapes", file.shapes), ("left_over", file.left_over), ("tied", file.tied)):
        if missing := [side for side in SIDES if side not in kept]:
            raise MapError(f"{name} has no {missing[0]} side; add it.")
    return Map(file.shapes, file.pieces, file.left_over, file.tied, file.notes)


class _Version(msgspec.Struct):
    schema_version: int
