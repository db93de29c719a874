"""The pairs against which least speaks."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import linear_sum_assignment

from compare.port.mapping import SIDES, Side
from compare.port.matching.against import NEVER, Objections
from compare.port.matching.parts import Pairs, Part, connected

_OTHER_USE = 1.6
_OTHER_MODULE = 1.0
_WEAK = 1.0
_OTHER_PLACE = 0.15

_ROUNDS = 3  # the first pairs decide what the later ones are beside
_SURE_VOTES = 4  # a pair without an alternative says more of its module than several with one


@dataclass(frozen=True, eq=False)
class Assignment:
    """Who belongs to whom.

    Attributes:
        pairs: of parts, in the order of the imperative ones.
        alone: by side, the parts without a counterpart.
        cost: what speaks against all the pairs, the more the larger they are.
    """

    pairs: Pairs
    alone: Mapping[Side, Sequence[Part]]
    cost: float

    @property
    def covered(self) -> int:
        """How many entries have a counterpart."""
        return sum(a.size for a, _ in self.pairs)


def assigned(parts: Mapping[Side, Sequence[Part]], objections: Objections) -> Assignment:
    """The pairs against which least speaks."""
    left, right = (parts[side] for side in SIDES)
    groups = [(a, b) for a, b in _by_size(left, right) if a and b]
    bare = [objections.costs(a, b) for a, b in groups]
    placed = [cost + _OTHER_PLACE * _misplaced(a, b) for cost, (a, b) in zip(bare, groups, strict=True)]
    sure = {part for cost, (a, _) in zip(bare, groups, strict=True) for part in _without_choice(cost, a)}
    order = {part: number for number, part in enumerate(left)}
    pairs: Pairs = ()
    total = 0.0
    for _ in range(_ROUNDS):
        modules = _Modules(pairs, sure)
        chosen, total = [], 0.0
        for (a, b), plain, cost in zip(groups, bare, placed, strict=True):
            whole = cost + _OTHER_MODULE * (1 - modules.shares(a, b))
            for i, j in zip(*linear_sum_assignment(whole), strict=True):
                if plain[i, j] < NEVER / 2:
                    chosen.append((a[i], b[j]))
                    total += whole[i, j] * a[i].size
        pairs = sorted(chosen, key=lambda pair: order[pair[0]])
        if objections.ordered:
            pairs = _by_use(pairs, objections)
    taken = {part for pair in pairs for part in pair}
    alone = {side: [part for part in parts[side] if part not in taken] for side in SIDES}
    return Assignment(pairs, alone, total)


def _by_use(pairs: Pairs, objections: Objections) -> Pairs:
    """The same parts, those that little tells apart paired in the order in which they are used."""
    used = [n for n, (a, b) in enumerate(pairs) if not (a.cut or b.cut or a.used is None or b.used is None)]
    _, left = rivals_of([pairs[number] for number in used], objections, _WEAK)
    ordered = [*pairs]
    for group in connected(left):
        numbers = [used[n] for n in group]
        a, b = ([pairs[number][side] for number in numbers] for side in (0, 1))
        apart = np.abs(np.subtract.outer(_ranks(a), _ranks(b)))
        cost = objections.costs(a, b) + _OTHER_USE * (0.6 * (apart > 0) + 0.4 * apart / len(numbers))
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            ordered[numbers[row]] = (a[row], b[column])
    return ordered


def _ranks(parts: Sequence[Part]) -> list[int]:
    """Which place each has in the order of use."""
    order = sorted(range(len(parts)), key=lambda n: parts[n].time)
    return [order.index(n) for n in range(len(parts))]


def rivals_of(
    pairs: Pairs, objections: Objections, margin: float
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """By pair, those with which it could exchange counterparts, and no more than a margin would say no.

    Returns:
        What names and shapes let be exchanged; and what their modules let be too, as far as these are known
        from pairs that are not to be exchanged.
    """
    rivals = left = _exchangeable(pairs, range(len(pairs)), objections, margin, None)
    for _ in range(_ROUNDS):
        known = _Modules([pair for number, pair in enumerate(pairs) if number not in left])
        left = _exchangeable(pairs, left, objections, margin, known)
    return rivals, left


def _exchangeable(
    pairs: Pairs, numbers: Iterable[int], objections: Objections, margin: float, modules: "_Modules | None"
) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    sizes: dict[Hashable, list[int]] = defaultdict(list)
    for number in numbers:
        sizes[pairs[number][0].size, pairs[number][0].kind].append(number)
    for alike in sizes.values():
        left, right = ([pairs[number][side] for number in alike] for side in (0, 1))
        cost = objections.costs(left, right)
        if modules is not None:
            cost = cost + _OTHER_MODULE * (1 - modules.shares(left, right))
        own = np.diag(cost)
        for row, column in np.argwhere(cost + cost.T <= own[:, None] + own + margin).tolist():
            if row != column:
                found.setdefault(alike[row], []).append(alike[column])
    return found


def _by_size(left: Iterable[Part], right: Iterable[Part]) -> Iterable[tuple[list[Part], list[Part]]]:
    """Those that may be counterparts, as far as the number and the kind of their entries says."""
    groups: dict[tuple[int, str], tuple[list[Part], list[Part]]] = defaultdict(lambda: ([], []))
    for side, parts in enumerate((left, right)):
        for part in parts:
            groups[part.size, part.kind][side].append(part)
    return groups.values()


def _without_choice(cost: np.ndarray, parts: Sequence[Part]) -> Iterator[Part]:
    """The parts that fit one other alone, which fits no others."""
    fits = cost < NEVER / 2
    for row in np.flatnonzero(fits.sum(axis=1) == 1).tolist():
        if fits[:, fits[row]].sum() == 1:
            yield parts[row]


def _misplaced(left: Sequence[Part], right: Sequence[Part]) -> np.ndarray:
    """How far from each other two stand in the lists of those of their size and role, and of their layer."""

    def apart(by: Callable[[Part], Hashable]) -> np.ndarray:
        difference: np.ndarray = np.abs(np.subtract.outer(_places(left, by), _places(right, by)))
        return difference

    same = np.array([[a.name.role == b.name.role for b in right] for a in left])
    misplaced = np.where(same, apart(lambda part: part.name.role), apart(lambda _: ()))
    layers = [{part.name.numbers[:1] for part in parts} for parts in (left, right)]
    if layers[0] == layers[1]:
        misplaced = (misplaced + apart(lambda part: (part.name.role, part.name.numbers[:1]))) / 2
    return misplaced


def _places(parts: Sequence[Part], by: Callable[[Part], Hashable]) -> np.ndarray:
    """Of every part, how far down it stands in the list of those of its group."""
    places = np.zeros(len(parts))
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for n in sorted(range(len(parts)), key=lambda n: parts[n].listed):
        groups[by(parts[n])].append(n)
    for group in groups.values():
        places[group] = np.arange(len(group)) / len(group)
    return places


class _Modules:
    """Which modules have been paired, as far as pairs of parts say."""

    def __init__(self, pairs: Pairs, sure: Collection[Part] = ()) -> None:
        """Count; those that are ``sure`` count more."""
        self.counts = {cut: self._count(pairs, sure, *cut) for cut in product((None, -1), repeat=2)}

    @staticmethod
    def _count(
        pairs: Pairs, sure: Collection[Part], one: int | None, other: int | None
    ) -> dict[tuple[tuple[str, ...], tuple[str, ...]], float]:
        """By two modules, the share of the pairs in either of them that joins the two."""
        both: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
        for a, b in pairs:
            both[a.name.path[:one], b.name.path[:other]] += _SURE_VOTES if a in sure else 1
        left: Counter[tuple[str, ...]] = Counter()
        right: Counter[tuple[str, ...]] = Counter()
        for (here, there), votes in both.items():
            left[here] += votes
            right[there] += votes
        return {modules: votes / max(left[modules[0]], right[modules[1]]) for modules, votes in both.items()}

    def shares(self, left: Sequence[Part], right: Sequence[Part]) -> np.ndarray:
        """How much says that every two parts are of one module: ``(left, right)``, from 0 to 1."""
        found = {}
        for cut, counts in self.counts.items():
            rows, columns = (
                _indices(part.name.path[:end] for part in parts)
                for parts, end in zip((left, right), cut, strict=True)
            )
            found[cut] = np.zeros((len(left), len(right)))
            for (here, there), share in counts.items():
                if here in rows and there in columns:
                    found[cut][np.ix_(rows[here], columns[there])] = share
        direct = found.pop((None, None))
        together: np.ndarray = 0.6 * direct + 0.4 * np.max([*found.values()], axis=0)
        return together


def _indices(keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        found[key].append(place)
    return found
