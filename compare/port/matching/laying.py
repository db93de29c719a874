"""The layout of every pair, and what nothing but trying can decide of it."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from compare.port.mapping import Block, Shape
from compare.port.matching.against import MEANT, is_table, meaning_of
from compare.port.matching.cutting import HAIKU, fused_cells
from compare.port.matching.layouts import (
    AS_IT_IS,
    CONVENTIONS,
    IN_OUT_FIRST,
    IN_OUT_LAST,
    OUT_IN_LAST,
    OUT_LAST,
    Layout,
    all_layouts,
    first_axis,
)
from compare.port.matching.parts import Pairs, Part


@dataclass(frozen=True)
class Way:
    """How one part becomes its counterpart.

    Attributes:
        layout: of the whole part, or of each gate.
        gates: which imperative gate each functional one is; empty if they are in one order.
    """

    layout: Layout
    gates: tuple[int, ...] = ()

    def blocks(self, block: Shape, target: Shape) -> Iterator[tuple[Block, Block, Layout]]:
        """The blocks that are joined, and how: one, or one for each gate."""
        here, there = (tuple((0, n) for n in shape) for shape in (block, target))
        if not self.gates:
            yield here, there, self.layout
            return
        count, split, axis = len(self.gates), self.layout.split, first_axis(self.layout, block, target)
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


@dataclass(frozen=True, eq=False)
class _Question:
    """What nothing but trying tells of one or several pairs.

    Attributes:
        what: is asked.
        ways: by the number of a pair, the answers; the likeliest first, and as many for each.
        known: what makes it so, if that is reason enough where nothing is tried.
    """

    what: str
    ways: Mapping[int, Sequence[Way]]
    known: str = ""


class Laid:
    """The layouts of all pairs.

    Attributes:
        ways: of each pair.
        why: of each pair, what decides.
        questions: what nothing decides.
    """

    def __init__(self, pairs: Pairs, answers: Mapping[str, int]) -> None:
        """Lay out; ``answers`` are those to questions that are not the likeliest."""
        self.pairs, self.answers = pairs, answers
        self.ways: dict[int, Way] = {}
        self.why: dict[int, str] = defaultdict(str)
        self.questions: list[_Question] = []
        self._cells = fused_cells(a for a, _ in pairs)
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
        layouts = dict.fromkeys((*self._options[number], *all_layouts(a.shape, b.shape)))
        ways = [Way(layout) for layout in layouts]
        if count := self._cells.get(a.leaf, 0):
            framed = [layout for layout in layouts if first_axis(layout, a.shape, b.shape) >= 0]
            ways += [Way(layout, order) for layout in framed for order in permutations(range(count))]
        ways += [Way(image) for channels in range(2, a.shape[-1]) for image in _images(a, b, channels)]
        equal = next((way for way in ways if way.equates(a.values, b.values)), None)
        if equal is not None:
            self.ways[number], self.why[number] = equal, "values agree"
        return equal is not None

    def _established(self) -> dict[str, frozenset[str]]:
        """By the word for their role, the conventions that all such weights keep to; and for all of them."""
        kinds: dict[str, frozenset[str]] = defaultdict(lambda: frozenset(CONVENTIONS))
        for number, (a, b) in enumerate(self.pairs):
            options = [self.ways[number].layout] if number in self.ways else self._options[number]
            fits = frozenset(kind for layout in options for kind in layout.kinds)
            usual = not fits.isdisjoint({AS_IT_IS, IN_OUT_LAST})
            if usual and a.name.role == "weight" and a.rank > 1 and not is_table(a, b):
                kinds[b.name.last] &= fits
                kinds[_ALL] &= fits
        return kinds

    def _decided(self, number: int) -> bool:
        """Let shapes, conventions or names decide; where none of them may, ask for this pair alone."""
        a, b = self.pairs[number]
        options, last = self._options[number], b.name.last
        if len(options) == 1:
            self.ways[number] = Way(options[0])
            return True
        if b.rank < a.rank or any(layout.flip for layout in options):
            self._ask_alone(number)
            return True
        if is_table(a, b):
            return self._take(number, {AS_IT_IS}, "a table has no in and out")
        if not last and a.shape == b.shape and a.name.words == b.name.words:
            return self._take(number, {AS_IT_IS}, "same name and shape")
        meant = {meaning_of(a, b)} if last != "w" else set()  # what is called w need not be haiku's
        return (
            self._take(number, self._kinds[last], f"convention of the other {last or 'weight'}s")
            or self._take(number, meant, MEANT.get(last, "same name and shape"))
            or self._take(number, self._kinds[_ALL], "convention of the other weights")
        )

    def _take(self, number: int, kinds: Collection[str], why: str) -> bool:
        """Take the layout that keeps to a convention, if exactly one does."""
        fitting = [layout for layout in self._options[number] if not layout.kinds.isdisjoint(kinds)]
        if len(fitting) == 1:
            self.ways[number], self.why[number] = Way(fitting[0]), why
        return len(fitting) == 1

    def _ask_together(self, last: str, numbers: Sequence[int]) -> None:
        """Ask once for all of a name, so that one that is used otherwise than the others stays so."""
        weights = any(self.pairs[number][0].name.role == "weight" for number in numbers)
        answers: list[list[Way]] = []
        for kind in dict.fromkeys((IN_OUT_LAST if weights else AS_IT_IS, *CONVENTIONS)):
            chosen = [next((o for o in self._options[n] if kind in o.kinds), None) for n in numbers]
            answer = [Way(layout) for layout in chosen if layout is not None]
            if len(answer) == len(numbers) and answer not in answers:
                answers.append(answer)
        if not answers:
            for number in numbers:
                self._ask_alone(number)
            return
        name = last or f"{self.pairs[numbers[0]][1].leaf} and its like"
        ways = {number: [answer[k] for answer in answers] for k, number in enumerate(numbers)}
        known = MEANT.get(last, "")
        if known and len(numbers) == 1:  # asking would hide that it is used the wrong way round
            self.ways[numbers[0]], self.why[numbers[0]] = answers[0][0], known
        else:
            self._pose(_Question(f"the layout of {name}", ways, known))

    def _ask_alone(self, number: int) -> None:
        """Ask for one pair, that no convention binds."""
        liked = self._kinds[self.pairs[number][1].name.last]
        if len(liked) == len(CONVENTIONS):
            liked = self._kinds[_ALL]
        options = self._options[number]
        if IN_OUT_LAST in liked and AS_IT_IS not in liked:  # the image's axes come first, for this one too
            options = [o for o in options if o.kinds & {IN_OUT_LAST, OUT_IN_LAST, OUT_LAST}] or options
        first = IN_OUT_LAST if IN_OUT_LAST in liked else AS_IT_IS
        options = sorted(options, key=lambda o: (not o.kinds & liked, first not in o.kinds))
        ways = {number: [Way(option) for option in options]}
        self._pose(_Question(f"the layout of {self.pairs[number][1].leaf}", ways))

    def _pose(self, question: _Question) -> None:
        answer = self.answers.get(question.what, 0)
        for number, ways in question.ways.items():
            self.ways[number] = ways[min(answer, len(ways) - 1)]
        if all(len(ways) > 1 for ways in question.ways.values()):
            self.questions.append(question)

    def _ask_of_gates(self, waiting: Sequence[int]) -> None:
        """Ask for the order of the gates of fused cells, unless the names tell it."""
        asked: dict[int, list[Way]] = {}
        known = True
        for number in waiting:
            a, b = self.pairs[number]
            count, layout = self._cells.get(a.leaf, 0), self.ways[number].layout
            if not count or first_axis(layout, a.shape, b.shape) < 0:
                continue
            if re.search(r"(^|[./])(lstm|gru)(_\d+)?(/linear)?\.(w|b|w_i|w_h)$", b.leaf):
                self.ways[number] = Way(layout, HAIKU[count])
                self.why[number] = joint(self.why[number], "gates in haiku's order")
            else:
                asked[number] = [Way(layout), Way(layout, HAIKU[count])]
                # equinox and nnx have PyTorch's
                known &= a.rank < 2 or bool(re.search(r"(weight_[ih]h|dense_[ih]\.kernel)$", b.leaf))  # noqa: PLR2004
        if asked and not known:
            self._pose(_Question("the order of the gates", asked))

    def _ask_of_images(self, waiting: Collection[int]) -> None:
        """Ask whether images are flattened with their channels last, where convolutions have them there."""
        before: Part | None = None
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
                    self._pose(_Question(what, {number: [way, *map(Way, images)]}))
                before = None


_ALL = "*"  # no word for a role


def _options(a: Part, b: Part) -> list[Layout]:
    """The layouts of a pair that are worth a thought; transposed convolutions run backwards, or do not."""
    found = [layout for layout in all_layouts(a.shape, b.shape) if layout.plain]
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


def _images(a: Part, b: Part, channels: int) -> list[Layout]:
    """The layouts of a weight whose rows are images of so many channels, that these put last."""
    if len(a.shape) != 2 or b.shape != a.shape[::-1]:  # noqa: PLR2004  # (out, in) and (in, out)
        return []
    out, rows = a.shape
    if rows % channels or rows == channels:
        return []
    return [Layout((2, 1, 0), (out, channels, rows // channels), frozenset({IN_OUT_LAST}))]


def joint(*reasons: str) -> str:
    """Several reasons as one."""
    return "; ".join(reason for reason in reasons if reason)
