"""What each pair rests on, and what nothing but places tells apart."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product

from compare.port.matching.against import NEVER, Objections, same_entries
from compare.port.matching.assignment import rivals_of
from compare.port.matching.parts import Pairs, connected

_TIE = 1e-9  # by which sums of a few of them may be rounded


@dataclass(frozen=True, eq=False)
class Doubt:
    """Pairs that can be exchanged, for all that is known.

    Attributes:
        what: is doubted.
        groups: of the numbers of pairs; the n-th of all groups belong together.
        jointly: whether they are exchanged in all groups or in none.
    """

    what: str
    groups: tuple[tuple[int, ...], ...]
    jointly: bool

    def moves(self) -> Iterator[tuple[dict[int, int], bool]]:
        """Other orders: whose counterpart each pair gets, and whether it is so in all groups.

        Of up to three pairs all orders, else every exchange of two: several may follow each other.
        """
        count = len(self.groups[0])
        if count <= ALL_ORDERS:
            orders = [*permutations(range(count))][1:]
        else:
            swaps = combinations(range(count), 2)
            orders = [tuple({i: j, j: i}.get(k, k) for k in range(count)) for i, j in swaps]
        alone = () if self.jointly or len(self.groups) == 1 else tuple((group,) for group in self.groups)
        for order, groups in product(orders, (self.groups, *alone)):
            move = {group[k]: group[other] for group in groups for k, other in enumerate(order) if k != other}
            yield move, groups is self.groups


ALL_ORDERS = 3  # of four there are 23 others


class Grounds:
    """What each pair rests on.

    Attributes:
        why: of each pair.
        doubts: what nothing but places tells apart.
    """

    def __init__(self, pairs: Pairs, objections: Objections) -> None:
        self.pairs, self.objections = pairs, objections
        rivals, left = rivals_of(pairs, objections, _TIE)
        self.why = {n: self._reason(n, n in rivals, left.get(n, ())) for n in range(len(pairs))}
        fused = [*self._fused()]
        self.doubts = [
            *fused,
            *self._placed(left, {n for doubt in fused for g in doubt.groups for n in g}),
        ]

    def _reason(self, number: int, rivals: bool, left: Sequence[int]) -> str:
        a, b = self.pairs[number]
        if same_entries(a, b):
            return "values agree"
        if left:
            if self.objections.ordered and not (a.cut or b.cut or a.used is None or b.used is None):
                return "order of first use"
            names = dict.fromkeys(self.pairs[other][1].leaf for other in left[:3])
            return f"guessed: by place, and {' or '.join(names)} would fit as well"
        if rivals:
            return "with its module"
        others = [pair for pair in self.pairs if pair[0].size == a.size]
        fits = self.objections.costs([a], [b for _, b in others])
        return "name" if (fits < NEVER / 2).sum() > 1 else "only shape that fits"

    def _fused(self) -> Iterator[Doubt]:
        """Parts of what is fused, of which nothing tells the order; all of a name have the same."""
        families: dict[Hashable, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for number, pair in enumerate(self.pairs):
            for side, part in enumerate(pair):
                if part.cut and part.cut[0]:
                    families[side, part.cut[0]][part.leaf].append((part.cut[1], number))
        for leaves in families.values():
            groups = [tuple(number for _, number in sorted(found)) for found in leaves.values()]
            alike = tuple(
                g
                for g in groups
                if len(g) == len(groups[0]) > 1 and len({self.pairs[n][0].size for n in g}) == 1
            )
            if alike:
                what = f"the order of the parts of {next(iter(leaves))}"
                self.why |= {number: f"guessed: {what}" for group in alike for number in group}
                yield Doubt(what, alike, jointly=True)

    def _placed(self, left: Mapping[int, Sequence[int]], taken: Collection[int]) -> Iterator[Doubt]:
        """Pairs that only their places tell apart; those of the same modules are exchanged at once.

        So are those of the same kind in all layers.
        """
        open_ = {n: [o for o in others if o not in taken] for n, others in left.items() if n not in taken}
        open_ = {n: others for n, others in open_.items() if self.why[n].startswith("guessed")}
        groups = [group for group in connected(open_) if len(group) > 1]
        found: dict[Hashable, list[tuple[tuple[tuple[int, ...], ...], bool]]] = defaultdict(list)
        while groups:
            first, homes = groups[0], self._homes(groups[0])
            same = [
                g for g in groups[1:] if len(g) == len(first) and all(map(set.__and__, self._homes(g), homes))
            ]
            groups = [group for group in groups[1:] if group not in same]
            jointly = all(self._homes(group) == homes for group in same)
            found[self._family(first)].append(((first, *same), jointly))
        for alike in found.values():
            what = f"which is {self.pairs[alike[0][0][0][0]][1].leaf}"
            yield Doubt(what, tuple(g for groups, _ in alike for g in groups), len(alike) > 1 or alike[0][1])

    def _family(self, group: Sequence[int]) -> Hashable:
        """What groups of one kind have in common, of which each is in a layer of its own; else the group."""
        names = [[self.pairs[number][side].name for number in group] for side in (0, 1)]
        layers = [{name.numbers[:1] for name in named} for named in names]
        if any(len(found) > 1 or () in found for found in layers):
            return tuple(group)
        return tuple((name.words, name.role) for named in names for name in named)

    def _homes(self, group: Sequence[int]) -> list[set[tuple[int, tuple[str, ...]]]]:
        """The modules of the pairs of a group, on both sides."""
        return [
            {(side, part.name.path) for side, part in enumerate(self.pairs[number]) if part.name.path}
            for number in group
        ]
