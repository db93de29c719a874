"""Tries what is open by scoring maps, as rarely as it can."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, product

from compare.port.matching.doubts import ALL_ORDERS, Doubt
from compare.port.matching.laying import Laid
from compare.port.matching.parts import Pairs

#: How often a map is scored at most: each time, both sides run.
MOST_SCORES = 60


@dataclass(frozen=True, eq=False)
class Draft:
    """Pairs, and the answers to questions that are not the likeliest."""

    pairs: Pairs
    answers: Mapping[str, int] = field(default_factory=dict)

    def answered(self, what: str, answer: int) -> "Draft":
        """With another answer."""
        return replace(self, answers={**self.answers, what: answer})

    def moved(self, move: Mapping[int, int]) -> "Draft":
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
    moves: Sequence[tuple[Callable[[Draft], Draft], bool]]
    on: bool = False


class Search:
    """Tries what is open, in the order of use, as rarely as it can.

    Attributes:
        verdicts: by what was tried, what the choice scored, and what the best of the others did.
    """

    def __init__(self, score: Callable[[Draft], float], doubts: Sequence[Doubt]) -> None:
        self.score, self.doubts = score, doubts
        self.left = MOST_SCORES
        self.verdicts: dict[str, tuple[float, float]] = {}

    def best(self, draft: Draft) -> Draft:
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

    def _steps(self, draft: Draft) -> list[_Step]:
        steps = []
        for question in Laid(draft.pairs, draft.answers).questions:
            time = min(draft.pairs[number][0].time for number in question.ways)
            count = len(next(iter(question.ways.values())))
            others = [k for k in range(count) if k != draft.answers.get(question.what, 0)]
            moves = [(partial(Draft.answered, what=question.what, answer=k), True) for k in others]
            steps.append(_Step(time, question.what, moves))
        for doubt in self.doubts:
            time = min(draft.pairs[number][0].time for group in doubt.groups for number in group)
            turns = [(partial(Draft.moved, move=move), counts) for move, counts in doubt.moves()]
            steps.append(_Step(time, doubt.what, turns, on=len(doubt.groups[0]) > ALL_ORDERS))
        return sorted(steps, key=lambda step: step.time)

    def _take(self, step: _Step, draft: Draft, points: float) -> tuple[Draft, float]:
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

    def _two_at_once(self, draft: Draft, points: float) -> tuple[Draft, float]:
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

    def _try(self, draft: Draft) -> float:
        self.left -= 1
        return self.score(draft)


def outcome(points: tuple[float, float] | None, known: str, guess: str) -> str:
    """What trying told: that the choice scores more than all others, or that it does not."""
    if points is None:
        return known or guess
    best, other = points
    if best > other:
        return f"score {best:g}, others {other:g}"
    return f"{known or guess}; others score {other:g} too"
