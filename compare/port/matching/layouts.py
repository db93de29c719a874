"""Every way to lay out one block as another, and the conventions that it keeps to."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, permutations, product

from compare.port.mapping import Shape

AS_IT_IS, IN_OUT_LAST = "as it is", "in and out last"
OUT_IN_LAST, IN_OUT_FIRST, OUT_LAST, IN_LAST = "out and in last", "in and out first", "out last", "in last"
CONVENTIONS = (AS_IT_IS, IN_OUT_LAST, OUT_IN_LAST, IN_OUT_FIRST, OUT_LAST, IN_LAST)

# Of more axes than this, not every order is tried: no known weight has more.
_MOST_AXES = 6


@dataclass(frozen=True)
class Layout:
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
    return frozenset(name for name, kind in zip(CONVENTIONS, wide, strict=True) if kind == list(order))


@cache
def all_layouts(block: Shape, target: Shape) -> tuple[Layout, ...]:
    """Every way to lay out a block as another, the most usual first; of no convention only if all are."""
    if math.prod(block) != math.prod(target):
        return ()
    if not math.prod(block):
        return (Layout(tuple(range(len(block))), None, frozenset(CONVENTIONS)),) if block == target else ()
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
        sorted(known, key=lambda one: (not one.plain, [kind not in one.kinds for kind in CONVENTIONS]))
    )


def _turned(source: Shape, goal: Shape) -> Iterator[Layout]:
    seen = set()
    for axes in _orders(range(len(source))):
        order = tuple(axis for axis in axes if source[axis] > 1)
        if tuple(source[axis] for axis in axes) == goal and order not in seen:
            seen.add(order)
            yield Layout(axes, source, _kinds(order, source))


def _spread(source: Shape, goal: Shape) -> Iterator[Layout]:
    """Axes of the source become several of the goal."""
    for owners in _owners(goal, source):
        held = [[j for j, owner in enumerate(owners) if owner == axis] for axis in range(len(source))]
        # The first axis may stand for parts that each are laid out by a convention.
        kinds = _kinds(_runs(owners), source) or _kinds(_runs(owners[1:]), source)
        for inner in product(*map(_orders, held)):
            memory = [j for axes in inner for j in axes]
            axes = tuple(memory.index(j) for j in range(len(goal)))
            plain = memory == [*chain.from_iterable(held)]
            yield Layout(axes, tuple(goal[j] for j in memory), kinds, plain=plain)


def _gathered(source: Shape, goal: Shape) -> Iterator[Layout]:
    """Axes of the goal are several of the source."""
    for owners in _owners(source, goal):
        held = [[j for j, owner in enumerate(owners) if owner == axis] for axis in range(len(goal))]
        for inner in product(*map(_orders, held)):
            order = tuple(j for axes in inner for j in axes)
            usual = all([*axes] in (h, [*h[1:], *h[:1]]) for axes, h in zip(inner, held, strict=True))
            yield Layout(order, source, _kinds(order, source), plain=usual)


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


def first_axis(layout: Layout, block: Shape, target: Shape) -> int:
    """The axis of the target that the first one of a block becomes, or its first part; −1 if none does."""
    split = layout.split or block
    before = [split[axis] for axis in layout.axes[: layout.axes.index(0)] if split[axis] > 1]
    wide = [axis for axis, n in enumerate(target) if n > 1]
    here = len(before)
    return wide[here] if [target[axis] for axis in wide[: here + 1]] == [*before, split[0]] else -1
