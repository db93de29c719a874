"""What speaks against a pair of parameters, as far as the two alone tell it."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache, partial

import numpy as np

from compare.port.mapping import Side
from compare.port.matching.layouts import AS_IT_IS, IN_OUT_LAST, all_layouts
from compare.port.matching.names import TABLES, Name
from compare.port.matching.parts import Part

# What speaks against a pair. Only the order of these numbers is meant: a known other role outweighs names,
# and names outweigh modules. Numbers are a part of the name where the words are the same, but not where
# flax has counted. An order of use outweighs what speaks little (`assignment`); where parameters are listed,
# which may be by alphabet, only breaks ties.
_OTHER_ROLE = 3.0
_OTHER_NAME = 2.0
_OTHER_NUMBERS = 2.0
_VECTOR_FOR_MATRIX = 2.0
_OTHER_LAYOUT = 1.0
_NO_ROLE = 0.4
_OTHER_COUNT = 0.4
_OTHER_RANK = 0.3
NEVER = 1e6
_EQUAL_VALUES = 50.0  # outweighs all of the above together

MEANT = {
    "kernel": "a kernel is (in, out) in flax",
    "w": "w is (in, out) in haiku",
}


def is_table(a: Part, b: Part) -> bool:
    """Whether a pair is looked up in, or multiplied entry by entry, and so has no in and out."""
    said = TABLES & {*a.name.words, *b.name.words}
    looked_up = said and not a.name.biased and not b.name.biased and b.name.last not in MEANT
    return bool(looked_up or b.name.last in {"scale", "gamma", "gain", "g"}) and a.rank <= 2  # noqa: PLR2004  # rows


def meaning_of(a: Part, b: Part) -> str:
    """The convention that the names mean in the known libraries; empty if they mean none."""
    if is_table(a, b):
        return AS_IT_IS
    if b.name.last in MEANT:
        return IN_OUT_LAST
    return AS_IT_IS if b.name.last and b.name.last == a.name.last else ""


@dataclass(frozen=True, eq=False)
class Objections:
    """What speaks against a pair, as far as it can be told before any other pair is known.

    Attributes:
        tells: by word, how much it tells: the rarer, the more.
        ordered: whether the order of use is known on both sides.
        only: by side and parameter, the only ones that it may belong to.
        strict: whether a vector is never a matrix, unless both are said to be a bias.
    """

    tells: Mapping[str, float]
    ordered: bool
    only: Mapping[Side, Mapping[str, frozenset[str]]]
    strict: bool = False
    _seen: dict[Hashable, float] = field(default_factory=dict)

    def costs(self, left: Sequence[Part], right: Sequence[Part]) -> np.ndarray:
        """Of every pair: ``(left, right)``; without their places and their modules."""
        cost = _outer(left, right, lambda part: part.traits, self._unlike)
        alike = _outer(left, right, lambda part: part.name.words, self._alike)
        counted = np.array([part.name.counted for part in right])
        numbers = np.where(counted, 0, alike) * _OTHER_NUMBERS + _OTHER_COUNT
        cost += _OTHER_NAME * (1 - alike)
        cost += numbers * _outer(left, right, lambda p: (p.name.numbers, p.name.counted), _numbers_apart)
        if any(self.only.values()):
            cost[~_outer(left, right, lambda part: part.leaf, self._allowed).astype(bool)] = NEVER
        if any(part.entries is not None for part in left):
            cost -= _EQUAL_VALUES * _outer(left, right, lambda part: part.entries, same_entries)
        return cost

    def alike(self, one: Sequence[str], other: Sequence[str]) -> float:
        """The share of what two names say that both say."""
        if not one or not other:
            return 1.0 if one == other else 0.3  # what says nothing may be either
        both = Counter(one) & Counter(other)
        shared = sum(self._telling(word) * n for word, n in both.items())
        lone, others = ([*(Counter(words) - both).elements()] for words in (one, other))
        for word in [*lone]:
            near = max(others, key=partial(_akin, word), default="")
            if akin := _akin(word, near):
                shared += akin * min(self._telling(word), self._telling(near))
                lone.remove(word)
                others.remove(near)
        alone = sum(map(self._telling, (*lone, *others)))
        return shared / (shared + alone)

    def _alike(self, a: Part, b: Part) -> float:
        key = (a.name.words, b.name.words)
        if key not in self._seen:
            self._seen[key] = self.alike(*key)
        return self._seen[key]

    def _unlike(self, a: Part, b: Part) -> float:
        """What their roles and shapes say against a pair."""
        key = (a.traits, b.traits, self.strict)
        if key not in self._seen:
            role, rank = self._other_role(a.name, b.name), self._other_rank(a, b)
            if not all_layouts(a.shape, b.shape) or max(role, rank) >= NEVER:
                self._seen[key] = NEVER
            else:
                meant = meaning_of(a, b)
                against = bool(meant) and not any(
                    meant in layout.kinds for layout in all_layouts(a.shape, b.shape)
                )
                doubt = 0.5 if b.name.last == "w" else 1.0  # what is called w need not be haiku's
                self._seen[key] = role + rank + _OTHER_LAYOUT * doubt * against
        return self._seen[key]

    def _other_role(self, a: Name, b: Name) -> float:
        if a.role == b.role:
            return 0.0
        if a.role and b.role:
            return NEVER if a.sure and b.sure else _OTHER_ROLE
        return _NO_ROLE

    def _other_rank(self, a: Part, b: Part) -> float:
        if a.rank == b.rank:
            return 0.0
        if 1 in {a.rank, b.rank} and not a.name.role == b.name.role == "bias":
            return NEVER if self.strict else _VECTOR_FOR_MATRIX
        return _OTHER_RANK

    def _allowed(self, a: Part, b: Part) -> float:
        here, there = self.only["imperative"].get(a.leaf), self.only["functional"].get(b.leaf)
        return float((here is None or b.leaf in here) and (there is None or a.leaf in there))

    def _telling(self, word: str) -> float:
        return self.tells.get(word, 1.0)


def _outer(
    left: Sequence[Part],
    right: Sequence[Part],
    key: Callable[[Part], Hashable],
    measure: Callable[[Part, Part], float],
) -> np.ndarray:
    """A measure of all pairs, taken once for each two that differ in what it looks at."""
    kinds, places = [], []
    for parts in (left, right):
        numbers: dict[Hashable, int] = {}
        places.append([numbers.setdefault(key(part), len(numbers)) for part in parts])
        kinds.append([parts[places[-1].index(number)] for number in range(len(numbers))])
    table = np.array([[measure(a, b) for b in kinds[1]] for a in kinds[0]])
    return table[np.ix_(*places)]


def same_entries(a: Part, b: Part) -> float:
    """Whether the entries of both are known, and the same in whatever order."""
    return float(a.entries is not None and a.entries == b.entries)


def _numbers_apart(a: Part, b: Part) -> float:
    """The share of the numbers in two names that differ, counted from the front or from the back.

    The front tells more, unless flax has counted: it does so within each module, and on through all stages.
    """
    short, long = sorted((a.name.numbers, b.name.numbers), key=len)
    if not short:
        return 0.5 if long else 0.0
    spare = len(long) - len(short)
    front, back = (sum(x == y for x, y in zip(short, part, strict=False)) for part in (long, long[spare:]))
    return 1 - (max(front, back * (1.0 if b.name.counted else 0.7)) + spare / 4) / len(long)


@cache
def _akin(word: str, other: str) -> float:
    """Whether a word begins the other, or is spelt almost like it."""
    if min(len(word), len(other)) < 3:  # noqa: PLR2004  # two letters begin too many words
        return 0.0
    if word.startswith(other) or other.startswith(word):
        return 0.7
    return 0.5 if SequenceMatcher(None, word, other).ratio() > 0.8 else 0.0  # noqa: PLR2004  # a letter in five
