"""What the names of parameters say, in words that both sides share."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain


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
TABLES = frozenset({"embed", "position", "token"})

_GATES: tuple[dict[str, str], ...] = (
    {"i": "gate i", "f": "gate f", "g": "gate g", "c": "gate g", "j": "gate g", "o": "gate o"},
    {"r": "gate r", "z": "gate z", "u": "gate z", "n": "gate n", "h": "gate n", "a": "gate n", "c": "gate n"},
)


@dataclass(frozen=True)
class Name:
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


def read_names(names: Iterable[str]) -> dict[str, Name]:
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

    def name(self, components: _Components) -> Name:
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
        return Name(
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


def naturally(names: Iterable[str]) -> list[str]:
    """Names in their order, but ``Dense_10`` after ``Dense_2``: jax sorts the keys of a tree by alphabet."""
    first: dict[str, int] = {}
    keys: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        stem, keys[name] = "", []
        for text, number in re.findall(r"(\D+)|(\d+)", name):
            stem += text or "#"
            keys[name].append(int(number) if number else first.setdefault(stem, place))
    return sorted(keys, key=keys.__getitem__)
