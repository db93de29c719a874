"""Lets the parameters of two ports find each other, by shape, name, order, value and, at last, by trying.

First every array that one side holds fused, split or stacked is cut into the parts that the other side has: a cut
is made if it leaves less without a counterpart. Then an assignment gives each part the one that is most like it in
role, name and place. Last, every pair gets its layout: what the shapes leave open is decided by equal values, by the
convention that the other parameters establish, by what a name means in the known libraries, and only then by
``score``. A single weight that is used the wrong way round thus stays wrong. What nothing decides is said to be
guessed.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache, cached_property, partial
from itertools import combinations, permutations, product
from typing import Any

import msgspec
import numpy as np
from scipy.optimize import linear_sum_assignment

from compare.port.mapping import SIDES, Block, Leftover, Map, MapError, Piece, Shape, Side, nearest

Arrays = Mapping[str, np.ndarray]
Score = Callable[[Map], float]

# What speaks against a pair, in units of nothing: only which outweighs which is meant. Names that share nothing
# outweigh any order, the order of use outweighs numbers in names, these outweigh the order of definition.
_STRANGERS = 2.0
_OTHER_ROLE = 3.0
_NO_ROLE = 0.4
_OTHER_NUMBER = 0.8
_OTHER_LAYOUT = 1.0
_VECTOR_FOR_MATRIX = 2.0
_SPLIT = 0.3
_OTHER_PLACE = {"used": 1.6, "listed": 0.5}
_OTHER_MODULE = 1.0
_NEVER = 1e6
_SURELY = 50.0
_TIE = 1e-9  # what sums of the above are rounded by

#: How often a map is scored at most: each time both sides run.
MOST_SCORES = 60

_ROUNDS = 3  # the first pairs decide what later ones are beside


# ---- names


def _words(groups: str) -> dict[str, tuple[str, ...]]:
    """Synonyms: each line names what its words mean, several words by +."""
    same = {}
    for line in groups.strip().splitlines():
        meaning, words = line.split(":")
        same |= dict.fromkeys(words.split(), tuple(meaning.strip().split("+")))
    return same


_ROLES = {
    word: meaning[0]
    for word, meaning in _words(
        """
        weight: weight kernel scale gamma gain embedding embeddings table matrix w g
        bias: bias beta offset shift b
        mean: mean avg
        var: var variance
        """
    ).items()
}

_SAME = _words(
    """
    linear: linear dense fc lin
    conv: conv convolution
    norm: norm normalization normalisation normalise
    layer+norm: ln layernorm
    batch+norm: bn batchnorm
    group+norm: gn groupnorm
    rms+norm: rmsnorm
    attention: attn attention att mha
    embed: emb embed embedding embeddings embedder lookup
    token+embed: wte
    position+embed: wpe
    position: pos position positional positions
    token: tok token tokens
    proj: proj projection
    q: q query queries
    k: k key keys
    v: v value values
    in: in input inputs i x ih xh
    hh: hh hidden h state recurrent u
    out: out output outputs o
    head: head classifier logits
    mlp: mlp ffn ff feedforward
    encoder: encoder enc
    decoder: decoder dec
    shortcut: shortcut downsample skip residual
    backward: backward backwards reverse reversed bwd bw
    transpose: transpose transposed deconv convtranspose
    class: cls class
    mean: mean avg average
    layer: layer layers
    block: block blocks
    norm: norms
    """
)

# Words that every name can bear, and that tell nothing.
_NOISE = frozenset("params param batch stats module model net orig mod l w b ema running moving".split())

_GATES = [
    {"i": "gate i", "f": "gate f", "g": "gate g", "c": "gate g", "j": "gate g", "o": "gate o"},
    {"r": "gate r", "z": "gate z", "u": "gate z", "n": "gate n", "h": "gate n", "a": "gate n", "c": "gate n"},
]

#: The order in which known parts stand in a fused array.
_ORDERS = [
    ("q", "k", "v"),
    ("k", "v"),
    ("gate i", "gate f", "gate g", "gate o"),
    ("gate r", "gate z", "gate n"),
]

# Single letters that mean something in a module in which there are no others.
_LETTERS = frozenset("wbugqkvoifrznhcx")

_COUNTERS = re.compile(r"(num_batches_tracked|counter|count|steps?|iterations?)$")


@dataclass(frozen=True)
class _Name:
    """What a name says.

    Attributes:
        words: what the module is called, in words that both sides share.
        numbers: its places among its siblings, the outermost first.
        role: ``weight``, ``bias``, ``mean``, ``var`` or nothing known.
        sure: whether the role is said by a word, not by a letter.
        last: the word that says the role.
        path: components as they are written, but for the role.
    """

    words: tuple[str, ...]
    numbers: tuple[int, ...]
    role: str
    sure: bool
    last: str
    path: tuple[str, ...]


def _read(names: Iterable[str]) -> dict[str, _Name]:
    """What the names of one side say, each among the others."""
    parts = {name: _components(name) for name in names}
    if all(len(c) > 1 and c[-1] == ["value"] for c in parts.values()):
        parts = {name: c[:-1] for name, c in parts.items()}
    letters: dict[str, set[str]] = defaultdict(set)
    for c in parts.values():
        letters[str(c[:-1])] |= {c[-1][0]} if c and len(c[-1][0]) == 1 else set()
    spelt = {key for key, found in letters.items() if not found <= _LETTERS}
    following: dict[tuple[str, ...], set[str]] = defaultdict(set)
    numbered: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for c in parts.values():
        for before, token, after in _walk(c):
            following[before].add(token)
            if token.isdigit():
                numbered[after].add(int(token))
    return {name: _named(c, following, numbered, str(c[:-1]) in spelt) for name, c in parts.items()}


def _components(name: str) -> list[list[str]]:
    """The words of every component of a path."""
    name = re.sub(r"(?i)(multi_?head(ed)?_?)?(dot_?product_?)?(self_?)?attention", "Attention", name)
    name = re.sub(r"(?i)(conv|transpose|norm|pool)_?[123]_?d(?![a-z])", r"\1", name)
    split = [re.findall(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part) for part in re.split(r"\W+", name)]
    kept = [[word.lower() for word in part] for part in split if part]
    return [
        [piece for word in part for piece in _letters_apart(word, last=number == len(kept) - 1)]
        for number, part in enumerate(kept)
    ] or [[""]]


def _letters_apart(word: str, *, last: bool) -> tuple[str, ...]:
    """A role's letter and what follows it: ``wq`` is the weight of q."""
    lead = "wub" if last else "w"
    found = re.fullmatch(rf"([{lead}])(q|k|v|qkv|kv|o|i|f|g|c|r|z|n|h|x|ih|hh)", word)
    return found.groups() if found and word != "bn" else (word,)


def _walk(
    components: Sequence[Sequence[str]],
) -> Iterator[tuple[tuple[str, ...], str, tuple[str, ...]]]:
    """Every word, after all that come before it, and after those of them that say no role."""
    before: tuple[str, ...] = ()
    roleless: tuple[str, ...] = ()
    for number, part in enumerate(components):
        for token in part:
            yield before, token, roleless
            before = (*before, token)
            if number < len(components) - 1 or token not in _ROLES:
                roleless = (*roleless, token)


def _named(
    components: Sequence[Sequence[str]],
    following: Mapping[tuple[str, ...], set[str]],
    numbered: Mapping[tuple[str, ...], set[int]],
    spelt: bool,
) -> _Name:
    at, role, last = _role(components)
    if spelt and len(components[-1][0]) == 1:
        at, role, last = 0, "", ""  # letters of the alphabet
    words: list[str] = []
    numbers: list[int] = []
    everything = list(_walk(components))
    place = len(everything) - len(components[-1]) + at
    for position, (before, token, roleless) in enumerate(everything):
        if token.isdigit():
            if len(numbered[roleless]) > 1:
                numbers.append(sorted(numbered[roleless]).index(int(token)))
        elif position != place or (not role and not spelt):
            words += _meaning(token, following[before])
        elif role and token in {"embedding", "embeddings", "u"}:
            words += _SAME[token]
    rest = [token for position, token in enumerate(components[-1]) if not (role and position == at)]
    path = ["_".join(part) for part in components[:-1]] + (["_".join(rest)] if rest else [])
    return _Name(
        tuple(word for word in words if word not in _NOISE),
        tuple(numbers),
        role,
        bool(role) and len(last) > 1,
        last,
        tuple(path),
    )


def _role(components: Sequence[Sequence[str]]) -> tuple[int, str, str]:
    """Where in the last component the role is said, which it is, and in what word."""
    words = components[-1]
    if words[-1] in {"average", "hidden"} and len(components) > 1 and "ema" in components[-2]:
        kind = next((_ROLES[word] for word in components[-2] if _ROLES.get(word) in {"mean", "var"}), "")
        return len(words) - 1, kind if words[-1] == "average" else "hidden", words[-1]
    for wanted in (lambda w: len(w) > 1, lambda w: w in "wb", lambda w: w in "ug"):
        for at in reversed(range(len(words))):
            word = words[at]
            if word == "u" and len(words) > 1 and wanted(word):
                return at, "weight", word
            if word in _ROLES and wanted(word):
                return at, _ROLES[word], word
    return 0, "", ""


def _meaning(token: str, siblings: set[str]) -> tuple[str, ...]:
    """What a word means among those that stand in its place."""
    for gates in _GATES:
        if _are_gates(siblings, gates) and token in gates:
            return (gates[token],)
        for lead in "ixh":
            second = {word[1] for word in siblings if len(word) == 2 and word[0] in (lead, "h")}  # noqa: PLR2004  # a letter for the operand, one for the gate
            if _are_gates(second, gates) and len(token) == 2 and token[0] in "ixh" and token[1] in gates:  # noqa: PLR2004
                return ("hh" if token[0] == "h" else "in", gates[token[1]])
    return _SAME.get(token, (token,))


def _are_gates(letters: set[str], gates: Mapping[str, str]) -> bool:
    return len({gates[letter] for letter in letters if letter in gates}) == len(set(gates.values())) and len(
        letters
    ) >= len(set(gates.values()))


# ---- parts


@dataclass(frozen=True, eq=False)
class _Part:
    """A parameter, or a block of one that is matched by itself.

    Attributes:
        leaf: the parameter.
        block: of it.
        name: what the part is called.
        kind: of its numbers: parts of different kinds are no counterparts.
        used: when it is first used; None where that is not known.
        listed: where it stands in its tree.
        cut: the name of the cut that it stems from, and which of its parts it is; None if it is whole.
        values: its entries; None if they mean nothing.
    """

    leaf: str
    block: Block
    name: _Name
    kind: str
    used: tuple[float, ...] | None
    listed: tuple[float, ...]
    cut: tuple[str, int] | None = None
    values: np.ndarray | None = None

    @cached_property
    def shape(self) -> Shape:
        return tuple(stop - start for start, stop in self.block)

    @cached_property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def entries(self) -> bytes | None:
        """What its entries are, in whatever order; None where they are not known, or all the same."""
        if self.values is None or not self.size:
            return None
        wide = np.complex128 if self.values.dtype.kind == "c" else np.float64
        flat = np.sort(self.values.astype(wide), axis=None)
        return None if flat[0] == flat[-1] else flat.tobytes()

    def slices(self, axis: int, sizes: Sequence[int]) -> "Iterator[_Part]":
        """Cut it along an axis into parts of these sizes."""
        start = 0
        for size in sizes:
            base = self.block[axis][0] + start
            block = (*self.block[:axis], (base, base + size), *self.block[axis + 1 :])
            here = (slice(None),) * axis + (slice(start, start + size),)
            yield replace(self, block=block, values=None if self.values is None else self.values[here])
            start += size

    def fused(
        self, axis: int, sizes: Sequence[int], said: Sequence[tuple[str, ...]], family: str
    ) -> "list[_Part]":
        """Cut it into what it is fused of; ``said`` is what each part is called besides."""
        return [
            replace(
                part,
                name=replace(
                    self.name,
                    words=(*self.name.words, *said[k]),
                    numbers=self.name.numbers if any(said) else (*self.name.numbers, k),
                    path=(*self.name.path, f"[{k}]"),
                ),
                used=None if self.used is None else (*self.used, k),
                listed=(*self.listed, k),
                cut=(family, k),
            )
            for k, part in enumerate(self.slices(axis, sizes))
        ]

    def stacked(self, axis: int, used: float, listed: float) -> "list[_Part]":
        """Cut it into its layers, which are used and listed one after the other, from these places on."""
        return [
            replace(
                part,
                name=replace(self.name, numbers=(k, *self.name.numbers), path=(f"[{k}]", *self.name.path)),
                used=None if self.used is None else (used, k, *self.used),
                listed=(listed, k, *self.listed),
            )
            for k, part in enumerate(self.slices(axis, [1] * self.shape[axis]))
        ]


# ---- layouts


@dataclass(frozen=True)
class _Layout:
    """A way to lay out one block as another.

    Attributes:
        axes, split, flip: of the piece.
        kinds: the conventions that it is in keeping with.
        plain: whether parts of an axis stay in the order in which they are.
    """

    axes: tuple[int, ...]
    split: Shape | None
    kinds: frozenset[str]
    flip: tuple[int, ...] = ()
    plain: bool = True


AS_IT_IS, IN_OUT_LAST = "as it is", "(in, out) last"
OUT_IN_LAST, IN_OUT_FIRST = "(out, in) last", "(in, out) first"


def _conventions(rank: int) -> dict[str, tuple[int, ...]]:
    """Where the axes of a weight, of which the first two are out and in, go in the known conventions."""
    if rank < 2:  # noqa: PLR2004  # a vector has no convention
        return dict.fromkeys((AS_IT_IS, IN_OUT_LAST, OUT_IN_LAST, IN_OUT_FIRST), tuple(range(rank)))
    rest = tuple(range(2, rank))
    return {
        AS_IT_IS: (0, 1, *rest),
        IN_OUT_LAST: (*rest, 1, 0),
        OUT_IN_LAST: (*rest, 0, 1),
        IN_OUT_FIRST: (1, 0, *rest),
        "out last": (1, *rest, 0),
        "in last": (0, *rest, 1),
    }


@cache
def _layouts(block: Shape, target: Shape) -> tuple[_Layout, ...]:
    """Every way to lay out a block as another; the known conventions first, and only they where one fits."""
    if math.prod(block) != math.prod(target) or not math.prod(block):
        return (
            (_Layout(tuple(range(len(block))), None, frozenset(_conventions(1))),) if block == target else ()
        )
    narrow = sorted(block) != sorted(target)
    source, goal = (tuple(n for n in shape if n > 1) if narrow else shape for shape in (block, target))
    split = None if source == block else source
    if sorted(source) == sorted(goal):
        found = list(_turned(source, goal, split))
    elif len(goal) > len(source):
        found = list(_spread(source, goal))
    else:
        found = list(_gathered(source, goal, split))
    known = [layout for layout in found if layout.kinds]
    order = list(_conventions(2))
    return tuple(
        sorted(
            known or found,
            key=lambda layout: (not layout.plain, [kind not in layout.kinds for kind in order]),
        )
    )


def _turned(source: Shape, goal: Shape, split: Shape | None) -> Iterator[_Layout]:
    seen = set()
    for axes in permutations(range(len(source))) if len(source) <= 6 else [tuple(range(len(source)))]:  # noqa: PLR2004  # 720 orders; more axes than any known weight has
        order = tuple(axis for axis in axes if source[axis] > 1)
        if tuple(source[axis] for axis in axes) == goal and order not in seen:
            seen.add(order)
            yield _Layout(axes, split, _kinds(order, source))


def _kinds(order: Sequence[int], source: Shape) -> frozenset[str]:
    """The conventions that an order of axes is in keeping with."""
    return frozenset(
        kind
        for kind, axes in _conventions(len(source)).items()
        if [axis for axis in axes if source[axis] > 1] == list(order)
    )


def _spread(source: Shape, goal: Shape) -> Iterator[_Layout]:
    """Axes of the source become several of the goal."""
    for owners in _owners(goal, source):
        held = [[j for j, owner in enumerate(owners) if owner == axis] for axis in range(len(source))]
        for inner in product(*(_orders(axes) for axes in held)):
            memory = [j for axes in inner for j in axes]
            kinds = _kinds(_collapsed(owners), source) or _kinds(_collapsed(owners[1:]), source)
            plain = all(list(axes) == sorted(axes) for axes in inner)
            yield _Layout(
                tuple(memory.index(j) for j in range(len(goal))),
                tuple(goal[j] for j in memory),
                kinds,
                (),
                plain,
            )


def _gathered(source: Shape, goal: Shape, split: Shape | None) -> Iterator[_Layout]:
    """Axes of the goal are several of the source."""
    for owners in _owners(source, goal):
        held = [[j for j, owner in enumerate(owners) if owner == axis] for axis in range(len(goal))]
        for inner in product(*(_orders(axes) for axes in held)):
            order = tuple(j for axes in inner for j in axes)
            last = all(list(axes) in (sorted(axes), [*sorted(axes)[1:], min(axes)]) for axes in inner if axes)
            yield _Layout(order, split, _kinds(order, source), (), last)


def _orders(axes: Sequence[int]) -> Iterable[tuple[int, ...]]:
    return permutations(axes) if len(axes) <= 3 else [tuple(axes)]  # noqa: PLR2004  # 6 orders


def _collapsed(owners: Sequence[int]) -> list[int]:
    return [owner for j, owner in enumerate(owners) if j == 0 or owners[j - 1] != owner]


def _owners(fine: Shape, coarse: Shape) -> Iterator[tuple[int, ...]]:
    """Every way to give each fine axis to a coarse one, so that the products are right."""

    def given(axis: int, left: tuple[int, ...], owners: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if axis == len(fine):
            yield owners
            return
        for owner, room in enumerate(left):
            if room % fine[axis] == 0:
                rest = (*left[:owner], room // fine[axis], *left[owner + 1 :])
                yield from given(axis + 1, rest, (*owners, owner))

    yield from given(0, coarse, ())


# ---- who belongs to whom

_Pairs = list[tuple[_Part, _Part]]


@dataclass(frozen=True, eq=False)
class _Judge:
    """What speaks against a pair.

    Attributes:
        weights: by word, how much it tells.
        ordered: whether the order of use is known on both sides.
        only: by side and parameter, the only ones on the other side that it may belong to.
        biased: by side, the modules that have a bias: they are no tables.
    """

    weights: Mapping[str, float]
    ordered: bool
    only: Mapping[Side, Mapping[str, frozenset[str]]]
    biased: Mapping[Side, frozenset[tuple[str, ...]]]
    _known: dict[tuple[_Part, _Part], float] = field(default_factory=dict)

    def cost(self, a: _Part, b: _Part) -> float:
        """Of one pair, whatever its place."""
        if (a, b) not in self._known:
            self._known[a, b] = self._cost(a, b)
        return self._known[a, b]

    def _cost(self, a: _Part, b: _Part) -> float:
        if a.kind != b.kind or not _layouts(a.shape, b.shape) or not self.allowed(a.leaf, b.leaf):
            return _NEVER
        one, other = a.name, b.name
        cost = 0.0
        if one.role and other.role and one.role != other.role:
            if one.sure and other.sure:
                return _NEVER
            cost += _OTHER_ROLE
        elif one.role != other.role:
            cost += _NO_ROLE
        cost += _STRANGERS * (1 - self.alike(one.words, other.words))
        cost += _OTHER_NUMBER * _apart(one.numbers, other.numbers)
        narrow = [sum(n > 1 for n in part.shape) for part in (a, b)]
        if narrow[0] != narrow[1]:
            cost += _SPLIT
            if 1 in narrow and "bias" not in (one.role, other.role):
                cost += _VECTOR_FOR_MATRIX
        if (meant := self.meant(a, b)) and not any(
            meant in layout.kinds for layout in _layouts(a.shape, b.shape)
        ):
            cost += _OTHER_LAYOUT
        if a.entries is not None and a.entries == b.entries:
            cost -= _SURELY
        return cost

    def allowed(self, left: str, right: str) -> bool:
        """Whether the corrections let two parameters be counterparts."""
        here = self.only["imperative"].get(left)
        there = self.only["functional"].get(right)
        return (here is None or right in here) and (there is None or left in there)

    def meant(self, a: _Part, b: _Part) -> str:
        """The convention that the two names mean in the known libraries; empty if they mean none."""
        if self.table(a, b):
            return AS_IT_IS
        if b.name.last == "kernel":
            return IN_OUT_LAST
        if b.name.last and b.name.last == a.name.last:
            return AS_IT_IS
        return ""

    def table(self, a: _Part, b: _Part) -> bool:
        """Whether a pair is looked up in, and so has no in and out."""
        said = {"embed", "position", "token"} & {*a.name.words, *b.name.words}
        bare = a.name.path not in self.biased["imperative"] and b.name.path not in self.biased["functional"]
        return bool(said) and bare and b.name.last not in {"kernel", "w"} and sum(n > 1 for n in a.shape) <= 2  # noqa: PLR2004  # a row for each of what is looked up

    def alike(self, one: Sequence[str], other: Sequence[str]) -> float:
        """The share of what two names say that both say; nothing said is between the same and another."""
        if not one or not other:
            return 1.0 if one == other else 0.3
        left, right = Counter(one), Counter(other)
        both = left & right
        shared = sum(self._tells(word) * n for word, n in both.items())
        lone = [list((side - both).elements()) for side in (left, right)]
        for word in list(lone[0]):
            near = max(lone[1], key=lambda w: _akin(word, w), default="")
            if near and _akin(word, near):
                shared += _akin(word, near) * min(self._tells(word), self._tells(near))
                lone[0].remove(word)
                lone[1].remove(near)
        alone = sum(self._tells(word) for words in lone for word in words)
        return shared / (shared + alone) if shared + alone else 1.0

    def _tells(self, word: str) -> float:
        return self.weights.get(word, 1.0)


@cache
def _akin(word: str, other: str) -> float:
    """Whether a word is another's beginning, or spelt almost like it."""
    if min(len(word), len(other)) < 3:  # noqa: PLR2004  # two letters begin too many words
        return 0.0
    if word.startswith(other) or other.startswith(word):
        return 0.7
    return 0.5 if SequenceMatcher(None, word, other).ratio() > 0.8 else 0.0  # noqa: PLR2004  # one letter in ten


def _apart(one: Sequence[int], other: Sequence[int]) -> float:
    """The share of numbers that differ; those of the longer name from the front or from the back."""
    if not one or not other:
        return 0.0 if one == other else 0.5
    short, long = sorted((one, other), key=len)
    cut = len(long) - len(short)
    same = max(sum(a == b for a, b in zip(short, part, strict=False)) for part in (long, long[cut:]))
    return 1 - same / len(long) - 0.25 * cut / len(long)


def _telling(parts: Iterable[_Part]) -> dict[str, float]:
    """How much each word tells: the rarer the more."""
    names = [set(part.name.words) for part in parts]
    seen = Counter(word for words in names for word in words)
    return {word: math.log((1 + len(names)) / count) + 0.1 for word, count in seen.items()}


@dataclass(frozen=True, eq=False)
class _Assignment:
    """Pairs, and what they rest on.

    Attributes:
        pairs: of parts.
        why: of each pair.
        ties: groups of pairs that can be exchanged with each other, for all that names and shapes say.
        alone: parts without a counterpart, by side.
        cost: what speaks against all of it.
    """

    pairs: _Pairs
    alone: Mapping[Side, list[_Part]]
    cost: float

    @property
    def covered(self) -> int:
        """How many entries have a counterpart."""
        return sum(a.size for a, _ in self.pairs)


def _assigned(left: Sequence[_Part], right: Sequence[_Part], judge: _Judge) -> _Assignment:
    """The pairs against which least speaks."""
    groups = [(a, b) for a, b in _by_size(left, right) if a and b]
    places = [_places(a, b, judge) for a, b in groups]
    bare = [np.array([[judge.cost(x, y) for y in b] for x in a]) for a, b in groups]
    pairs: _Pairs = []
    cost = 0.0
    for _ in range(_ROUNDS):
        beside = _beside(pairs)
        pairs, cost = [], 0.0
        for (a, b), plain, place in zip(groups, bare, places, strict=True):
            total = plain + place
            if beside:
                total = total + np.array([[_OTHER_MODULE * (1 - beside(x, y)) for y in b] for x in a])
            for row, column in zip(*linear_sum_assignment(total), strict=True):
                if plain[row, column] < _NEVER:
                    pairs.append((a[row], b[column]))
                    cost += total[row, column]
    taken = {part for pair in pairs for part in pair}
    alone = {
        side: [p for p in parts if p not in taken] for side, parts in zip(SIDES, (left, right), strict=True)
    }
    order = {part: number for number, part in enumerate(left)}
    return _Assignment(sorted(pairs, key=lambda pair: order[pair[0]]), alone, cost)


def _by_size(left: Iterable[_Part], right: Iterable[_Part]) -> Iterator[tuple[list[_Part], list[_Part]]]:
    """The parts that may be counterparts of each other, as far as the number of their entries says."""
    groups: dict[tuple[int, str], tuple[list[_Part], list[_Part]]] = defaultdict(lambda: ([], []))
    for side, parts in enumerate((left, right)):
        for part in parts:
            groups[part.size, part.kind][side].append(part)
    yield from groups.values()


def _places(left: Sequence[_Part], right: Sequence[_Part], judge: _Judge) -> np.ndarray:
    """What speaks against every pair by their places among parts of the same role and size."""
    cost = np.zeros((len(left), len(right)))
    for ranked, weight in (("used", judge.ordered), ("listed", True)):
        if not weight:
            continue
        one, other = (_ranks(parts, ranked) for parts in (left, right))
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                if one[i] is None or other[j] is None:
                    cost[i, j] += _OTHER_PLACE[ranked] / 2
                    continue
                key = a.name.role if a.name.role == b.name.role else None
                (x, n), (y, m) = one[i][key], other[j][key]
                far = abs(x - y) / max(n, m) if n == m else abs(x / n - y / m)
                near = (x != y) if n == m else far
                cost[i, j] += _OTHER_PLACE[ranked] * (0.6 * near + 0.4 * far)
    return cost


def _ranks(parts: Sequence[_Part], by: str) -> list[dict[str | None, tuple[int, int]] | None]:
    """The place of every part, and among how many: of those of its role, and of all (under None)."""
    keys = {part: getattr(part, by) for part in parts}
    ordered = sorted((part for part in parts if keys[part] is not None), key=lambda part: keys[part])
    found: dict[_Part, dict[str | None, tuple[int, int]]] = defaultdict(dict)
    for role in {None, *(part.name.role for part in parts)}:
        among = [part for part in ordered if role is None or part.name.role == role]
        for place, part in enumerate(among):
            found[part][role] = (place, len(among))
    return [found[part] if keys[part] is not None else None for part in parts]


def _beside(pairs: _Pairs) -> Callable[[_Part, _Part], float] | None:
    """How much of the modules of two parts has been paired already: from 0 to 1."""
    if not pairs:
        return None
    direct = _shares([(a.name.path, b.name.path) for a, b in pairs])
    around = _shares([(a.name.path[:-1], b.name.path[:-1]) for a, b in pairs])
    across = _shares([(a.name.path, b.name.path[:-1]) for a, b in pairs])
    back = _shares([(a.name.path[:-1], b.name.path) for a, b in pairs])

    def share(a: _Part, b: _Part) -> float:
        one, other = a.name.path, b.name.path
        wider = max(around[one[:-1], other[:-1]], across[one, other[:-1]], back[one[:-1], other])
        return 0.6 * direct[one, other] + 0.4 * wider

    return share


def _shares(homes: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> Mapping[Any, float]:
    """By two modules, which share of the pairs that either is in joins the two."""
    counts = Counter(homes), Counter(a for a, _ in homes), Counter(b for _, b in homes)
    shares = {(a, b): n / max(counts[1][a], counts[2][b]) for (a, b), n in counts[0].items()}
    return defaultdict(float, shares)


# ---- what is fused, split and stacked

_Cut = dict[_Part, list[_Part]]


def _cut(sides: Mapping[Side, list[_Part]], judge: _Judge) -> tuple[dict[Side, list[_Part]], _Assignment]:
    """Cut what one side holds as one and the other does not, as long as less is left over by it."""
    parts = dict(sides)
    best = _assigned(parts["imperative"], parts["functional"], judge)
    while True:
        free = best.alone
        tried = []
        for side, cut in _proposals(free, judge):
            sub = {s: _replaced(free[s], cut if s == side else {}) for s in SIDES}
            found = _assigned(sub["imperative"], sub["functional"], judge)
            if found.covered:
                tried.append((found.covered, -found.cost, -len(tried), side, cut))
        for *_, side, cut in sorted(tried, key=lambda t: t[:3], reverse=True):
            following = {s: _replaced(parts[s], cut if s == side else {}) for s in SIDES}
            found = _assigned(following["imperative"], following["functional"], judge)
            if found.covered > best.covered:
                parts, best = following, found
                break
        else:
            return parts, best


def _replaced(parts: Iterable[_Part], cut: _Cut) -> list[_Part]:
    return [piece for part in parts for piece in cut.get(part, [part])]


def _proposals(free: Mapping[Side, Sequence[_Part]], judge: _Judge) -> Iterator[tuple[Side, _Cut]]:
    """Cuts of what has no counterpart, into what has none on the other side."""
    for side, other in (SIDES, SIDES[::-1]):
        if not free[other]:
            continue
        for cut in _layers(free[side], free[other]):
            yield side, cut
        families: dict[tuple[Any, ...], list[_Part]] = defaultdict(list)
        for part in free[side]:
            families[part.name.words, part.name.role, len(part.shape)].append(part)
        for family in families.values():
            for axis in range(len(family[0].shape)):
                if cut := _fusion(family, axis, free[other], judge):
                    yield side, cut


def _layers(free: Sequence[_Part], other: Sequence[_Part]) -> Iterator[_Cut]:
    """Cuts along an axis that is as long as the other side has modules of a kind."""
    depths: dict[int, set[int]] = defaultdict(set)
    for part in other:
        for depth, number in enumerate(part.name.numbers):
            depths[depth].add(number)
    for length in sorted({len(found) for found in depths.values() if len(found) == max(found) + 1}):
        for at in (0, 1, -1):
            chosen = [
                part
                for part in free
                if len(part.shape) > abs(at) and part.shape[at] == length and part.size > length
            ]
            if chosen:
                used = min((part.used[0] for part in chosen if part.used is not None), default=0)
                listed = min(part.listed[0] for part in chosen)
                yield {part: part.stacked(at % len(part.shape), used, listed) for part in chosen}


def _fusion(family: Sequence[_Part], axis: int, other: Sequence[_Part], judge: _Judge) -> _Cut:
    """Cuts of parameters of one name along one axis, into what the other side has as siblings."""
    groups = _siblings(other)
    cut: _Cut = {}
    for part in family:
        unit = part.size // max(part.shape[axis], 1)
        for members in groups:
            fitting = next(_made_of(part, unit, members, judge), None)
            if fitting is None:
                continue
            common = set.intersection(*(set(member.name.words) for member in fitting))
            said = [tuple(w for w in member.name.words if w not in common) for member in fitting]
            known = any(
                all(label in words for label, words in zip(order, said, strict=False))
                for order in _ORDERS
                if len(order) == len(said)
            )
            family_name = "" if known else " ".join(part.name.words)
            cut[part] = part.fused(axis, [member.size // unit for member in fitting], said, family_name)
            break
    return cut


def _siblings(parts: Iterable[_Part]) -> list[list[_Part]]:
    """Parts of one role whose names differ in one place."""
    groups: dict[tuple[Any, ...], list[_Part]] = defaultdict(list)
    for part in parts:
        for k in range(len(part.name.path)):
            groups[k, part.name.path[:k], part.name.path[k + 1 :], part.name.role].append(part)
    return [members for members in groups.values() if len(members) > 1]


def _made_of(whole: _Part, unit: int, members: Sequence[_Part], judge: _Judge) -> Iterator[Sequence[_Part]]:
    """Members that together are as large as a whole, in the order in which they stand in it."""
    members = [m for m in members if m.size % unit == 0 and m.size < whole.size and m.kind == whole.kind]
    for order in _ORDERS:
        labelled = [
            max(
                (m for m in members if label in m.name.words),
                key=lambda m: _likeness(whole, m, judge),
                default=None,
            )
            for label in order
        ]
        chosen = [m for m in labelled if m is not None]
        if len(chosen) == len(order) and sum(m.size for m in chosen) == whole.size:
            yield chosen
    for count in range(2, 5):
        for some in combinations(members[:8], count):
            if sum(m.size for m in some) == whole.size:
                yield some
    if len(members) > 4 and sum(m.size for m in members) == whole.size:  # noqa: PLR2004  # all that there are
        yield members


def _likeness(one: _Part, other: _Part, judge: _Judge) -> float:
    return judge.alike(one.name.words, other.name.words)


# ---- how each is laid out


@dataclass(frozen=True)
class _Way:
    """How one part becomes its counterpart.

    Attributes:
        layout: of the whole part.
        gates: which imperative gate each functional one is; empty where they are in one order.
    """

    layout: _Layout
    gates: tuple[int, ...] = ()

    def blocks(self, block: Shape, target: Shape) -> Iterator[tuple[Block, Block, _Layout]]:
        """The blocks that are joined, and how: one, or one for each gate."""
        here, there = (tuple((0, n) for n in shape) for shape in (block, target))
        if not self.gates:
            yield here, there, self.layout
            return
        count, split = len(self.gates), self.layout.split
        axis = _first_axis(self.layout, block, target)
        rows, width = block[0] // count, target[axis] // count
        narrow = None if split is None else (split[0] // count, *split[1:])
        for k, gate in enumerate(self.gates):
            yield (
                ((gate * rows, (gate + 1) * rows), *here[1:]),
                (*there[:axis], (k * width, (k + 1) * width), *there[axis + 1 :]),
                replace(self.layout, split=narrow),
            )

    def equates(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether it turns the one array into the other."""
        made = np.empty(b.shape, a.dtype)
        for here, there, layout in self.blocks(a.shape, b.shape):
            part = a[tuple(slice(*edge) for edge in here)]
            turned = np.flip(part.reshape(layout.split or part.shape).transpose(layout.axes), layout.flip)
            where = tuple(slice(*edge) for edge in there)
            made[where] = turned.reshape(made[where].shape)
        return bool(np.array_equal(made, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc"))


def _first_axis(layout: _Layout, block: Shape, target: Shape) -> int:
    """The axis of the target that the first one of a block, or the first part of it, becomes; −1 if none does."""
    split = layout.split or block
    before = [split[axis] for axis in layout.axes[: layout.axes.index(0)] if split[axis] > 1]
    wide = [axis for axis, n in enumerate(target) if n > 1]
    if [target[axis] for axis in wide[: len(before) + 1]] != [*before, split[0]]:
        return -1
    return wide[len(before)]


@dataclass(frozen=True, eq=False)
class _Question:
    """What nothing but trying can tell of one or several pairs.

    Attributes:
        what: is asked.
        ways: by the number of a pair, the answers; the likeliest first, and as many for each.
        known: why the likeliest is the likeliest, if that is reason enough where nothing is tried.
    """

    what: str
    ways: Mapping[int, Sequence[_Way]]
    known: str = ""


_MEANT = {
    "kernel": "a kernel is (in, out) in flax",
    "w": "w is (in, out) in haiku",
}

# In which order haiku has the gates that PyTorch has as i f g o, and as r z n.
_HAIKU = {4: (0, 2, 1, 3), 3: (1, 0, 2)}


class _Laid:
    """The layouts of all pairs: what decides them, and what is left open.

    Attributes:
        ways: of each pair; the likeliest, where several are.
        why: of each pair.
        questions: what is left open.
    """

    def __init__(self, pairs: _Pairs, judge: _Judge) -> None:
        self.pairs, self.judge = pairs, judge
        self.ways: dict[int, _Way] = {}
        self.why: dict[int, str] = defaultdict(str)
        self.questions: list[_Question] = []
        self._cells = _cells(pairs)
        self._options = [_options(a, b) for a, b in pairs]
        waiting = [number for number in range(len(pairs)) if not self._equal(number)]
        self._kinds = self._established()
        unknown: dict[str, list[int]] = defaultdict(list)
        for number in waiting:
            if not self._decided(number):
                unknown[pairs[number][1].name.last].append(number)
        for last, numbers in unknown.items():
            self._ask_together(last, numbers)
        self._ask_of_gates(waiting)
        self._ask_of_images(waiting)

    def _equal(self, number: int) -> bool:
        """Let equal values decide."""
        a, b = self.pairs[number]
        if a.values is None or b.values is None or a.entries is None or a.entries != b.entries:
            return False
        layouts = list(dict.fromkeys((*self._options[number], *_layouts(a.shape, b.shape))))
        ways = [_Way(layout) for layout in layouts]
        gates = self._cells.get(a.leaf, 0)
        for layout in layouts:
            if gates and _first_axis(layout, a.shape, b.shape) >= 0:
                ways += [
                    _Way(layout, order) for order in permutations(range(gates)) if order != (*sorted(order),)
                ]
        ways += [_Way(image) for channels in range(2, a.shape[-1]) for image in _images(a, b, channels)]
        equal = next((way for way in ways if way.equates(a.values, b.values)), None)
        if equal is None:
            return False
        self.ways[number], self.why[number] = equal, "values agree"
        return True

    def _established(self) -> dict[str, frozenset[str]]:
        """The conventions that all weights fit which share a word for their role; and all weights, under nothing."""
        kinds: dict[str, frozenset[str]] = defaultdict(lambda: frozenset(_conventions(2)))
        for number, (a, b) in enumerate(self.pairs):
            options = [self.ways[number].layout] if number in self.ways else self._options[number]
            fits = frozenset(kind for layout in options for kind in layout.kinds)
            votes = a.name.role in {"weight", ""} and sum(n > 1 for n in a.shape) > 1 and bool(fits)
            if votes and not self.judge.table(a, b) and not fits.isdisjoint({AS_IT_IS, IN_OUT_LAST}):
                for group in {b.name.last, ""}:
                    kinds[group] &= fits
        return kinds

    def _decided(self, number: int) -> bool:
        """Let the shapes, a convention or the names decide; where none may, ask for this pair alone."""
        a, b = self.pairs[number]
        options, last = self._options[number], b.name.last
        if len(options) == 1:
            self.ways[number] = _Way(options[0])
            return True
        merged = sum(n > 1 for n in b.shape) < sum(n > 1 for n in a.shape)
        if merged or any(layout.flip for layout in options):
            self._ask_alone(number)
            return True
        as_it_is = frozenset({AS_IT_IS})
        if self.judge.table(a, b):
            return self._take(number, as_it_is, "tables are as they are")
        if not last and a.shape == b.shape and a.name.words == b.name.words:
            return self._take(number, as_it_is, "same name and shape")
        meant = frozenset({self.judge.meant(a, b)})
        return (
            self._take(number, self._kinds[last], f"convention of the other {last or 'weight'}s")
            or self._take(number, meant, _MEANT.get(last, "same name and shape"))
            or self._take(number, self._kinds[""], "convention of the other weights")
        )

    def _take(self, number: int, kinds: frozenset[str], why: str) -> bool:
        """Take the layout that is in keeping with a convention, if exactly one is."""
        fitting = [layout for layout in self._options[number] if layout.kinds & kinds]
        if len(fitting) == 1:
            self.ways[number], self.why[number] = _Way(fitting[0]), why
        return len(fitting) == 1

    def _ask_together(self, last: str, numbers: Sequence[int]) -> None:
        """Ask once for all of a name, so that one that is used otherwise than the others stays so."""
        order = [IN_OUT_LAST, AS_IT_IS, *_conventions(2)]
        if not any(self.pairs[n][0].name.role == "weight" for n in numbers):
            order.insert(0, AS_IT_IS)
        answers = []
        for kind in dict.fromkeys(order):
            chosen = [o for n in numbers for o in self._options[n] if kind in o.kinds][: len(numbers)]
            fits = all(any(kind in o.kinds for o in self._options[n]) for n in numbers)
            if fits and chosen not in answers:
                answers.append([next(o for o in self._options[n] if kind in o.kinds) for n in numbers])
        if not answers:
            for number in numbers:
                self._ask_alone(number)
            return
        ways = {n: [_Way(answer[k]) for answer in answers] for k, n in enumerate(numbers)}
        known = _MEANT.get(last, "")
        what = (
            f"the layout of {last}"
            if last
            else f"the layout of {self.pairs[numbers[0]][1].leaf} and its like"
        )
        self._pose(_Question(what, ways, known))

    def _ask_alone(self, number: int) -> None:
        """Ask for one pair, whose layout no convention tells."""
        liked = self._kinds[self.pairs[number][1].name.last]
        if len(liked) == len(_conventions(2)):
            liked = self._kinds[""]
        options = self._options[number]
        if (
            IN_OUT_LAST in liked and AS_IT_IS not in liked
        ):  # the axes of the image come first, for this one too
            options = [o for o in options if o.kinds & {IN_OUT_LAST, OUT_IN_LAST, "out last"}] or options
        options = sorted(
            options, key=lambda o: (not o.kinds & liked, IN_OUT_LAST in liked and IN_OUT_LAST not in o.kinds)
        )
        self._pose(
            _Question(f"the layout of {self.pairs[number][1].leaf}", {number: [_Way(o) for o in options]})
        )

    def _pose(self, question: _Question) -> None:
        for number, ways in question.ways.items():
            self.ways[number] = ways[0]
        if all(len(ways) > 1 for ways in question.ways.values()):
            self.questions.append(question)

    def _ask_of_gates(self, waiting: Sequence[int]) -> None:
        """Ask for the order of the gates of fused cells, unless the names tell it."""
        asked: dict[int, list[_Way]] = {}
        for number in waiting:
            a, b = self.pairs[number]
            count, layout = self._cells.get(a.leaf, 0), self.ways[number].layout
            if not count or _first_axis(layout, a.shape, b.shape) < 0:
                continue
            if re.search(r"(^|[./])(lstm|gru)(_\d+)?(/linear)?\.(w|b|w_i|w_h)$", b.leaf):
                self.ways[number] = _Way(layout, _HAIKU[count])
                self.why[number] = _and(self.why[number], "gates in haiku's order")
            elif b.name.last == "kernel" or a.name.words[-1:] != b.name.words[-1:]:
                asked[number] = [_Way(layout), _Way(layout, _HAIKU[count])]
        if asked:
            self._pose(_Question("the order of the gates", asked))

    def _ask_of_images(self, waiting: Sequence[int]) -> None:
        """Ask whether images are flattened with their channels last, where convolutions have them there."""
        known = set(waiting)
        before: _Part | None = None
        for number in sorted(range(len(self.pairs)), key=lambda n: _time(self.pairs[n][0])):
            a, b = self.pairs[number]
            kinds = self.ways[number].layout.kinds
            rank = sum(n > 1 for n in a.shape)
            if rank > 2:  # noqa: PLR2004  # out, in and at least one axis of an image
                before = a if IN_OUT_LAST in kinds else None
            elif rank == 2:  # noqa: PLR2004
                images = _images(a, b, before.shape[0]) if before and number in known else []
                if images and IN_OUT_LAST in kinds:
                    ways = [self.ways[number], *map(_Way, images)]
                    self._pose(
                        _Question(
                            f"the order in which the image before {b.leaf} is flattened", {number: ways}
                        )
                    )
                before = None


def _options(a: _Part, b: _Part) -> list[_Layout]:
    """The layouts of a pair that are worth a thought; a transposed convolution's run backwards, or not."""
    found = [layout for layout in _layouts(a.shape, b.shape) if layout.plain]
    words = (*a.name.words, *b.name.words)
    rank, said = len(a.shape), "transpose" in words
    if rank != len(b.shape) or rank < 3 or not (said or rank > 3 or "conv" in words):  # noqa: PLR2004  # convolutions
        return found
    usual = [layout for layout in found if layout.kinds & {AS_IT_IS, IN_OUT_LAST}]
    if usual and not said:
        return [
            layout for layout in found if not layout.kinds & {OUT_IN_LAST, IN_OUT_FIRST} or layout in usual
        ]
    made = []
    for layout in found:
        flip = tuple(k for k, axis in enumerate(layout.axes) if axis > 1 and a.shape[axis] > 1)
        turned = layout.kinds & {OUT_IN_LAST, IN_OUT_FIRST} and layout not in usual
        made += [replace(layout, flip=flip), layout] if turned else [layout, replace(layout, flip=flip)]
    return list(dict.fromkeys(made))


def _images(a: _Part, b: _Part, channels: int) -> list[_Layout]:
    """The layouts of a weight whose rows are images of so many channels, that these put last."""
    if (
        len(a.shape) != 2
        or len(b.shape) != 2
        or a.shape[1] % channels
        or a.shape[1] == channels
        or b.shape != a.shape[::-1]
    ):  # noqa: PLR2004
        return []
    split = (a.shape[0], channels, a.shape[1] // channels)
    return [_Layout((2, 1, 0), split, frozenset({IN_OUT_LAST}))]


def _cells(pairs: _Pairs) -> dict[str, int]:
    """How many gates the parameters of PyTorch's recurrent modules hold."""
    cells: dict[str, int] = {}
    for a, _ in pairs:
        if found := re.search(r"weight_hh(_l\d+)?(_reverse)?$", a.leaf):
            gates = a.shape[0] // a.shape[1] if len(a.shape) == 2 and not a.cut else 0  # noqa: PLR2004  # (gates × hidden, hidden)
            if gates in _HAIKU:
                start = a.leaf[: found.start()]
                cells |= {
                    f"{start}{kind}{found.group()[9:]}": gates
                    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                }
    return cells


def _time(part: _Part) -> tuple[float, ...]:
    return part.listed if part.used is None else part.used


def _and(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)


# ---- what is left to try


@dataclass(frozen=True, eq=False)
class _Draft:
    """Pairs, and answers to questions, by what is asked."""

    pairs: tuple[tuple[_Part, _Part], ...]
    answers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Doubt:
    """Pairs that can be exchanged, for all that is known.

    Attributes:
        what: is doubted.
        groups: of numbers of pairs, the n-th of which belong together.
        jointly: whether they are exchanged in all groups or in none.
    """

    what: str
    groups: tuple[tuple[int, ...], ...]
    jointly: bool = False

    def moves(self) -> Iterator[dict[int, int]]:
        """The ways to exchange two, one after the other, as which pair's counterpart each pair gets."""
        for first, second in combinations(range(len(self.groups[0])), 2):
            alone = () if self.jointly else tuple((group,) for group in self.groups)
            for groups in dict.fromkeys((self.groups, *alone)):
                yield {g[x]: g[y] for g in groups for x, y in ((first, second), (second, first))}


class _Told:
    """What each pair rests on.

    Attributes:
        why: of each pair.
        doubts: what can be exchanged, for all that is known.
    """

    def __init__(self, assignment: _Assignment, judge: _Judge) -> None:
        self.pairs, self.judge = assignment.pairs, judge
        self.why: dict[int, str] = {}
        rivals = self._rivals(range(len(self.pairs)), None)
        left = rivals
        for _ in range(_ROUNDS):
            beside = _beside([pair for number, pair in enumerate(self.pairs) if not left[number]])
            left = self._rivals([number for number, others in left.items() if others], beside)
        for number in range(len(self.pairs)):
            self.why[number] = self._reason(number, rivals[number], left[number])
        self.doubts = [*self._parts(), *self._exchangeable(left)]

    def _rivals(
        self, numbers: Iterable[int], beside: Callable[[_Part, _Part], float] | None
    ) -> dict[int, list[int]]:
        """By pair, those with which it could exchange its counterpart, and nothing but their places would say no."""
        found: dict[int, list[int]] = {number: [] for number in range(len(self.pairs))}
        sizes: dict[tuple[int, str], list[int]] = defaultdict(list)
        for number in numbers:
            sizes[self.pairs[number][0].size, self.pairs[number][0].kind].append(number)

        def cost(one: int, other: int) -> float:
            a, b = self.pairs[one][0], self.pairs[other][1]
            return self.judge.cost(a, b) + (_OTHER_MODULE * (1 - beside(a, b)) if beside else 0.0)

        for alike in sizes.values():
            for one, other in combinations(alike, 2):
                if cost(one, other) + cost(other, one) <= cost(one, one) + cost(other, other) + _TIE:
                    found[one].append(other)
                    found[other].append(one)
        return found

    def _reason(self, number: int, rivals: Sequence[int], left: Sequence[int]) -> str:
        a, b = self.pairs[number]
        if a.entries is not None and a.entries == b.entries:
            return "values agree"
        if left:
            if self.judge.ordered and not (a.cut or b.cut) and a.used is not None and b.used is not None:
                return "order of first use"
            names = dict.fromkeys(self.pairs[other][1].leaf for other in left[:3])
            return f"guessed: by place; {' or '.join(names)} would fit as well"
        if rivals:
            return "module"
        fits = [
            other for other in self.pairs if other[0].size == a.size and self.judge.cost(a, other[1]) < _NEVER
        ]
        return "name" if len(fits) > 1 else "only shape that fits"

    def _exchangeable(self, left: Mapping[int, Sequence[int]]) -> Iterator[_Doubt]:
        """Groups of pairs that only their places tell apart; those that belong to the same modules at once."""
        groups: list[tuple[int, ...]] = []
        seen: set[int] = set()
        for number in left:
            group, waiting = set(), [number] if left[number] and number not in seen else []
            while waiting:
                here = waiting.pop()
                if here not in group and self.why[here].startswith("guessed: by place"):
                    group.add(here)
                    waiting += left[here]
            seen |= group
            if len(group) > 1:
                groups.append(tuple(sorted(group)))
        while groups:
            first, homes = groups[0], self._homes(groups[0])
            same = [
                g for g in groups[1:] if len(g) == len(first) and all(map(set.__and__, self._homes(g), homes))
            ]
            groups = [group for group in groups[1:] if group not in same]
            yield _Doubt(f"which is {self.pairs[first[0]][1].leaf}", (first, *same))

    def _homes(self, group: Sequence[int]) -> list[set[tuple[int, tuple[str, ...]]]]:
        """The modules of the pairs of a group, on both sides."""
        return [
            {(side, part.name.path) for side, part in enumerate(self.pairs[number]) if part.name.path}
            for number in group
        ]

    def _parts(self) -> Iterator[_Doubt]:
        """Parameters that are fused, in an order that nothing tells; all of a name have the same."""
        families: dict[tuple[int, str], dict[str, list[tuple[int, int]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for number, pair in enumerate(self.pairs):
            for side, part in enumerate(pair):
                if part.cut and part.cut[0]:
                    families[side, part.cut[0]][part.leaf].append((part.cut[1], number))
        for (_, name), leaves in families.items():
            groups = [tuple(number for _, number in sorted(found)) for found in leaves.values()]
            equal = [
                g for g in groups if len({self.pairs[n][0].size for n in g}) == 1 and len(g) == len(groups[0])
            ]
            if equal and len(groups[0]) > 1:
                for number in (n for group in equal for n in group):
                    self.why[number] = f"guessed: the order of the parts of {name or 'what is fused'}"
                yield _Doubt(f"the order of the parts of {name}", tuple(equal), jointly=True)


class _Search:
    """Tries what is open, as rarely as it can: each time both sides run."""

    def __init__(self, build: Callable[[_Draft], Map], judge: _Judge, score: Score) -> None:
        self.build, self.judge, self.score = build, judge, score
        self.left = MOST_SCORES
        self.verdicts: dict[str, tuple[float, float]] = {}

    def best(self, draft: _Draft, doubts: Sequence[_Doubt]) -> _Draft:
        """The draft that scores best; of those that score the same, the likeliest."""
        if not doubts and not _Laid(list(draft.pairs), self.judge).questions:
            return draft
        points = self._try(draft)
        for _ in range(2):  # what was settled later may let what came before be told
            start = points
            for what, moves in self._steps(draft, doubts):
                draft, points = self._step(draft, points, what, moves)
            if points == start:
                break
        else:
            return draft
        return self._all_at_once(draft, points, doubts) if points == start else draft

    def _steps(
        self, draft: _Draft, doubts: Sequence[_Doubt]
    ) -> list[tuple[str, list[Callable[[_Draft], _Draft]]]]:
        """What is open, in the order in which it is used."""
        steps: list[tuple[tuple[float, ...], str, list[Callable[[_Draft], _Draft]]]] = []
        for question in _Laid(list(draft.pairs), self.judge).questions:
            time = min(_time(draft.pairs[number][0]) for number in question.ways)
            count = len(next(iter(question.ways.values())))
            now = draft.answers.get(question.what, 0)
            answers = [partial(_answered, what=question.what, answer=k) for k in range(count) if k != now]
            steps.append((time, question.what, answers))
        for doubt in doubts:
            time = min(_time(draft.pairs[number][0]) for group in doubt.groups for number in group)
            steps.append((time, doubt.what, [partial(_moved, move=move) for move in doubt.moves()]))
        return [(what, moves) for _, what, moves in sorted(steps, key=lambda step: step[0])]

    def _step(
        self, draft: _Draft, points: float, what: str, moves: Sequence[Callable[[_Draft], _Draft]]
    ) -> tuple[_Draft, float]:
        others = []
        for move in moves:
            if self.left <= 0:
                return draft, points
            other = move(draft)
            reached = self._try(other)
            if reached > points:
                draft, points, reached = other, reached, points
            others.append(reached)
        if others and max(others) < points or what not in self.verdicts:
            self.verdicts[what] = (points, max(others, default=points))
        return draft, points

    def _all_at_once(self, draft: _Draft, points: float, doubts: Sequence[_Doubt]) -> _Draft:
        """Where no single change tells anything, two may: of each two questions, every pair of answers."""
        steps = self._steps(draft, doubts)
        for (one, first), (other, second) in combinations(steps, 2):
            for a, b in product(first, second):
                if self.left <= 0:
                    return draft
                both = b(a(draft))
                reached = self._try(both)
                if reached > points:
                    self.verdicts[one] = self.verdicts[other] = (reached, points)
                    return self.best(both, doubts)
        return draft

    def _try(self, draft: _Draft) -> float:
        self.left -= 1
        return self.score(self.build(draft))


def _answered(draft: _Draft, what: str, answer: int) -> _Draft:
    return replace(draft, answers={**draft.answers, what: answer})


def _moved(draft: _Draft, move: Mapping[int, int]) -> _Draft:
    pairs = list(draft.pairs)
    for number, other in move.items():
        pairs[number] = (draft.pairs[number][0], draft.pairs[other][1])
    return replace(draft, pairs=tuple(pairs))


# ---- the map


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
        corrections: imperative names with the functional paths that they belong to, None for none; or a map, whose
            pieces are taken as they are.
        order: by side, names in the order in which the computation first uses them; some may be missing.
        tied: groups of imperative names that share their storage; names that are no keys of ``imperative`` stand
            for the first of their group that is one.
        values: whether the values of both sides mean something: where a layout makes two arrays equal, it is theirs.
        score: of a map, the higher the better, such as how many intermediate values agree when both sides run from
            parameters that it converts. Asked where nothing else decides, no more than ``MOST_SCORES`` times.

    Returns:
        The map, with everything that is left over and the evidence of every piece. Where two pairs or layouts are
        equally likely, the evidence says that it is ``guessed``.

    Raises:
        MapError: a correction names what is not there, or joins what no layout joins.
    """
    return _Matching(imperative, functional, corrections, order or {}, tied, values).map(score)


class _Matching:
    """What is known of both sides before anything is paired."""

    def __init__(
        self,
        imperative: Arrays,
        functional: Arrays,
        corrections: Mapping[str, str | None] | Map | None,
        order: Mapping[str, Sequence[str]],
        tied: Sequence[Sequence[str]],
        values: bool,
    ) -> None:
        self.arrays: dict[Side, dict[str, np.ndarray]] = {
            "imperative": dict(imperative),
            "functional": dict(functional),
        }
        self.shapes: dict[Side, dict[str, Shape]] = {
            side: {name: array.shape for name, array in arrays.items()}
            for side, arrays in self.arrays.items()
        }
        self.order, self.values = order, values
        self.given = corrections if isinstance(corrections, Map) else None
        self.pins = {} if corrections is None or isinstance(corrections, Map) else dict(corrections)
        self._check_corrections()
        self.stands_for, self.twins = self._tie(tied)
        self.aside = {side: self._aside(side) for side in SIDES}

    def map(self, score: Score | None) -> Map:
        """Pair, lay out, and try what is open."""
        parts = {side: self._parts(side) for side in SIDES}
        judge = self._judge(parts)
        _, assignment = _cut(parts, judge)
        told = _Told(assignment, judge)
        self._check_pins(assignment)
        draft = _Draft(tuple(assignment.pairs))
        verdicts: dict[str, tuple[float, float]] = {}
        if score is not None:
            search = _Search(lambda d: self._map(d, judge, told, assignment, {}), judge, score)
            draft, verdicts = search.best(draft, told.doubts), search.verdicts
        return self._map(draft, judge, told, assignment, verdicts)

    def _check_corrections(self) -> None:
        names = [(self.shapes["imperative"], "imperative", name) for name in self.pins]
        names += [
            (self.shapes["functional"], "functional", path) for path in self.pins.values() if path is not None
        ]
        if self.given is not None:
            for side in SIDES:
                held = {piece.name(side) for piece in self.given.pieces}
                names += [(self.shapes[side], side, name) for name in sorted(held)]
                for name in held & self.shapes[side].keys():
                    if self.given.shapes[side][name] != self.shapes[side][name]:
                        raise MapError(
                            f"the corrections take the {side} array {name!r} to be {self.given.shapes[side][name]}, and "
                            f"it is {self.shapes[side][name]}."
                        )
        for known, side, name in names:
            if name not in known:
                raise MapError(
                    f"the corrections name an unknown {side} array {name!r}{nearest(name, known)}."
                )

    def _tie(self, tied: Sequence[Sequence[str]]) -> tuple[dict[str, str], list[list[str]]]:
        """Absent names with the present ones that they stand for, and the groups of present names."""
        stands_for: dict[str, str] = {}
        groups = []
        for group in tied:
            present = [name for name in group if name in self.arrays["imperative"]]
            if present:
                groups.append(present)
                stands_for |= {name: present[0] for name in group if name not in self.arrays["imperative"]}
        return stands_for, groups

    def _aside(self, side: Side) -> dict[str, str]:
        """What is not matched at all, and why."""
        aside = {}
        taken = {piece.name(side) for piece in self.given.pieces} if self.given is not None else set()
        for name, array in self.arrays[side].items():
            if name in taken:
                continue
            if self.pins.get(name, "") is None and side == "imperative":
                aside[name] = "correction"
            elif array.dtype.kind in "iu" and _COUNTERS.search(name):
                aside[name] = "an integer counter"
            elif array.dtype == np.uint32 and re.search(r"(key|rng)", name.lower()):
                aside[name] = "a random key"
        return aside

    def _parts(self, side: Side) -> list[_Part]:
        taken = {piece.name(side) for piece in self.given.pieces} if self.given is not None else set()
        arrays = dict(self.arrays[side])
        if side == "imperative":
            arrays |= {name: arrays[present] for name, present in self.stands_for.items()}
        names = _read(arrays)
        used = {name: (float(place),) for place, name in reversed(list(enumerate(self.order.get(side, ()))))}
        places = (
            _listed(arrays) if side == "functional" else {name: (float(n),) for n, name in enumerate(arrays)}
        )
        return [
            _Part(
                leaf=name,
                block=tuple((0, n) for n in array.shape),
                name=names[name],
                kind={"i": "i", "u": "i", "b": "i", "c": "c"}.get(array.dtype.kind, "f"),
                used=used.get(name),
                listed=places[name],
                values=array if self.values else None,
            )
            for name, array in arrays.items()
            if name not in self.aside[side] and name not in taken
        ]

    def _judge(self, parts: Mapping[Side, Sequence[_Part]]) -> _Judge:
        only: dict[Side, dict[str, frozenset[str]]] = {side: {} for side in SIDES}
        for name, path in self.pins.items():
            if path is None:
                continue
            sizes = self.arrays["imperative"][name].size, self.arrays["functional"][path].size
            if sizes[0] <= sizes[1]:
                only["imperative"][name] = frozenset({path})
            if sizes[1] <= sizes[0]:
                only["functional"][path] = only["functional"].get(path, frozenset()) | {name}
        return _Judge(
            weights=_telling([*parts["imperative"], *parts["functional"]]),
            ordered=all(any(part.used is not None for part in parts[side]) for side in SIDES),
            only=only,
            biased={
                side: frozenset(p.name.path for p in parts[side] if p.name.role == "bias") for side in SIDES
            },
        )

    def _check_pins(self, assignment: _Assignment) -> None:
        found = {(a.leaf, b.leaf) for a, b in assignment.pairs}
        for name, path in self.pins.items():
            if path is not None and (name, path) not in found:
                raise MapError(
                    f"the corrections join {name!r} {self.shapes['imperative'][name]} with {path!r} "
                    f"{self.shapes['functional'][path]}, and no layout takes the one to the other."
                )

    def _map(
        self,
        draft: _Draft,
        judge: _Judge,
        told: _Told,
        assignment: _Assignment,
        verdicts: Mapping[str, tuple[float, float]],
    ) -> Map:
        laid = _Laid(list(draft.pairs), judge)
        evidence = self._evidence(draft, laid, told, verdicts)
        ways = dict(laid.ways)
        for question in laid.questions:
            for number, answers in question.ways.items():
                ways[number] = answers[draft.answers.get(question.what, 0)]
        pieces = list(self.given.pieces) if self.given is not None else []
        pieces = [msgspec.structs.replace(piece, evidence="correction") for piece in pieces]
        for number, (a, b) in enumerate(draft.pairs):
            pieces += self._pieces(a, b, ways[number], evidence[number])
        tied = {side: [*self.given.tied[side]] if self.given is not None else [] for side in SIDES}
        pieces += self._copies(pieces, tied)
        return Map(
            shapes=self.shapes,
            pieces=tuple(pieces),
            left_over={side: tuple(self._left_over(side, pieces, assignment)) for side in SIDES},
            tied={side: tuple(dict.fromkeys(tied[side])) for side in SIDES},
        )

    def _evidence(
        self, draft: _Draft, laid: _Laid, told: _Told, verdicts: Mapping[str, tuple[float, float]]
    ) -> list[str]:
        """What each pair rests on."""
        said = [
            _and("correction" if self.pins.get(a.leaf) == b.leaf else told.why[number], laid.why[number])
            for number, (a, b) in enumerate(draft.pairs)
        ]
        for doubt in told.doubts:
            for number in (n for group in doubt.groups for n in group):
                said[number] = _and(
                    _verdict(verdicts.get(doubt.what), "", told.why[number]), laid.why[number]
                )
        for question in laid.questions:
            for number in question.ways:
                told_by = _verdict(verdicts.get(question.what), question.known, f"guessed: {question.what}")
                said[number] = _and(said[number], told_by)
        return said

    def _pieces(self, a: _Part, b: _Part, way: _Way, evidence: str) -> Iterator[Piece]:
        for here, there, layout in way.blocks(a.shape, b.shape):
            name = self.stands_for.get(a.leaf, a.leaf)
            blocks = [_within(block, part.block) for block, part in ((here, a), (there, b))]
            whole = [
                tuple((0, n) for n in self.shapes[s][leaf])
                for s, leaf in zip(SIDES, (name, b.leaf), strict=True)
            ]
            yield Piece(
                imperative=name,
                functional=b.leaf,
                axes=layout.axes,
                split=layout.split,
                flip=layout.flip,
                imperative_block=None if blocks[0] == whole[0] else blocks[0],
                functional_block=None if blocks[1] == whole[1] else blocks[1],
                evidence=evidence,
            )

    def _copies(self, pieces: Sequence[Piece], tied: Mapping[Side, list[str]]) -> list[Piece]:
        """Pieces for names that share the storage of one that has been paired; what is tied is noted in ``tied``."""
        copies: list[Piece] = []
        held = {piece.imperative for piece in pieces}
        for group in self.twins:
            paired = next((name for name in group if name in held), None)
            for name in group if paired else ():
                if name not in held and name not in self.aside["imperative"]:
                    mine = [piece for piece in pieces if piece.imperative == paired]
                    copies += [
                        msgspec.structs.replace(p, imperative=name, evidence=f"tied to {paired}")
                        for p in mine
                    ]
                    tied["functional"] += [piece.functional for piece in mine]
        for present in set(self.stands_for.values()):
            if len({piece.functional for piece in pieces if piece.imperative == present}) > 1:
                tied["imperative"].append(present)
        return copies

    def _left_over(self, side: Side, pieces: Sequence[Piece], assignment: _Assignment) -> Iterator[Leftover]:
        held = {piece.name(side) for piece in pieces}
        alone: dict[str, list[Block]] = defaultdict(list)
        for part in assignment.alone[side]:
            alone[part.leaf].append(part.block)
        given = {entry.name: entry for entry in self.given.left_over[side]} if self.given is not None else {}
        for name in self.shapes[side]:
            if name not in held:
                reason = self.aside[side].get(name)
                zero = reason is None and side == "imperative" and self._added(name, held)
                yield Leftover(name, reason or (_ADDED if zero else "no counterpart"), None, zero)
            elif name in given:
                yield given[name]
            else:
                for block in _merged(alone[name]):
                    zero = side == "imperative" and self._added(name, held)
                    yield Leftover(name, _ADDED if zero else "no counterpart", block, zero)

    def _added(self, name: str, held: Collection[str]) -> bool:
        """Whether a bias is added to another one, which has a counterpart."""
        found = re.search(r"bias_(ih|hh)((_l\d+)?(_reverse)?)$", name)
        if not found:
            return False
        other = f"{name[: found.start()]}bias_{'hh' if found[1] == 'ih' else 'ih'}{found[2]}"
        return other in held


_ADDED = "added to a bias that has a counterpart: the two sides can agree only where this is zero"


def _verdict(points: tuple[float, float] | None, known: str, guess: str) -> str:
    """What trying told: that the best scores more than the next best, or that it does not."""
    if points is None:
        return known or guess
    best, other = points
    if best > other:
        return f"score {best:g}, otherwise {other:g}"
    return f"{known or guess}; others score {other:g} too"


def _within(block: Block, outer: Block) -> Block:
    """A block of a block, as one of the whole."""
    return tuple(
        (first + start, first + stop) for (start, stop), (first, _) in zip(block, outer, strict=True)
    )


def _merged(blocks: Sequence[Block]) -> list[Block]:
    """The same blocks, neighbours as one."""
    merged: list[Block] = []
    for block in sorted(blocks):
        if merged:
            last = merged[-1]
            differ = [axis for axis, (a, b) in enumerate(zip(last, block, strict=True)) if a != b]
            if len(differ) == 1 and last[differ[0]][1] == block[differ[0]][0]:
                axis = differ[0]
                merged[-1] = (*last[:axis], (last[axis][0], block[axis][1]), *last[axis + 1 :])
                continue
        merged.append(block)
    return merged


def _listed(names: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Places in which ``Dense_10`` stands after ``Dense_2``, as what sorts the keys of a tree does not have it."""
    first: dict[str, int] = {}
    keys = {}
    for place, name in enumerate(names):
        key: list[float] = []
        stem = ""
        for text, number in re.findall(r"(\D+)|(\d+)", name):
            stem += text or "#"
            key.append(int(number) if number else first.setdefault(stem, place))
        keys[name] = key
    return {name: (float(place),) for place, name in enumerate(sorted(keys, key=keys.__getitem__))}
