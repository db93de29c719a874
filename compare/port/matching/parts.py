"""Parameters, and the blocks of them that are matched by themselves."""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from compare.port.mapping import Block, Shape
from compare.port.matching.names import TABLES, Name

# The order in which known parts stand in what is fused.
ORDERS = (
    ("q", "k", "v"),
    ("k", "v"),
    ("gate i", "gate f", "gate g", "gate o"),
    ("gate r", "gate z", "gate n"),
)


@dataclass(frozen=True, eq=False)
class Part:
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
    name: Name
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
            TABLES.intersection(self.name.words),
            self.name.role,
            self.name.last,
            self.name.biased,
            self.shape,
        )

    def fused(
        self, axis: int, sizes: Sequence[int], said: Sequence[tuple[str, ...]], *, known: bool
    ) -> "list[Part]":
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

    def stacked(self, axis: int, used: float, listed: float) -> "list[Part]":
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

    def _slices(self, axis: int, sizes: Sequence[int]) -> "Iterator[Part]":
        start = 0
        for size in sizes:
            base = self.block[axis][0] + start
            block = (*self.block[:axis], (base, base + size), *self.block[axis + 1 :])
            here = (*[slice(None)] * axis, slice(start, start + size))
            yield replace(self, block=block, values=None if self.values is None else self.values[here])
            start += size


Pairs = Sequence[tuple[Part, Part]]


def connected(neighbours: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """The groups of numbers that are joined by being neighbours."""
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
