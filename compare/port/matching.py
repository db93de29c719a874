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
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache, cached_property, partial
from itertools import chain, combinations, permutations, product

import msgspec
import numpy as np
from scipy.optimize import linear_sum_assignment

from compare.port.mapping import SIDES, Block, Leftover, Map, MapError, Piece, Shape, Side, nearest

Arrays = Mapping[str, np.ndarray]
Score = Callable[[Map], float]

#: How often a map is scored at most: each time, both sides run.
MOST_SCORES = 60

# What speaks against a pair. Only the order of these numbers is meant: a known other role outweighs names,
# and names outweigh modules. Numbers are a part of the name where the words are the same, but not where
# flax has counted. An order of use outweighs what speaks less than _WEAK; where parameters are listed, which
# may be by alphabet, only breaks ties.
_OTHER_ROLE = 3.0
_OTHER_NAME = 2.0
_OTHER_NUMBERS = 2.0
_VECTOR_FOR_MATRIX = 2.0
_OTHER_USE = 1.6
_OTHER_LAYOUT = 1.0
_OTHER_MODULE = 1.0
_WEAK = 1.0
_NO_ROLE = 0.4
_OTHER_COUNT = 0.4
_OTHER_RANK = 0.3
_OTHER_PLACE = 0.15
_NEVER = 1e6
_EQUAL_VALUES = 50.0  # outweighs all of the above together
_TIE = 1e-9  # by which sums of a few of them may be rounded

_ROUNDS = 3  # the first pairs decide what the later ones are beside
_SURE_VOTES = 4  # a pair without an alternative says more of its module than several with one


def _meanings(lines: str) -> dict[str, tuple[str, ...]]:
    """By word, what it means: a line for each meaning, of one word or of several joined by +."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines.strip().splitlines():
        meaning, words = line.split(":")
        found |= dict.fromkeys(words.split(), tuple(meaning.strip().split("+")))
    return found


_ROLES = {
    word: role
    for word, (role,) in _meanings(
        """
        weight: weight kernel scale gamma gain embedding embeddings table matrix w g
        bias: bias beta offset shift b
        mean: mean avg
        var: var variance
        """
    ).items()
}

_SAME = _meanings(
    """
    linear: linear dense fc lin
    conv: conv convolution
    norm: norm norms normalization normalisation normalise
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
    transpose: transpose transposed deconv
    class: cls class
    mean: mean avg average
    layer: layer layers
    block: block blocks
    """
)

_COUNTED = {"first": "1", "second": "2", "third": "3", "fourth": "4"}

# Words that every name may bear, and that tell nothing.
_NOISE = frozenset(
    {"module", "model", "net", "orig", "mod", "param", "ema", "running", "moving", "l", "w", "b"}
)

# What a tree of parameters begins with, in which the same modules stand again.
_COLLECTIONS = frozenset({"params", "batch_stats", "stats", "state", "states", "buffers", "variables"})

# Single letters that say something in a module in which no others stand.
_LETTERS = frozenset("wbugqkvoifrznhcx")

# What is looked up in.
_TABLES = frozenset({"embed", "position", "token"})

_GATES: tuple[dict[str, str], ...] = (
    {"i": "gate i", "f": "gate f", "g": "gate g", "c": "gate g", "j": "gate g", "o": "gate o"},
    {"r": "gate r", "z": "gate z", "u": "gate z", "n": "gate n", "h": "gate n", "a": "gate n", "c": "gate n"},
)

# The order in which known parts stand in what is fused.
_ORDERS = (
    ("q", "k", "v"),
    ("k", "v"),
    ("gate i", "gate f", "gate g", "gate o"),
    ("gate r", "gate z", "gate n"),
)

_COUNTER = re.compile(r"(num_batches_tracked|counter|count|steps?|iterations?)$")


@dataclass(frozen=True)
class _Name:
    """What a name says.

    Attributes:
        words: what its modules are called, in words that both sides share.
        numbers: its places among its siblings, the outermost first.
        role: ``weight``, ``bias``, ``mean``, ``var``, or nothing known.
        last: the word that says the role.
        path: its components, without that word.
        biased: whether a bias stands beside it.
        counted: whether flax has given the numbers, as in ``Dense_0``.
    """

    words: tuple[str, ...]
    numbers: tuple[int, ...]
    role: str
    last: str
    path: tuple[str, ...]
    biased: bool = False
    counted: bool = False

    @property
    def sure(self) -> bool:
        """Whether a word says the role, not only a letter."""
        return len(self.last) > 1


def _read(names: Iterable[str]) -> dict[str, _Name]:
    """What the names of one side say, each among the others."""
    split = {name: _components(name) for name in names}
    if all(len(c) > 1 and c[-1] == ("value",) for c in split.values()):  # nnx wraps every array
        split = {name: c[:-1] for name, c in split.items()}
    around = _Siblings(split.values())
    read = {name: around.name(c) for name, c in split.items()}
    biased = {name.path for name in read.values() if name.role == "bias"}
    return {
        key: replace(name, biased=name.path in biased, counted=_counted(key)) for key, name in read.items()
    }


def _counted(name: str) -> bool:
    """Whether all numbers are in such names as ``Dense_0``."""
    return len(re.findall(r"\d+", name)) == len(re.findall(r"\b[A-Z][A-Za-z]*_\d+\b", name))


_Components = tuple[tuple[str, ...], ...]


def _components(name: str) -> _Components:
    """The words of every component of a path."""
    name = re.sub(r"(?i)(multi_?head(ed)?_?)?(dot_?product_?)?attention", "Attention", name)
    name = re.sub(r"(?i)(conv|transpose|norm|pool)_?[123]_?d(?![a-z])", r"\1", name)
    word = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\dA-Za-z_]+")
    split = [found for part in re.split(r"\W+", name) if (found := word.findall(part))] or [[""]]
    parts = [
        tuple(chain.from_iterable(_letters_apart(word.lower(), last=part is split[-1]) for word in part))
        for part in split
    ]
    return tuple(parts[1:] if len(parts) > 1 and "_".join(parts[0]) in _COLLECTIONS else parts)


def _letters_apart(word: str, *, last: bool) -> tuple[str, ...]:
    """The letter of a role, and what follows it: ``wq`` is the weight of q; ``first`` is a number."""
    word = _COUNTED.get(word, word)
    found = re.fullmatch(rf"([{'wub' if last else 'w'}])([qkvoifgcrznhx]|qkv|kv|ih|hh)", word)
    return found.groups() if found and word != "bn" else (word,)


class _Siblings:
    """The names of one side: what stands beside a word says what the word means."""

    def __init__(self, names: Iterable[_Components]) -> None:
        self.following: dict[tuple[str, ...], set[str]] = defaultdict(set)
        self.numbers: dict[tuple[str, ...], set[int]] = defaultdict(set)
        letters: dict[_Components, set[str]] = defaultdict(set)
        for components in names:
            if len(components[-1][0]) == 1:
                letters[components[:-1]].add(components[-1][0])
            for before, bare, word in self._walk(components):
                self.following[before].add(word)
                if word.isdecimal():
                    self.numbers[bare].add(int(word))
        self.spelt = {module for module, found in letters.items() if not found <= _LETTERS}

    @staticmethod
    def _walk(components: _Components) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str]]:
        """Of every word: all that come before it, those of them that say no role, and the word."""
        before: tuple[str, ...] = ()
        bare: tuple[str, ...] = ()
        for number, part in enumerate(components):
            for word in part:
                yield before, bare, word
                before = (*before, word)
                if number < len(components) - 1 or word not in _ROLES:
                    bare = (*bare, word)

    def name(self, components: _Components) -> _Name:
        """What a name says."""
        last = components[-1]
        alphabet = components[:-1] in self.spelt and len(last[0]) == 1
        at, role = (0, "") if alphabet else _role(components)
        said = {sum(map(len, components[:-1])) + at} if role or alphabet else set()
        words: list[str] = []
        numbers: list[int] = []
        for place, (before, bare, word) in enumerate(self._walk(components)):
            if word.isdecimal():
                known = sorted(self.numbers[bare])
                numbers += [known.index(int(word))] if len(known) > 1 else []
            elif place not in said:
                words += self._meaning(word, self.following[before])
            elif word in {"embedding", "embeddings", "u"} and not alphabet:
                words += _SAME[word]
        rest = "_".join(word for place, word in enumerate(last) if not role or place != at)
        path = (*("_".join(part) for part in components[:-1]), rest)
        return _Name(
            words=tuple(word for word in words if word not in _NOISE),
            numbers=tuple(numbers),
            role=role,
            last=last[at] if role else "",
            path=path if rest else path[:-1],
        )

    @staticmethod
    def _meaning(word: str, siblings: Collection[str]) -> tuple[str, ...]:
        for gates in _GATES:
            if word in gates and _are_gates(siblings, gates):
                return (gates[word],)
            pairs = {sibling for sibling in siblings if re.fullmatch(r"[ixh].", sibling)}
            operands = {
                "in": {p[1] for p in pairs if p[0] != "h"},
                "hh": {p[1] for p in pairs if p[0] == "h"},
            }
            told = any(_are_gates(letters, gates) for letters in operands.values())
            if told and word in pairs and word[1] in gates:
                return ("hh" if word[0] == "h" else "in", gates[word[1]])
        return _SAME.get(word, (word,))


def _role(components: _Components) -> tuple[int, str]:
    """Where in the last component the role is said, and which it is; nothing if none is."""
    words = components[-1]
    if words[-1] in {"average", "hidden"} and len(components) > 1 and "ema" in components[-2]:  # haiku's
        kind = next((_ROLES[word] for word in components[-2] if _ROLES.get(word) in {"mean", "var"}), "")
        return len(words) - 1, kind if words[-1] == "average" else "hidden"
    places = [place for place in reversed(range(len(words))) if words[place] in {*_ROLES, "u"}]
    # Letters are the last resort.
    places.sort(key=lambda place: (len(words[place]) == 1, words[place] in "ug"))
    if not places or (words[places[0]] == "u" and len(words) == 1):
        return 0, ""
    return places[0], _ROLES.get(words[places[0]], "weight")


def _are_gates(letters: Collection[str], gates: Mapping[str, str]) -> bool:
    """Whether there is a letter for every gate."""
    return {gates[letter] for letter in letters if letter in gates} == set(gates.values())


@dataclass(frozen=True, eq=False)
class _Part:
    """A parameter, or a block of one that is matched by itself.

    Attributes:
        leaf: the parameter.
        block: of it.
        name: what the part is called.
        kind: of its numbers: those of another kind are no counterparts.
        used: when it is first used; None if that is not known.
        listed: where it stands in its tree.
        cut: of a part of what is fused: what that is called, if nothing tells the order of its parts, and the
            place among them.
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
        """Of the block."""
        return tuple(stop - start for start, stop in self.block)

    @cached_property
    def size(self) -> int:
        """How many entries it has."""
        return math.prod(self.shape)

    @property
    def rank(self) -> int:
        """How many axes it has along which there is more than one entry."""
        return sum(n > 1 for n in self.shape)

    @property
    def time(self) -> tuple[float, ...]:
        """Before what it comes."""
        return self.listed if self.used is None else self.used

    @cached_property
    def entries(self) -> bytes | None:
        """What its entries are, in whatever order; None if they are not known, or all the same."""
        if self.values is None or not self.size:
            return None
        wide = np.complex128 if self.values.dtype.kind == "c" else np.float64
        flat = np.sort(self.values.astype(wide), axis=None)
        return None if flat[0] == flat[-1] else flat.tobytes()

    @property
    def traits(self) -> tuple[Hashable, ...]:
        """All that is looked at where its numbers and its place are not."""
        return (
            _TABLES.intersection(self.name.words),
            self.name.role,
            self.name.last,
            self.name.biased,
            self.shape,
        )

    def fused(
        self, axis: int, sizes: Sequence[int], said: Sequence[tuple[str, ...]], *, known: bool
    ) -> "list[_Part]":
        """Cut it into what it is fused of.

        Args:
            axis: that is cut.
            sizes: of the parts along it.
            said: what each part is called besides.
            known: whether the parts are known to stand in this order.
        """
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
                cut=("" if known else re.sub(r"_?\d+", "", "/".join((*self.name.path, "parts"))), k),
            )
            for k, part in enumerate(self._slices(axis, sizes))
        ]

    def stacked(self, axis: int, used: float, listed: float) -> "list[_Part]":
        """Cut it into layers, that are used and listed one after the other, all from these places on."""
        return [
            replace(
                part,
                name=replace(self.name, numbers=(k, *self.name.numbers), path=(f"[{k}]", *self.name.path)),
                used=None if self.used is None else (used, k, *self.used),
                listed=(listed, k, *self.listed),
            )
            for k, part in enumerate(self._slices(axis, [1] * self.shape[axis]))
        ]

    def _slices(self, axis: int, sizes: Sequence[int]) -> "Iterator[_Part]":
        start = 0
        for size in sizes:
            base = self.block[axis][0] + start
            block = (*self.block[:axis], (base, base + size), *self.block[axis + 1 :])
            here = (*[slice(None)] * axis, slice(start, start + size))
            yield replace(self, block=block, values=None if self.values is None else self.values[here])
            start += size


_Pairs = Sequence[tuple[_Part, _Part]]


AS_IT_IS, IN_OUT_LAST = "as it is", "in and out last"
OUT_IN_LAST, IN_OUT_FIRST, OUT_LAST, IN_LAST = "out and in last", "in and out first", "out last", "in last"
_CONVENTIONS = (AS_IT_IS, IN_OUT_LAST, OUT_IN_LAST, IN_OUT_FIRST, OUT_LAST, IN_LAST)

# Of more axes than this, not every order is tried: no known weight has more.
_MOST_AXES = 6


@dataclass(frozen=True)
class _Layout:
    """A way to lay out one block as another.

    Attributes:
        axes, split, flip: of the piece.
        kinds: the conventions that it is in keeping with.
        plain: whether what is split or merged stays in its order, but for channels that are put last.
    """

    axes: tuple[int, ...]
    split: Shape | None
    kinds: frozenset[str]
    flip: tuple[int, ...] = ()
    plain: bool = True


def _kinds(order: Sequence[int], source: Shape) -> frozenset[str]:
    """The conventions for weights, whose first two axes are out and in, that an order of axes keeps to."""
    rest = range(2, len(source))
    axes = ((0, 1, *rest), (*rest, 1, 0), (*rest, 0, 1), (1, 0, *rest), (1, *rest, 0), (0, *rest, 1))
    wide = [[axis for axis in kind if axis < len(source) and source[axis] > 1] for kind in axes]
    return frozenset(name for name, kind in zip(_CONVENTIONS, wide, strict=True) if kind == list(order))


@cache
def _layouts(block: Shape, target: Shape) -> tuple[_Layout, ...]:
    """Every way to lay out a block as another, the most usual first; of no convention only if all are."""
    if math.prod(block) != math.prod(target):
        return ()
    if not math.prod(block):
        return (_Layout(tuple(range(len(block))), None, frozenset(_CONVENTIONS)),) if block == target else ()
    same = sorted(block) == sorted(target)
    source, goal = (shape if same else tuple(n for n in shape if n > 1) for shape in (block, target))
    if sorted(source) == sorted(goal):
        found = list(_turned(source, goal))
    elif len(goal) > len(source):
        found = list(_spread(source, goal))
    else:
        found = list(_gathered(source, goal))
    known = [layout for layout in found if layout.kinds] or found
    known = [replace(layout, split=None) if layout.split == block else layout for layout in known]
    return tuple(
        sorted(known, key=lambda one: (not one.plain, [kind not in one.kinds for kind in _CONVENTIONS]))
    )


def _turned(source: Shape, goal: Shape) -> Iterator[_Layout]:
    seen = set()
    for axes in _orders(range(len(source))):
        order = tuple(axis for axis in axes if source[axis] > 1)
        if tuple(source[axis] for axis in axes) == goal and order not in seen:
            seen.add(order)
            yield _Layout(axes, source, _kinds(order, source))


def _spread(source: Shape, goal: Shape) -> Iterator[_Layout]:
    """Axes of the source become several of the goal."""
    for owners in _owners(goal, source):
        held = [[j for j, owner in enumerate(owners) if owner == axis] for axis in range(len(source))]
        # The first axis may stand for parts that each are laid out by a convention.
        kinds = _kinds(_runs(owners), source) or _kinds(_runs(owners[1:]), source)
        for inner in product(*map(_orders, held)):
            memory = [j for axes in inner for j in axes]
            axes = tuple(memory.index(j) for j in range(len(goal)))
            plain = memory == [*chain.from_iterable(held)]
            yield _Layout(axes, tuple(goal[j] for j in memory), kinds, plain=plain)


def _gathered(source: Shape, goal: Shape) -> Iterator[_Layout]:
    """Axes of the goal are several of the source."""
    for owners in _owners(source, goal):
        held = [[j for j, owner in enumerate(owners) if owner == axis] for axis in range(len(goal))]
        for inner in product(*map(_orders, held)):
            order = tuple(j for axes in inner for j in axes)
            usual = all([*axes] in (h, [*h[1:], *h[:1]]) for axes, h in zip(inner, held, strict=True))
            yield _Layout(order, source, _kinds(order, source), plain=usual)


def _orders(axes: Sequence[int]) -> Iterable[tuple[int, ...]]:
    return permutations(axes) if len(axes) <= _MOST_AXES else [tuple(axes)]


def _runs(owners: Sequence[int]) -> list[int]:
    return [owner for j, owner in enumerate(owners) if j == 0 or owners[j - 1] != owner]


def _owners(fine: Shape, coarse: Shape) -> Iterator[tuple[int, ...]]:
    """Every way to give each fine axis to a coarse one, so that the products are right."""

    def given(left: Shape, owners: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(owners) == len(fine):
            yield owners
            return
        for owner, room in enumerate(left):
            rest, remainder = divmod(room, fine[len(owners)])
            if not remainder:
                yield from given((*left[:owner], rest, *left[owner + 1 :]), (*owners, owner))

    yield from given(coarse, ())


_MEANT = {
    "kernel": "a kernel is (in, out) in flax",
    "w": "w is (in, out) in haiku",
}

# Which imperative gate each of haiku's is, where PyTorch has them as i f g o, and as r z n.
_HAIKU = {4: (0, 2, 1, 3), 3: (1, 0, 2)}


def _is_table(a: _Part, b: _Part) -> bool:
    """Whether a pair is looked up in, or multiplied entry by entry, and so has no in and out."""
    said = _TABLES & {*a.name.words, *b.name.words}
    looked_up = said and not a.name.biased and not b.name.biased and b.name.last not in _MEANT
    return bool(looked_up or b.name.last in {"scale", "gamma", "gain", "g"}) and a.rank <= 2  # noqa: PLR2004  # rows


def _meant(a: _Part, b: _Part) -> str:
    """The convention that the names mean in the known libraries; empty if they mean none."""
    if _is_table(a, b):
        return AS_IT_IS
    if b.name.last in _MEANT:
        return IN_OUT_LAST
    return AS_IT_IS if b.name.last and b.name.last == a.name.last else ""


@dataclass(frozen=True, eq=False)
class _Judge:
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

    def costs(self, left: Sequence[_Part], right: Sequence[_Part]) -> np.ndarray:
        """Of every pair: ``(left, right)``; without their places and their modules."""
        cost = _outer(left, right, lambda part: part.traits, self._unlike)
        alike = _outer(left, right, lambda part: part.name.words, self._alike)
        counted = np.array([part.name.counted for part in right])
        numbers = np.where(counted, 0, alike) * _OTHER_NUMBERS + _OTHER_COUNT
        cost += _OTHER_NAME * (1 - alike)
        cost += numbers * _outer(left, right, lambda p: (p.name.numbers, p.name.counted), _numbers_apart)
        if any(self.only.values()):
            cost[~_outer(left, right, lambda part: part.leaf, self._allowed).astype(bool)] = _NEVER
        if any(part.entries is not None for part in left):
            cost -= _EQUAL_VALUES * _outer(left, right, lambda part: part.entries, _same_entries)
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

    def _alike(self, a: _Part, b: _Part) -> float:
        key = (a.name.words, b.name.words)
        if key not in self._seen:
            self._seen[key] = self.alike(*key)
        return self._seen[key]

    def _unlike(self, a: _Part, b: _Part) -> float:
        """What their roles and shapes say against a pair."""
        key = (a.traits, b.traits, self.strict)
        if key not in self._seen:
            role, rank = self._other_role(a.name, b.name), self._other_rank(a, b)
            if not _layouts(a.shape, b.shape) or max(role, rank) >= _NEVER:
                self._seen[key] = _NEVER
            else:
                meant = _meant(a, b)
                against = bool(meant) and not any(
                    meant in layout.kinds for layout in _layouts(a.shape, b.shape)
                )
                doubt = 0.5 if b.name.last == "w" else 1.0  # what is called w need not be haiku's
                self._seen[key] = role + rank + _OTHER_LAYOUT * doubt * against
        return self._seen[key]

    def _other_role(self, a: _Name, b: _Name) -> float:
        if a.role == b.role:
            return 0.0
        if a.role and b.role:
            return _NEVER if a.sure and b.sure else _OTHER_ROLE
        return _NO_ROLE

    def _other_rank(self, a: _Part, b: _Part) -> float:
        if a.rank == b.rank:
            return 0.0
        if 1 in {a.rank, b.rank} and not a.name.role == b.name.role == "bias":
            return _NEVER if self.strict else _VECTOR_FOR_MATRIX
        return _OTHER_RANK

    def _allowed(self, a: _Part, b: _Part) -> float:
        here, there = self.only["imperative"].get(a.leaf), self.only["functional"].get(b.leaf)
        return float((here is None or b.leaf in here) and (there is None or a.leaf in there))

    def _telling(self, word: str) -> float:
        return self.tells.get(word, 1.0)


def _outer(
    left: Sequence[_Part],
    right: Sequence[_Part],
    key: Callable[[_Part], Hashable],
    measure: Callable[[_Part, _Part], float],
) -> np.ndarray:
    """A measure of all pairs, taken once for each two that differ in what it looks at."""
    kinds, places = [], []
    for parts in (left, right):
        numbers: dict[Hashable, int] = {}
        places.append([numbers.setdefault(key(part), len(numbers)) for part in parts])
        kinds.append([parts[places[-1].index(number)] for number in range(len(numbers))])
    table = np.array([[measure(a, b) for b in kinds[1]] for a in kinds[0]])
    return table[np.ix_(*places)]


def _same_entries(a: _Part, b: _Part) -> float:
    return float(a.entries is not None and a.entries == b.entries)


def _numbers_apart(a: _Part, b: _Part) -> float:
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


@dataclass(frozen=True, eq=False)
class _Assignment:
    """Who belongs to whom.

    Attributes:
        pairs: of parts, in the order of the imperative ones.
        alone: by side, the parts without a counterpart.
        cost: what speaks against all the pairs, the more the larger they are.
    """

    pairs: _Pairs
    alone: Mapping[Side, Sequence[_Part]]
    cost: float

    @property
    def covered(self) -> int:
        """How many entries have a counterpart."""
        return sum(a.size for a, _ in self.pairs)


def _assigned(parts: Mapping[Side, Sequence[_Part]], judge: _Judge) -> _Assignment:
    """The pairs against which least speaks."""
    left, right = (parts[side] for side in SIDES)
    groups = [(a, b) for a, b in _by_size(left, right) if a and b]
    bare = [judge.costs(a, b) for a, b in groups]
    placed = [cost + _OTHER_PLACE * _misplaced(a, b) for cost, (a, b) in zip(bare, groups, strict=True)]
    sure = {part for cost, (a, _) in zip(bare, groups, strict=True) for part in _without_choice(cost, a)}
    order = {part: number for number, part in enumerate(left)}
    pairs: _Pairs = ()
    total = 0.0
    for _ in range(_ROUNDS):
        modules = _Modules(pairs, sure)
        chosen, total = [], 0.0
        for (a, b), plain, cost in zip(groups, bare, placed, strict=True):
            whole = cost + _OTHER_MODULE * (1 - modules.shares(a, b))
            for i, j in zip(*linear_sum_assignment(whole), strict=True):
                if plain[i, j] < _NEVER / 2:
                    chosen.append((a[i], b[j]))
                    total += whole[i, j] * a[i].size
        pairs = sorted(chosen, key=lambda pair: order[pair[0]])
        if judge.ordered:
            pairs = _by_use(pairs, judge)
    taken = {part for pair in pairs for part in pair}
    alone = {side: [part for part in parts[side] if part not in taken] for side in SIDES}
    return _Assignment(pairs, alone, total)


def _by_use(pairs: _Pairs, judge: _Judge) -> _Pairs:
    """The same parts, those that little tells apart paired in the order in which they are used."""
    used = [n for n, (a, b) in enumerate(pairs) if not (a.cut or b.cut or a.used is None or b.used is None)]
    _, left = _rivals([pairs[number] for number in used], judge, _WEAK)
    ordered = [*pairs]
    for group in _connected(left):
        numbers = [used[n] for n in group]
        a, b = ([pairs[number][side] for number in numbers] for side in (0, 1))
        apart = np.abs(np.subtract.outer(_ranks(a), _ranks(b)))
        cost = judge.costs(a, b) + _OTHER_USE * (0.6 * (apart > 0) + 0.4 * apart / len(numbers))
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            ordered[numbers[row]] = (a[row], b[column])
    return ordered


def _ranks(parts: Sequence[_Part]) -> list[int]:
    """Which place each has in the order of use."""
    order = sorted(range(len(parts)), key=lambda n: parts[n].time)
    return [order.index(n) for n in range(len(parts))]


def _rivals(pairs: _Pairs, judge: _Judge, margin: float) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """By pair, those with which it could exchange counterparts, and no more than a margin would say no.

    Returns:
        What names and shapes let be exchanged; and what their modules let be too, as far as these are known
        from pairs that are not to be exchanged.
    """
    rivals = left = _exchangeable(pairs, range(len(pairs)), judge, margin, None)
    for _ in range(_ROUNDS):
        known = _Modules([pair for number, pair in enumerate(pairs) if number not in left])
        left = _exchangeable(pairs, left, judge, margin, known)
    return rivals, left


def _exchangeable(
    pairs: _Pairs, numbers: Iterable[int], judge: _Judge, margin: float, modules: "_Modules | None"
) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    sizes: dict[Hashable, list[int]] = defaultdict(list)
    for number in numbers:
        sizes[pairs[number][0].size, pairs[number][0].kind].append(number)
    for alike in sizes.values():
        left, right = ([pairs[number][side] for number in alike] for side in (0, 1))
        cost = judge.costs(left, right)
        if modules is not None:
            cost = cost + _OTHER_MODULE * (1 - modules.shares(left, right))
        own = np.diag(cost)
        for row, column in np.argwhere(cost + cost.T <= own[:, None] + own + margin).tolist():
            if row != column:
                found.setdefault(alike[row], []).append(alike[column])
    return found


def _by_size(left: Iterable[_Part], right: Iterable[_Part]) -> Iterable[tuple[list[_Part], list[_Part]]]:
    """Those that may be counterparts, as far as the number and the kind of their entries says."""
    groups: dict[tuple[int, str], tuple[list[_Part], list[_Part]]] = defaultdict(lambda: ([], []))
    for side, parts in enumerate((left, right)):
        for part in parts:
            groups[part.size, part.kind][side].append(part)
    return groups.values()


def _without_choice(cost: np.ndarray, parts: Sequence[_Part]) -> Iterator[_Part]:
    """The parts that fit one other alone, which fits no others."""
    fits = cost < _NEVER / 2
    for row in np.flatnonzero(fits.sum(axis=1) == 1).tolist():
        if fits[:, fits[row]].sum() == 1:
            yield parts[row]


def _misplaced(left: Sequence[_Part], right: Sequence[_Part]) -> np.ndarray:
    """How far from each other two stand in the lists of those of their size and role, and of their layer."""

    def apart(by: Callable[[_Part], Hashable]) -> np.ndarray:
        difference: np.ndarray = np.abs(np.subtract.outer(_places(left, by), _places(right, by)))
        return difference

    same = np.array([[a.name.role == b.name.role for b in right] for a in left])
    misplaced = np.where(same, apart(lambda part: part.name.role), apart(lambda _: ()))
    layers = [{part.name.numbers[:1] for part in parts} for parts in (left, right)]
    if layers[0] == layers[1]:
        misplaced = (misplaced + apart(lambda part: (part.name.role, part.name.numbers[:1]))) / 2
    return misplaced


def _places(parts: Sequence[_Part], by: Callable[[_Part], Hashable]) -> np.ndarray:
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

    def __init__(self, pairs: _Pairs, sure: Collection[_Part] = ()) -> None:
        """Count; those that are ``sure`` count more."""
        self.counts = {cut: self._count(pairs, sure, *cut) for cut in product((None, -1), repeat=2)}

    @staticmethod
    def _count(
        pairs: _Pairs, sure: Collection[_Part], one: int | None, other: int | None
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

    def shares(self, left: Sequence[_Part], right: Sequence[_Part]) -> np.ndarray:
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


_Cut = dict[_Part, list[_Part]]


def _cut(sides: Mapping[Side, Sequence[_Part]], judge: _Judge) -> _Assignment:
    """Cut what one side holds as one and the other does not, as long as that is better; and assign."""
    strict = replace(judge, strict=True)
    starts: list[dict[Side, Sequence[_Part]]] = [dict(sides)]
    whole: set[_Part] = set()
    # Under a stack there may be more to cut before it is seen to be one.
    for side, other in (SIDES, SIDES[::-1]):
        for cut in _layers(sides[side], sides[other]):
            if whole.issuperset(cut):
                continue
            following = {**sides, side: _replaced(sides[side], cut)}
            pieces = {piece for found in cut.values() for piece in found}
            alone = pieces.intersection(_assigned(_alike_in_size(following, cut), strict).alone[side])
            if len(cut) > 1 and len(alone) <= len(pieces) / 2:
                starts.append(following)
                whole.update(cut)
    ends = [_cut_from(start, strict) for start in starts]
    parts, _ = min(ends, key=lambda end: (-end[1].covered, end[1].cost))
    return _assigned(parts, judge)


def _cut_from(
    parts: Mapping[Side, Sequence[_Part]], judge: _Judge
) -> tuple[Mapping[Side, Sequence[_Part]], _Assignment]:
    """Cut one thing after the other, always what helps most."""
    best = _assigned(parts, judge)
    while True:
        tried = []
        for number, (side, cut) in enumerate(_proposals(parts, best.alone, judge)):
            gain, saved, cost = _better(parts, best, side, cut, judge)
            unknown = any(piece.cut and piece.cut[0] for pieces in cut.values() for piece in pieces)
            if (gain, saved) > (0, 0):
                tried.append((-gain, unknown, cost, number, side, cut))
        for *_, side, cut in sorted(tried, key=lambda one: one[:4]):
            following = {**parts, side: _replaced(parts[side], cut)}
            found = _assigned(following, judge)
            if (found.covered, -found.cost) > (best.covered, -best.cost):
                parts, best = following, found
                break
        else:
            return parts, best


def _replaced(parts: Iterable[_Part], cut: _Cut) -> list[_Part]:
    return [piece for part in parts for piece in cut.get(part, [part])]


def _alike_in_size(parts: Mapping[Side, Sequence[_Part]], cut: _Cut) -> dict[Side, Sequence[_Part]]:
    """The parts that are as large as what is cut, or as what it is cut into."""
    sizes = {part.size for whole, pieces in cut.items() for part in (whole, *pieces)}
    return {side: [part for part in parts[side] if part.size in sizes] for side in SIDES}


def _better(
    parts: Mapping[Side, Sequence[_Part]], best: _Assignment, side: Side, cut: _Cut, judge: _Judge
) -> tuple[int, float, float]:
    """How many more entries a cut gives a counterpart; how much less speaks against, and how much still."""
    among = _alike_in_size(parts, cut)
    found = _assigned({**among, side: _replaced(among[side], cut)}, judge)
    taken = {part for whole in among.values() for part in whole}
    gain = found.covered - sum(a.size for a, _ in best.pairs if a in taken)
    return gain, 0.0 if gain else _assigned(among, judge).cost - found.cost, found.cost


def _proposals(
    parts: Mapping[Side, Sequence[_Part]], free: Mapping[Side, Sequence[_Part]], judge: _Judge
) -> Iterator[tuple[Side, _Cut]]:
    """Cuts into what the other side has: of stacks, and of what is fused and has no counterpart."""
    for side, other in (SIDES, SIDES[::-1]):
        for cut in _layers(parts[side], parts[other]):
            yield side, cut
        if not free[other]:
            continue
        cells = _cells(parts[side]) if side == "imperative" else {}
        families: dict[Hashable, list[_Part]] = defaultdict(list)
        for part in free[side]:
            families[part.name.words, part.name.role, part.leaf in cells, len(part.shape)].append(part)
        for family in families.values():
            if family[0].leaf in cells:
                yield side, {part: _gates_of(part, cells[part.leaf]) for part in family}
        others = [family for family in families.values() if family[0].leaf not in cells]
        for siblings, family in product((_siblings(parts[other]), _siblings(free[other])), others):
            for axis in range(len(family[0].shape)):
                if cut := _fusion(family, axis, siblings, judge):
                    yield side, cut


def _layers(parts: Sequence[_Part], other: Sequence[_Part]) -> Iterator[_Cut]:
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
        groups: dict[tuple[_Part, ...], None] = {}
        for depth in range(3):  # the whole tree, and what stands a little below its root
            below: dict[tuple[str, ...], list[_Part]] = defaultdict(list)
            for part in chosen:
                below[part.name.path[:depth]].append(part)
            groups |= dict.fromkeys(map(tuple, below.values()))
        for group in groups:
            used = min((part.used[0] for part in group if part.used is not None), default=0.0)
            listed = min(part.listed[0] for part in group)
            yield {part: part.stacked(axis % len(part.shape), used, listed) for part in group}


def _cells(parts: Iterable[_Part]) -> dict[str, int]:
    """How many gates are fused in the parameters of PyTorch's recurrent modules."""
    cells: dict[str, int] = {}
    for part in parts:
        found = re.search(r"weight_hh((_l\d+)?(_reverse)?)$", part.leaf)
        whole = len(part.shape) == 2 and part.cut is None  # noqa: PLR2004  # (gates · hidden, hidden)
        if found and whole and part.shape[0] // part.shape[1] in _HAIKU:
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                cells[f"{part.leaf[: found.start()]}{kind}{found[1]}"] = part.shape[0] // part.shape[1]
    return cells


def _gates_of(part: _Part, count: int) -> list[_Part]:
    """The gates that are fused in a parameter of PyTorch's."""
    (order,) = (order for order in _ORDERS if len(order) == count and order[0].startswith("gate"))
    said = [(gate, gate[-1]) for gate in order]
    return part.fused(0, [part.shape[0] // count] * count, said, known=True)


def _siblings(parts: Iterable[_Part]) -> list[list[_Part]]:
    """Those of one role whose names differ in one component, the last ones first."""
    groups: dict[tuple[int, Hashable], list[_Part]] = defaultdict(list)
    for part in parts:
        path = part.name.path
        for place in range(len(path)):
            groups[place, (path[:place], path[place + 1 :], part.name.role, part.kind)].append(part)
    return [groups[key] for key in sorted(groups, key=lambda key: -key[0]) if len(groups[key]) > 1]


def _fusion(family: Sequence[_Part], axis: int, siblings: Sequence[Sequence[_Part]], judge: _Judge) -> _Cut:
    """Cuts of all parameters of one name along one axis, into such siblings as the other side has."""
    cut: _Cut = {}
    found: dict[Hashable, Sequence[_Part]] = {}  # layers that are alike are made of what is alike
    for part in family:
        unit = part.size // max(part.shape[axis], 1)
        key = (part.shape, part.name.words)
        if key not in found:
            fitting = (next(_made_of(part, unit, members, judge), ()) for members in siblings)
            found[key] = next((members for members in fitting if members), ())
        if members := found[key]:
            sizes = [member.size // unit for member in members]
            order = next((order for order in _ORDERS if _stand_in(order, members)), ())
            common = set.intersection(*(set(member.name.words) for member in members))
            said = [tuple(word for word in member.name.words if word not in common) for member in members]
            cut[part] = part.fused(axis, sizes, [(label,) for label in order] or said, known=bool(order))
    return cut


def _stand_in(order: Sequence[str], members: Sequence[_Part]) -> bool:
    return len(order) == len(members) and all(
        label in member.name.words for label, member in zip(order, members, strict=True)
    )


def _made_of(whole: _Part, unit: int, members: Sequence[_Part], judge: _Judge) -> Iterator[Sequence[_Part]]:
    """Siblings that together are as large as a whole, in the order in which they stand in it."""
    members = [m for m in members if m.kind == whole.kind and m.size < whole.size and m.size % unit == 0]
    for order in _ORDERS:
        known = [[m for m in members if label in m.name.words] for label in order]
        if all(known):
            chosen = [max(ms, key=lambda m: judge.alike(whole.name.words, m.name.words)) for ms in known]
            if sum(m.size for m in chosen) == whole.size:
                yield chosen
    if len(members) <= _MOST_SIBLINGS:
        for count in range(2, len(members) + 1):
            yield from (
                some for some in combinations(members, count) if sum(m.size for m in some) == whole.size
            )


# Of more siblings than this, not every few are tried: 2 to the power of it.
_MOST_SIBLINGS = 8


@dataclass(frozen=True)
class _Way:
    """How one part becomes its counterpart.

    Attributes:
        layout: of the whole part, or of each gate.
        gates: which imperative gate each functional one is; empty if they are in one order.
    """

    layout: _Layout
    gates: tuple[int, ...] = ()

    def blocks(self, block: Shape, target: Shape) -> Iterator[tuple[Block, Block, _Layout]]:
        """The blocks that are joined, and how: one, or one for each gate."""
        here, there = (tuple((0, n) for n in shape) for shape in (block, target))
        if not self.gates:
            yield here, there, self.layout
            return
        count, split, axis = len(self.gates), self.layout.split, _first_axis(self.layout, block, target)
        rows, width = block[0] // count, target[axis] // count
        layout = replace(self.layout, split=split and (split[0] // count, *split[1:]))
        for k, gate in enumerate(self.gates):
            part = ((gate * rows, (gate + 1) * rows), *here[1:])
            yield part, (*there[:axis], (k * width, (k + 1) * width), *there[axis + 1 :]), layout

    def equates(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether it turns the one array into the other."""
        made = np.empty(b.shape, a.dtype)
        for here, there, layout in self.blocks(a.shape, b.shape):
            part, where = a[tuple(slice(*edge) for edge in here)], tuple(slice(*edge) for edge in there)
            turned = np.flip(part.reshape(layout.split or part.shape).transpose(layout.axes), layout.flip)
            made[where] = turned.reshape(made[where].shape)
        return bool(((made == b) | ((made != made) & (b != b))).all())  # noqa: PLR0124  # NaN is NaN


def _first_axis(layout: _Layout, block: Shape, target: Shape) -> int:
    """The axis of the target that the first one of a block becomes, or its first part; −1 if none does."""
    split = layout.split or block
    before = [split[axis] for axis in layout.axes[: layout.axes.index(0)] if split[axis] > 1]
    wide = [axis for axis, n in enumerate(target) if n > 1]
    here = len(before)
    return wide[here] if [target[axis] for axis in wide[: here + 1]] == [*before, split[0]] else -1


@dataclass(frozen=True, eq=False)
class _Question:
    """What nothing but trying tells of one or several pairs.

    Attributes:
        what: is asked.
        ways: by the number of a pair, the answers; the likeliest first, and as many for each.
        known: what makes it so, if that is reason enough where nothing is tried.
    """

    what: str
    ways: Mapping[int, Sequence[_Way]]
    known: str = ""


class _Laid:
    """The layouts of all pairs.

    Attributes:
        ways: of each pair.
        why: of each pair, what decides.
        questions: what nothing decides.
    """

    def __init__(self, pairs: _Pairs, answers: Mapping[str, int]) -> None:
        """Lay out; ``answers`` are those to questions that are not the likeliest."""
        self.pairs, self.answers = pairs, answers
        self.ways: dict[int, _Way] = {}
        self.why: dict[int, str] = defaultdict(str)
        self.questions: list[_Question] = []
        self._cells = _cells(a for a, _ in pairs)
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
        layouts = dict.fromkeys((*self._options[number], *_layouts(a.shape, b.shape)))
        ways = [_Way(layout) for layout in layouts]
        if count := self._cells.get(a.leaf, 0):
            framed = [layout for layout in layouts if _first_axis(layout, a.shape, b.shape) >= 0]
            ways += [_Way(layout, order) for layout in framed for order in permutations(range(count))]
        ways += [_Way(image) for channels in range(2, a.shape[-1]) for image in _images(a, b, channels)]
        equal = next((way for way in ways if way.equates(a.values, b.values)), None)
        if equal is not None:
            self.ways[number], self.why[number] = equal, "values agree"
        return equal is not None

    def _established(self) -> dict[str, frozenset[str]]:
        """By the word for their role, the conventions that all such weights keep to; and for all of them."""
        kinds: dict[str, frozenset[str]] = defaultdict(lambda: frozenset(_CONVENTIONS))
        for number, (a, b) in enumerate(self.pairs):
            options = [self.ways[number].layout] if number in self.ways else self._options[number]
            fits = frozenset(kind for layout in options for kind in layout.kinds)
            usual = not fits.isdisjoint({AS_IT_IS, IN_OUT_LAST})
            if usual and a.name.role == "weight" and a.rank > 1 and not _is_table(a, b):
                kinds[b.name.last] &= fits
                kinds[_ALL] &= fits
        return kinds

    def _decided(self, number: int) -> bool:
        """Let shapes, conventions or names decide; where none of them may, ask for this pair alone."""
        a, b = self.pairs[number]
        options, last = self._options[number], b.name.last
        if len(options) == 1:
            self.ways[number] = _Way(options[0])
            return True
        if b.rank < a.rank or any(layout.flip for layout in options):
            self._ask_alone(number)
            return True
        if _is_table(a, b):
            return self._take(number, {AS_IT_IS}, "a table has no in and out")
        if not last and a.shape == b.shape and a.name.words == b.name.words:
            return self._take(number, {AS_IT_IS}, "same name and shape")
        meant = {_meant(a, b)} if last != "w" else set()  # what is called w need not be haiku's
        return (
            self._take(number, self._kinds[last], f"convention of the other {last or 'weight'}s")
            or self._take(number, meant, _MEANT.get(last, "same name and shape"))
            or self._take(number, self._kinds[_ALL], "convention of the other weights")
        )

    def _take(self, number: int, kinds: Collection[str], why: str) -> bool:
        """Take the layout that keeps to a convention, if exactly one does."""
        fitting = [layout for layout in self._options[number] if not layout.kinds.isdisjoint(kinds)]
        if len(fitting) == 1:
            self.ways[number], self.why[number] = _Way(fitting[0]), why
        return len(fitting) == 1

    def _ask_together(self, last: str, numbers: Sequence[int]) -> None:
        """Ask once for all of a name, so that one that is used otherwise than the others stays so."""
        weights = any(self.pairs[number][0].name.role == "weight" for number in numbers)
        answers: list[list[_Way]] = []
        for kind in dict.fromkeys((IN_OUT_LAST if weights else AS_IT_IS, *_CONVENTIONS)):
            chosen = [next((o for o in self._options[n] if kind in o.kinds), None) for n in numbers]
            answer = [_Way(layout) for layout in chosen if layout is not None]
            if len(answer) == len(numbers) and answer not in answers:
                answers.append(answer)
        if not answers:
            for number in numbers:
                self._ask_alone(number)
            return
        name = last or f"{self.pairs[numbers[0]][1].leaf} and its like"
        ways = {number: [answer[k] for answer in answers] for k, number in enumerate(numbers)}
        known = _MEANT.get(last, "")
        if known and len(numbers) == 1:  # asking would hide that it is used the wrong way round
            self.ways[numbers[0]], self.why[numbers[0]] = answers[0][0], known
        else:
            self._pose(_Question(f"the layout of {name}", ways, known))

    def _ask_alone(self, number: int) -> None:
        """Ask for one pair, that no convention binds."""
        liked = self._kinds[self.pairs[number][1].name.last]
        if len(liked) == len(_CONVENTIONS):
            liked = self._kinds[_ALL]
        options = self._options[number]
        if IN_OUT_LAST in liked and AS_IT_IS not in liked:  # the image's axes come first, for this one too
            options = [o for o in options if o.kinds & {IN_OUT_LAST, OUT_IN_LAST, OUT_LAST}] or options
        first = IN_OUT_LAST if IN_OUT_LAST in liked else AS_IT_IS
        options = sorted(options, key=lambda o: (not o.kinds & liked, first not in o.kinds))
        ways = {number: [_Way(option) for option in options]}
        self._pose(_Question(f"the layout of {self.pairs[number][1].leaf}", ways))

    def _pose(self, question: _Question) -> None:
        answer = self.answers.get(question.what, 0)
        for number, ways in question.ways.items():
            self.ways[number] = ways[min(answer, len(ways) - 1)]
        if all(len(ways) > 1 for ways in question.ways.values()):
            self.questions.append(question)

    def _ask_of_gates(self, waiting: Sequence[int]) -> None:
        """Ask for the order of the gates of fused cells, unless the names tell it."""
        asked: dict[int, list[_Way]] = {}
        known = True
        for number in waiting:
            a, b = self.pairs[number]
            count, layout = self._cells.get(a.leaf, 0), self.ways[number].layout
            if not count or _first_axis(layout, a.shape, b.shape) < 0:
                continue
            if re.search(r"(^|[./])(lstm|gru)(_\d+)?(/linear)?\.(w|b|w_i|w_h)$", b.leaf):
                self.ways[number] = _Way(layout, _HAIKU[count])
                self.why[number] = _and(self.why[number], "gates in haiku's order")
            else:
                asked[number] = [_Way(layout), _Way(layout, _HAIKU[count])]
                # equinox and nnx have PyTorch's
                known &= a.rank < 2 or bool(re.search(r"(weight_[ih]h|dense_[ih]\.kernel)$", b.leaf))  # noqa: PLR2004
        if asked and not known:
            self._pose(_Question("the order of the gates", asked))

    def _ask_of_images(self, waiting: Collection[int]) -> None:
        """Ask whether images are flattened with their channels last, where convolutions have them there."""
        before: _Part | None = None
        for number in sorted(range(len(self.pairs)), key=lambda number: self.pairs[number][0].time):
            a, b = self.pairs[number]
            way = self.ways[number]
            last = IN_OUT_LAST in way.layout.kinds
            if a.rank > 2:  # noqa: PLR2004  # a convolution
                before = a if last else None
            elif a.rank == 2:  # noqa: PLR2004
                images = _images(a, b, before.shape[0]) if before and last and number in waiting else []
                if images:
                    what = f"the order in which the image before {b.leaf} is flattened"
                    self._pose(_Question(what, {number: [way, *map(_Way, images)]}))
                before = None


_ALL = "*"  # no word for a role


def _options(a: _Part, b: _Part) -> list[_Layout]:
    """The layouts of a pair that are worth a thought; transposed convolutions run backwards, or do not."""
    found = [layout for layout in _layouts(a.shape, b.shape) if layout.plain]
    words = {*a.name.words, *b.name.words}
    said = "transpose" in words
    rank = len(a.shape)
    convolves = rank == len(b.shape) and (rank > 3 or (rank == 3 and (said or "conv" in words)))  # noqa: PLR2004
    if not convolves:
        return found
    usual = [layout for layout in found if layout.kinds & {AS_IT_IS, IN_OUT_LAST}]
    if usual and not said:
        return usual + [o for o in found if o not in usual and not o.kinds & {OUT_IN_LAST, IN_OUT_FIRST}]
    made = []
    for layout in found:
        flip = tuple(k for k, axis in enumerate(layout.axes) if axis > 1 and a.shape[axis] > 1)
        both = [layout, replace(layout, flip=flip)]
        made += both if layout in usual else both[::-1]
    return [*dict.fromkeys(made)]


def _images(a: _Part, b: _Part, channels: int) -> list[_Layout]:
    """The layouts of a weight whose rows are images of so many channels, that these put last."""
    if len(a.shape) != 2 or b.shape != a.shape[::-1]:  # noqa: PLR2004  # (out, in) and (in, out)
        return []
    out, rows = a.shape
    if rows % channels or rows == channels:
        return []
    return [_Layout((2, 1, 0), (out, channels, rows // channels), frozenset({IN_OUT_LAST}))]


def _and(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)


@dataclass(frozen=True, eq=False)
class _Doubt:
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
        if count <= _ALL_ORDERS:
            orders = [*permutations(range(count))][1:]
        else:
            swaps = combinations(range(count), 2)
            orders = [tuple({i: j, j: i}.get(k, k) for k in range(count)) for i, j in swaps]
        alone = () if self.jointly or len(self.groups) == 1 else tuple((group,) for group in self.groups)
        for order, groups in product(orders, (self.groups, *alone)):
            move = {group[k]: group[other] for group in groups for k, other in enumerate(order) if k != other}
            yield move, groups is self.groups


_ALL_ORDERS = 3  # of four there are 23 others


class _Told:
    """What each pair rests on.

    Attributes:
        why: of each pair.
        doubts: what nothing but places tells apart.
    """

    def __init__(self, pairs: _Pairs, judge: _Judge) -> None:
        self.pairs, self.judge = pairs, judge
        rivals, left = _rivals(pairs, judge, _TIE)
        self.why = {n: self._reason(n, n in rivals, left.get(n, ())) for n in range(len(pairs))}
        fused = [*self._fused()]
        self.doubts = [
            *fused,
            *self._placed(left, {n for doubt in fused for g in doubt.groups for n in g}),
        ]

    def _reason(self, number: int, rivals: bool, left: Sequence[int]) -> str:
        a, b = self.pairs[number]
        if _same_entries(a, b):
            return "values agree"
        if left:
            if self.judge.ordered and not (a.cut or b.cut or a.used is None or b.used is None):
                return "order of first use"
            names = dict.fromkeys(self.pairs[other][1].leaf for other in left[:3])
            return f"guessed: by place, and {' or '.join(names)} would fit as well"
        if rivals:
            return "with its module"
        others = [pair for pair in self.pairs if pair[0].size == a.size]
        fits = self.judge.costs([a], [b for _, b in others])
        return "name" if (fits < _NEVER / 2).sum() > 1 else "only shape that fits"

    def _fused(self) -> Iterator[_Doubt]:
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
                yield _Doubt(what, alike, jointly=True)

    def _placed(self, left: Mapping[int, Sequence[int]], taken: Collection[int]) -> Iterator[_Doubt]:
        """Pairs that only their places tell apart; those of the same modules are exchanged at once.

        So are those of the same kind in all layers.
        """
        open_ = {n: [o for o in others if o not in taken] for n, others in left.items() if n not in taken}
        open_ = {n: others for n, others in open_.items() if self.why[n].startswith("guessed")}
        groups = [group for group in _connected(open_) if len(group) > 1]
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
            yield _Doubt(what, tuple(g for groups, _ in alike for g in groups), len(alike) > 1 or alike[0][1])

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


def _connected(neighbours: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, ...]]:
    seen: set[int] = set()
    for start in neighbours:
        group: set[int] = set()
        waiting = [start] if start not in seen else []
        while waiting:
            here = waiting.pop()
            if here in neighbours and here not in group:
                group.add(here)
                waiting += neighbours[here]
        seen |= group
        if group:
            yield tuple(sorted(group))


@dataclass(frozen=True, eq=False)
class _Draft:
    """Pairs, and the answers to questions that are not the likeliest."""

    pairs: _Pairs
    answers: Mapping[str, int] = field(default_factory=dict)

    def answered(self, what: str, answer: int) -> "_Draft":
        """With another answer."""
        return replace(self, answers={**self.answers, what: answer})

    def moved(self, move: Mapping[int, int]) -> "_Draft":
        """With counterparts exchanged."""
        pairs = [*self.pairs]
        for number, other in move.items():
            pairs[number] = (self.pairs[number][0], self.pairs[other][1])
        return replace(self, pairs=pairs)


@dataclass(frozen=True, eq=False)
class _Step:
    """One thing to try: a question or a doubt.

    Attributes:
        time: when it is first used.
        what: is tried.
        moves: to other drafts, and whether what these score says how sure the choice is.
        on: whether a move goes on from the best that was found within the step.
    """

    time: tuple[float, ...]
    what: str
    moves: Sequence[tuple[Callable[[_Draft], _Draft], bool]]
    on: bool = False


class _Search:
    """Tries what is open, in the order of use, as rarely as it can.

    Attributes:
        verdicts: by what was tried, what the choice scored, and what the best of the others did.
    """

    def __init__(self, score: Callable[[_Draft], float], doubts: Sequence[_Doubt]) -> None:
        self.score, self.doubts = score, doubts
        self.left = MOST_SCORES
        self.verdicts: dict[str, tuple[float, float]] = {}

    def best(self, draft: _Draft) -> _Draft:
        """The draft that scores best; of those that score the same, the likeliest."""
        if not self._steps(draft):
            return draft
        points = self._try(draft)
        while True:
            start = points
            for step in self._steps(draft):
                draft, points = self._take(step, draft, points)
            if points == start:
                break  # else what is settled now may let what came before be told
        if not any(best > other for best, other in self.verdicts.values()):
            draft, points = self._two_at_once(draft, points)
        return draft

    def _steps(self, draft: _Draft) -> list[_Step]:
        steps = []
        for question in _Laid(draft.pairs, draft.answers).questions:
            time = min(draft.pairs[number][0].time for number in question.ways)
            count = len(next(iter(question.ways.values())))
            others = [k for k in range(count) if k != draft.answers.get(question.what, 0)]
            moves = [(partial(_Draft.answered, what=question.what, answer=k), True) for k in others]
            steps.append(_Step(time, question.what, moves))
        for doubt in self.doubts:
            time = min(draft.pairs[number][0].time for group in doubt.groups for number in group)
            turns = [(partial(_Draft.moved, move=move), counts) for move, counts in doubt.moves()]
            steps.append(_Step(time, doubt.what, turns, on=len(doubt.groups[0]) > _ALL_ORDERS))
        return sorted(steps, key=lambda step: step.time)

    def _take(self, step: _Step, draft: _Draft, points: float) -> tuple[_Draft, float]:
        """The best draft within one step."""
        before, others = self.verdicts.get(step.what), []
        if before is not None and before[0] > before[1]:
            return draft, points
        start = draft
        for move, counts in step.moves:
            if self.left <= 0:
                return draft, points
            other = move(draft if step.on else start)
            reached = self._try(other)
            if reached > points:
                draft, points, reached = other, reached, points
            others += [reached] if counts else []
        self.verdicts[step.what] = (points, max(others))
        return draft, points

    def _two_at_once(self, draft: _Draft, points: float) -> tuple[_Draft, float]:
        """Where no single change tells anything, two may."""
        for one, other in combinations(self._steps(draft), 2):
            for (first, _), (second, _) in product(one.moves, other.moves):
                if self.left <= 0:
                    return draft, points
                both = second(first(draft))
                reached = self._try(both)
                if reached > points:
                    self.verdicts[one.what] = self.verdicts[other.what] = (reached, points)
                    return self.best(both), reached
        return draft, points

    def _try(self, draft: _Draft) -> float:
        self.left -= 1
        return self.score(draft)


def _verdict(points: tuple[float, float] | None, known: str, guess: str) -> str:
    """What trying told: that the choice scores more than all others, or that it does not."""
    if points is None:
        return known or guess
    best, other = points
    if best > other:
        return f"score {best:g}, others {other:g}"
    return f"{known or guess}; others score {other:g} too"


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
            side: _read((*self.arrays[side], *(self.stands_for if side == "imperative" else ())))
            for side in SIDES
        }
        # A word for the role that both sides use may tell parameters of one role apart.
        shared = set.intersection(*({name.last for name in names[side].values()} for side in SIDES)) - {""}
        parts = {side: self._parts(side, names[side], shared) for side in SIDES}
        self.judge = self._judge(parts)
        self.found = _cut(parts, self.judge)
        self.told = _Told(self.found.pairs, self.judge)
        self._check_pins()

    def map(self, score: Score | None) -> Map:
        """Lay out what has been paired, and try what is open."""
        draft = _Draft(self.found.pairs)
        if score is None:
            return self._map(draft, {})
        search = _Search(lambda draft: score(self._map(draft, {})), self.told.doubts)
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

    def _parts(self, side: Side, names: Mapping[str, _Name], shared: Collection[str]) -> list[_Part]:
        arrays = dict(self.arrays[side])
        if side == "imperative":
            arrays |= {name: arrays[other] for name, other in self.stands_for.items()}
        used = {name: (float(place),) for place, name in reversed([*enumerate(self.order.get(side, ()))])}
        listed = _naturally(arrays) if side == "functional" else list(arrays)
        places = {name: (float(place),) for place, name in enumerate(listed)}
        out = {*self.aside[side], *(piece.name(side) for piece in self.given.pieces)}
        return [
            _Part(
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

    def _judge(self, parts: Mapping[Side, Sequence[_Part]]) -> _Judge:
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
        return _Judge(
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

    def _map(self, draft: _Draft, verdicts: Mapping[str, tuple[float, float]]) -> Map:
        laid = _Laid(draft.pairs, draft.answers)
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

    def _evidence(self, draft: _Draft, laid: _Laid, verdicts: Mapping[str, tuple[float, float]]) -> list[str]:
        """What each pair, and its layout, rest on."""
        paired = {number: self.told.why[number] for number in range(len(draft.pairs))}
        for doubt in self.told.doubts:
            for number in (number for group in doubt.groups for number in group):
                paired[number] = _verdict(verdicts.get(doubt.what), "", paired[number])
        told = dict(laid.why)
        for question in laid.questions:
            said = _verdict(verdicts.get(question.what), question.known, f"guessed: {question.what}")
            told |= {number: _and(told.get(number, ""), said) for number in question.ways}
        return [
            _and("correction" if self.pins.get(a.leaf) == b.leaf else paired[number], told.get(number, ""))
            for number, (a, b) in enumerate(draft.pairs)
        ]

    def _pieces(self, a: _Part, b: _Part, way: _Way, evidence: str) -> Iterator[Piece]:
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
        alone: dict[str, list[_Part]] = defaultdict(list)
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


def _naturally(names: Iterable[str]) -> list[str]:
    """Names in their order, but ``Dense_10`` after ``Dense_2``: jax sorts the keys of a tree by alphabet."""
    first: dict[str, int] = {}
    keys: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        stem, keys[name] = "", []
        for text, number in re.findall(r"(\D+)|(\d+)", name):
            stem += text or "#"
            keys[name].append(int(number) if number else first.setdefault(stem, place))
    return sorted(keys, key=keys.__getitem__)
