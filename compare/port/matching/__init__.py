"""Lets the parameters of two ports find each other: by shape, name, order and value, and at last by trying.

First, every array that one side holds fused, split or stacked is cut into the parts that the other side
has: a cut is made if it leaves less without a counterpart. Then an assignment gives every part the one
that is most like it in role, name, module and place. Last, every pair gets its layout. What the shapes
leave open is decided by equal values, else by the convention that the other parameters establish, else by
what a name means in the known libraries, and only then by ``score``: so a single weight that is used the
wrong way round stays wrong. What nothing decides is said to be guessed.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from compare.port.mapping import SIDES, Block, Leftover, Map, MapError, Piece, Shape, Side, nearest
from compare.port.matching.against import Objections
from compare.port.matching.cutting import cut_and_assigned
from compare.port.matching.doubts import Grounds
from compare.port.matching.laying import Laid, Way, joint
from compare.port.matching.names import Name, naturally, read_names
from compare.port.matching.parts import Part
from compare.port.matching.trying import MOST_SCORES, Draft, Search, outcome

__all__ = ["MOST_SCORES", "Arrays", "Score", "match"]

Arrays = Mapping[str, np.ndarray]
Score = Callable[[Map], float]

_COUNTER = re.compile(r"(num_batches_tracked|counter|count|steps?|iterations?)$")


def match(
    imperative: Arrays,
    functional: Arrays,
    *,
    corrections: Mapping[str, str | None] | Map | None = None,
    order: Mapping[str, Sequence[str]] | None = None,
    tied: Sequence[Sequence[str]] = (),
    values: bool = False,
    score: Score | None = None,
) -> Map:
    """The most likely bijection between the parameters of two sides.

    Args:
        imperative: by the keys of a ``state_dict``; only shapes and dtypes are looked at, unless ``values``.
        functional: by path, such as ``params.Dense_0.kernel`` or ``layers[0].w``.
        corrections: imperative names with the functional paths that they belong to, or None for none; or a
            map, whose pieces are taken as they are.
        order: by side, names in the order in which the computation first uses them; some may be missing.
        tied: groups of imperative names that share their storage; a name that is not in ``imperative`` stands
            for the first of its group that is.
        values: whether the values of both sides mean something: a layout that makes two arrays equal is
            theirs.
        score: of a map, the higher the better, such as how many intermediate values agree when both sides run
            with parameters that it converts. It is asked only where nothing else decides, at most
            ``MOST_SCORES`` times.

    Returns:
        The map, with everything that is left over, and the evidence of every piece. Where several pairs or
        layouts are as likely, the evidence says that one was ``guessed``.

    Raises:
        MapError: a correction names what is not there, or joins what no layout joins.
    """
    return _Matching(imperative, functional, corrections, order or {}, tied, values=values).map(score)


_ADDED = "added to a bias that has a counterpart: the two sides can agree only where this is zero"


class _Matching:
    """What is known of both sides before anything is paired."""

    def __init__(
        self,
        imperative: Arrays,
        functional: Arrays,
        corrections: Mapping[str, str | None] | Map | None,
        order: Mapping[str, Sequence[str]],
        tied: Sequence[Sequence[str]],
        *,
        values: bool,
    ) -> None:
        self.arrays: dict[Side, Arrays] = {"imperative": imperative, "functional": functional}
        self.shapes: dict[Side, dict[str, Shape]] = {
            side: {name: array.shape for name, array in arrays.items()}
            for side, arrays in self.arrays.items()
        }
        self.order, self.values = order, values
        given = isinstance(corrections, Map)
        self.given = corrections if isinstance(corrections, Map) else Map({side: {} for side in SIDES}, ())
        self.pins = {} if given or not isinstance(corrections, Mapping) else dict(corrections)
        self._check_corrections()
        present = [[name for name in group if name in imperative] for group in tied]
        self.twins = [names for names in present if names]
        self.stands_for = {
            name: names[0]
            for group, names in zip(tied, present, strict=True)
            if names
            for name in {*group} - {*names}
        }
        self.aside = {side: dict(self._put_aside(side)) for side in SIDES}
        names = {
            side: read_names((*self.arrays[side], *(self.stands_for if side == "imperative" else ())))
            for side in SIDES
        }
        # A word for the role that both sides use may tell parameters of one role apart.
        shared = set.intersection(*({name.last for name in names[side].values()} for side in SIDES)) - {""}
        parts = {side: self._parts(side, names[side], shared) for side in SIDES}
        self.objections = self._objections(parts)
        self.found = cut_and_assigned(parts, self.objections)
        self.told = Grounds(self.found.pairs, self.objections)
        self._check_pins()

    def map(self, score: Score | None) -> Map:
        """Lay out what has been paired, and try what is open."""
        draft = Draft(self.found.pairs)
        if score is None:
            return self._map(draft, {})
        search = Search(lambda draft: score(self._map(draft, {})), self.told.doubts)
        best = search.best(draft)
        return self._map(best, search.verdicts)

    def _check_corrections(self) -> None:
        named: list[tuple[Side, str]] = [("imperative", name) for name in self.pins]
        named += [("functional", path) for path in self.pins.values() if path is not None]
        named += [(side, piece.name(side)) for piece in self.given.pieces for side in SIDES]
        for side, name in named:
            known = self.shapes[side]
            if name not in known:
                raise MapError(
                    f"the corrections name an unknown {side} array {name!r}{nearest(name, known)}."
                )
            if (shape := self.given.shapes[side].get(name, known[name])) != known[name]:
                raise MapError(
                    f"the corrections take the {side} array {name!r} for {shape}; it is {known[name]}."
                )

    def _put_aside(self, side: Side) -> Iterator[tuple[str, str]]:
        """What is not to be matched at all, and why."""
        for name, array in self.arrays[side].items():
            if side == "imperative" and self.pins.get(name, "") is None:
                yield name, "correction"
            elif array.dtype.kind in "iu" and _COUNTER.search(name):
                yield name, "an integer counter"
            elif array.dtype == np.uint32 and re.search(r"key|rng", name.lower()):
                yield name, "a random key"

    def _parts(self, side: Side, names: Mapping[str, Name], shared: Collection[str]) -> list[Part]:
        arrays = dict(self.arrays[side])
        if side == "imperative":
            arrays |= {name: arrays[other] for name, other in self.stands_for.items()}
        used = {name: (float(place),) for place, name in reversed([*enumerate(self.order.get(side, ()))])}
        listed = naturally(arrays) if side == "functional" else list(arrays)
        places = {name: (float(place),) for place, name in enumerate(listed)}
        out = {*self.aside[side], *(piece.name(side) for piece in self.given.pieces)}
        return [
            Part(
                leaf=name,
                block=tuple((0, n) for n in array.shape),
                name=replace(
                    names[name], words=(*names[name].words, *{names[name].last}.intersection(shared))
                ),
                kind={"i": "whole", "u": "whole", "b": "whole", "c": "complex"}.get(array.dtype.kind, "real"),
                used=used.get(name),
                listed=places[name],
                values=array if self.values else None,
            )
            for name, array in arrays.items()
            if name not in out
        ]

    def _objections(self, parts: Mapping[Side, Sequence[Part]]) -> Objections:
        only: dict[Side, dict[str, frozenset[str]]] = {side: {} for side in SIDES}
        for name, path in self.pins.items():
            if path is not None:
                sizes = self.arrays["imperative"][name].size, self.arrays["functional"][path].size
                if sizes[0] <= sizes[1]:
                    only["imperative"][name] = frozenset({path})
                if sizes[1] <= sizes[0]:
                    only["functional"][path] = only["functional"].get(path, frozenset()) | {name}
        words = [{*part.name.words} for side in SIDES for part in parts[side]]
        seen = Counter(word for said in words for word in said)
        return Objections(
            tells={word: math.log((1 + len(words)) / count) + 0.1 for word, count in seen.items()},
            ordered=all(any(part.used is not None for part in parts[side]) for side in SIDES),
            only=only,
        )

    def _check_pins(self) -> None:
        joined = {(a.leaf, b.leaf) for a, b in self.found.pairs}
        for name, path in self.pins.items():
            if path is not None and (name, path) not in joined:
                raise MapError(
                    f"the corrections join {name!r} {self.shapes['imperative'][name]} with {path!r} "
                    f"{self.shapes['functional'][path]}, and no layout takes the one to the other."
                )

    def _map(self, draft: Draft, verdicts: Mapping[str, tuple[float, float]]) -> Map:
        laid = Laid(draft.pairs, draft.answers)
        evidence = self._evidence(draft, laid, verdicts)
        pieces = [msgspec.structs.replace(piece, evidence="correction") for piece in self.given.pieces]
        for number, (a, b) in enumerate(draft.pairs):
            pieces += self._pieces(a, b, laid.ways[number], evidence[number])
        tied = {side: [*self.given.tied[side]] for side in SIDES}
        copies = self._copies(pieces, tied["functional"])
        pieces += copies
        stood_for = Counter(self.stands_for.get(leaf, leaf) for leaf in {a.leaf for a, _ in draft.pairs})
        tied["imperative"] += [name for name, times in stood_for.items() if times > 1]
        guesses = sum(piece.guessed for piece in pieces)
        note = f"guessed: {guesses} of {len(pieces)} pieces; correct those that are wrong."
        return Map(
            shapes=self.shapes,
            pieces=tuple(pieces),
            left_over={side: tuple(self._left_over(side, pieces, copies)) for side in SIDES},
            tied={side: tuple(dict.fromkeys(tied[side])) for side in SIDES},
            notes=(note,) if guesses else (),
        )

    def _evidence(self, draft: Draft, laid: Laid, verdicts: Mapping[str, tuple[float, float]]) -> list[str]:
        """What each pair, and its layout, rest on."""
        paired = {number: self.told.why[number] for number in range(len(draft.pairs))}
        for doubt in self.told.doubts:
            for number in (number for group in doubt.groups for number in group):
                paired[number] = outcome(verdicts.get(doubt.what), "", paired[number])
        told = dict(laid.why)
        for question in laid.questions:
            said = outcome(verdicts.get(question.what), question.known, f"guessed: {question.what}")
            told |= {number: joint(told.get(number, ""), said) for number in question.ways}
        return [
            joint("correction" if self.pins.get(a.leaf) == b.leaf else paired[number], told.get(number, ""))
            for number, (a, b) in enumerate(draft.pairs)
        ]

    def _pieces(self, a: Part, b: Part, way: Way, evidence: str) -> Iterator[Piece]:
        name = self.stands_for.get(a.leaf, a.leaf)
        shapes = self.shapes["imperative"][name], self.shapes["functional"][b.leaf]
        for here, there, layout in way.blocks(a.shape, b.shape):
            first, second = _within(here, a.block), _within(there, b.block)
            yield Piece(
                imperative=name,
                functional=b.leaf,
                axes=layout.axes,
                split=layout.split,
                flip=layout.flip,
                imperative_block=None if first == _whole(shapes[0]) else first,
                functional_block=None if second == _whole(shapes[1]) else second,
                evidence=evidence,
            )

    def _copies(self, pieces: Sequence[Piece], tied: list[str]) -> list[Piece]:
        """Pieces for names that share the storage of a paired one; what has copies then goes to ``tied``."""
        copies: list[Piece] = []
        held = {piece.imperative for piece in pieces}
        for names in self.twins:
            paired = next((name for name in names if name in held), None)
            mine = [piece for piece in pieces if piece.imperative == paired]
            for name in names:
                if name not in held and name not in self.aside["imperative"] and mine:
                    why = f"tied to {paired}"
                    copies += [
                        msgspec.structs.replace(piece, imperative=name, evidence=why) for piece in mine
                    ]
                    tied += [piece.functional for piece in mine]
        return copies

    def _left_over(self, side: Side, pieces: Sequence[Piece], copies: Sequence[Piece]) -> Iterator[Leftover]:
        held = {piece.name(side) for piece in pieces}
        copied = {piece.imperative for piece in copies} if side == "imperative" else ()
        alone: dict[str, list[Part]] = defaultdict(list)
        for part in self.found.alone[side]:
            if part.leaf not in copied:
                alone[part.leaf].append(part)
        given = {piece.name(side) for piece in self.given.pieces}
        yield from (entry for entry in self.given.left_over[side] if entry.name in given)
        for name in self.shapes[side]:
            zero = side == "imperative" and self._added(name, held)
            reason = self.aside[side].get(name, _ADDED if zero else "no counterpart")
            if name not in held:
                yield Leftover(name, reason, None, zero and name not in self.aside[side])
            else:
                for block in _merged([part.block for part in alone[name]]):
                    yield Leftover(name, reason, block, zero)

    def _added(self, name: str, held: Collection[str]) -> bool:
        """Whether a bias is added to one that has a counterpart, as in PyTorch's recurrent modules."""
        found = re.search(r"bias_(ih|hh)((_l\d+)?(_reverse)?)$", name)
        other = {"ih": "hh", "hh": "ih"}[found[1]] if found else ""
        return bool(found) and re.sub(r"bias_(ih|hh)", f"bias_{other}", name) in held


def _whole(shape: Shape) -> Block:
    return tuple((0, n) for n in shape)


def _within(block: Block, outer: Block) -> Block:
    """A block of a block, as one of the whole."""
    return tuple(
        (first + start, first + stop) for (start, stop), (first, _) in zip(block, outer, strict=True)
    )


def _merged(blocks: Sequence[Block]) -> list[Block]:
    """The same blocks, neighbours as one."""
    merged: list[Block] = []
    for block in sorted(blocks):
        last = merged[-1] if merged else ()
        differ = [axis for axis, (one, other) in enumerate(zip(last, block, strict=False)) if one != other]
        if len(differ) == 1 and last[differ[0]][1] == block[differ[0]][0]:
            axis = differ[0]
            merged[-1] = (*last[:axis], (last[axis][0], block[axis][1]), *last[axis + 1 :])
        else:
            merged.append(block)
    return merged
