"""Cuts what one side holds fused or stacked into the parts that the other side has."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product

from compare.port.mapping import SIDES, Side
from compare.port.matching.against import Objections
from compare.port.matching.assignment import Assignment, assigned
from compare.port.matching.parts import ORDERS, Part

# Which imperative gate each of haiku's is, where PyTorch has them as i f g o, and as r z n.
HAIKU = {4: (0, 2, 1, 3), 3: (1, 0, 2)}

_Cut = dict[Part, list[Part]]


def cut_and_assigned(sides: Mapping[Side, Sequence[Part]], objections: Objections) -> Assignment:
    """Cut what one side holds as one and the other does not, as long as that is better; and assign."""
    strict = replace(objections, strict=True)
    starts: list[dict[Side, Sequence[Part]]] = [dict(sides)]
    whole: set[Part] = set()
    # Under a stack there may be more to cut before it is seen to be one.
    for side, other in (SIDES, SIDES[::-1]):
        for cut in _layers(sides[side], sides[other]):
            if whole.issuperset(cut):
                continue
            following = {**sides, side: _replaced(sides[side], cut)}
            pieces = {piece for found in cut.values() for piece in found}
            alone = pieces.intersection(assigned(_alike_in_size(following, cut), strict).alone[side])
            if len(cut) > 1 and len(alone) <= len(pieces) / 2:
                starts.append(following)
                whole.update(cut)
    ends = [_cut_from(start, strict) for start in starts]
    parts, _ = min(ends, key=lambda end: (-end[1].covered, end[1].cost))
    return assigned(parts, objections)


def _cut_from(
    parts: Mapping[Side, Sequence[Part]], objections: Objections
) -> tuple[Mapping[Side, Sequence[Part]], Assignment]:
    """Cut one thing after the other, always what helps most."""
    best = assigned(parts, objections)
    while True:
        tried = []
        for number, (side, cut) in enumerate(_proposals(parts, best.alone, objections)):
            gain, saved, cost = _better(parts, best, side, cut, objections)
            unknown = any(piece.cut and piece.cut[0] for pieces in cut.values() for piece in pieces)
            if (gain, saved) > (0, 0):
                tried.append((-gain, unknown, cost, number, side, cut))
        for *_, side, cut in sorted(tried, key=lambda one: one[:4]):
            following = {**parts, side: _replaced(parts[side], cut)}
            found = assigned(following, objections)
            if (found.covered, -found.cost) > (best.covered, -best.cost):
                parts, best = following, found
                break
        else:
            return parts, best


def _replaced(parts: Iterable[Part], cut: _Cut) -> list[Part]:
    return [piece for part in parts for piece in cut.get(part, [part])]


def _alike_in_size(parts: Mapping[Side, Sequence[Part]], cut: _Cut) -> dict[Side, Sequence[Part]]:
    """The parts that are as large as what is cut, or as what it is cut into."""
    sizes = {part.size for whole, pieces in cut.items() for part in (whole, *pieces)}
    return {side: [part for part in parts[side] if part.size in sizes] for side in SIDES}


def _better(
    parts: Mapping[Side, Sequence[Part]], best: Assignment, side: Side, cut: _Cut, objections: Objections
) -> tuple[int, float, float]:
    """How many more entries a cut gives a counterpart; how much less speaks against, and how much still."""
    among = _alike_in_size(parts, cut)
    found = assigned({**among, side: _replaced(among[side], cut)}, objections)
    taken = {part for whole in among.values() for part in whole}
    gain = found.covered - sum(a.size for a, _ in best.pairs if a in taken)
    return gain, 0.0 if gain else assigned(among, objections).cost - found.cost, found.cost


def _proposals(
    parts: Mapping[Side, Sequence[Part]], free: Mapping[Side, Sequence[Part]], objections: Objections
) -> Iterator[tuple[Side, _Cut]]:
    """Cuts into what the other side has: of stacks, and of what is fused and has no counterpart."""
    for side, other in (SIDES, SIDES[::-1]):
        for cut in _layers(parts[side], parts[other]):
            yield side, cut
        if not free[other]:
            continue
        cells = fused_cells(parts[side]) if side == "imperative" else {}
        families: dict[Hashable, list[Part]] = defaultdict(list)
        for part in free[side]:
            families[part.name.words, part.name.role, part.leaf in cells, len(part.shape)].append(part)
        for family in families.values():
            if family[0].leaf in cells:
                yield side, {part: _gates_of(part, cells[part.leaf]) for part in family}
        others = [family for family in families.values() if family[0].leaf not in cells]
        for siblings, family in product((_siblings(parts[other]), _siblings(free[other])), others):
            for axis in range(len(family[0].shape)):
                if cut := _fusion(family, axis, siblings, objections):
                    yield side, cut


def _layers(parts: Sequence[Part], other: Sequence[Part]) -> Iterator[_Cut]:
    """Cuts of all parts, or of those below one module, along an axis as long as the other side has layers."""
    depths: dict[int, set[int]] = defaultdict(set)
    for part in other:
        for depth, number in enumerate(part.name.numbers):
            depths[depth].add(number)
    lengths = sorted({len(found) for found in depths.values() if len(found) == max(found) + 1})
    for length, axis in product(lengths, (0, 1, -1)):
        chosen = [
            p for p in parts if -len(p.shape) <= axis < len(p.shape) and p.shape[axis] == length < p.size
        ]
        groups: dict[tuple[Part, ...], None] = {}
        for depth in range(3):  # the whole tree, and what stands a little below its root
            below: dict[tuple[str, ...], list[Part]] = defaultdict(list)
            for part in chosen:
                below[part.name.path[:depth]].append(part)
            groups |= dict.fromkeys(map(tuple, below.values()))
        for group in groups:
            used = min((part.used[0] for part in group if part.used is not None), default=0.0)
            listed = min(part.listed[0] for part in group)
            yield {part: part.stacked(axis % len(part.shape), used, listed) for part in group}


def fused_cells(parts: Iterable[Part]) -> dict[str, int]:
    """How many gates are fused in the parameters of PyTorch's recurrent modules."""
    cells: dict[str, int] = {}
    for part in parts:
        found = re.search(r"weight_hh((_l\d+)?(_reverse)?)$", part.leaf)
        whole = len(part.shape) == 2 and part.cut is None  # noqa: PLR2004  # (gates · hidden, hidden)
        if found and whole and part.shape[0] // part.shape[1] in HAIKU:
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                cells[f"{part.leaf[: found.start()]}{kind}{found[1]}"] = part.shape[0] // part.shape[1]
    return cells


def _gates_of(part: Part, count: int) -> list[Part]:
    """The gates that are fused in a parameter of PyTorch's."""
    (order,) = (order for order in ORDERS if len(order) == count and order[0].startswith("gate"))
    said = [(gate, gate[-1]) for gate in order]
    return part.fused(0, [part.shape[0] // count] * count, said, known=True)


def _siblings(parts: Iterable[Part]) -> list[list[Part]]:
    """Those of one role whose names differ in one component, the last ones first."""
    groups: dict[tuple[int, Hashable], list[Part]] = defaultdict(list)
    for part in parts:
        path = part.name.path
        for place in range(len(path)):
            groups[place, (path[:place], path[place + 1 :], part.name.role, part.kind)].append(part)
    return [groups[key] for key in sorted(groups, key=lambda key: -key[0]) if len(groups[key]) > 1]


def _fusion(
    family: Sequence[Part], axis: int, siblings: Sequence[Sequence[Part]], objections: Objections
) -> _Cut:
    """Cuts of all parameters of one name along one axis, into such siblings as the other side has."""
    cut: _Cut = {}
    found: dict[Hashable, Sequence[Part]] = {}  # layers that are alike are made of what is alike
    for part in family:
        unit = part.size // max(part.shape[axis], 1)
        key = (part.shape, part.name.words)
        if key not in found:
            fitting = (next(_made_of(part, unit, members, objections), ()) for members in siblings)
            found[key] = next((members for members in fitting if members), ())
        if members := found[key]:
            sizes = [member.size // unit for member in members]
            order = next((order for order in ORDERS if _stand_in(order, members)), ())
            common = set.intersection(*(set(member.name.words) for member in members))
            said = [tuple(word for word in member.name.words if word not in common) for member in members]
            cut[part] = part.fused(axis, sizes, [(label,) for label in order] or said, known=bool(order))
    return cut


def _stand_in(order: Sequence[str], members: Sequence[Part]) -> bool:
    return len(order) == len(members) and all(
        label in member.name.words for label, member in zip(order, members, strict=True)
    )


def _made_of(
    whole: Part, unit: int, members: Sequence[Part], objections: Objections
) -> Iterator[Sequence[Part]]:
    """Siblings that together are as large as a whole, in the order in which they stand in it."""
    members = [m for m in members if m.kind == whole.kind and m.size < whole.size and m.size % unit == 0]
    for order in ORDERS:
        known = [[m for m in members if label in m.name.words] for label in order]
        if all(known):
            chosen = [max(ms, key=lambda m: objections.alike(whole.name.words, m.name.words)) for ms in known]
            if sum(m.size for m in chosen) == whole.size:
                yield chosen
    if len(members) <= _MOST_SIBLINGS:
        for count in range(2, len(members) + 1):
            yield from (
                some for some in combinations(members, count) if sum(m.size for m in some) == whole.size
            )


# Of more siblings than this, not every few are tried: 2 to the power of it.
_MOST_SIBLINGS = 8
