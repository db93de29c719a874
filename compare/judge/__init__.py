"""The judge: says of two twins whether they compute the same function, without a tolerance that anyone set.

A difference that shrinks with the precision is rounding; one that stays is a different function. The judge
therefore runs both sides itself, in two precisions and at more than one point
(:mod:`compare.judge.rounding`), a training run step by step and as a whole (:mod:`compare.judge.training`),
and holds each side against what neither of them computed (:mod:`compare.judge.truth`). The theory is in
docs/judging.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby

import numpy as np

from compare.judge.rounding import Examination, Function, examine
from compare.judge.training import FreeRun, Run, State, StepFunction, inputs, states
from compare.judge.trees import gap
from compare.judge.truth import Known, along_run, at_state, check_published, known
from compare.judge.verdict import SIDES, Distance, Dynamics, FactCheck, Finding, PublishedCheck, Verdict, Word
from compare.twins import Twins
from scenarios import Device, Dtype, Result, Statement

__all__ = [
    "GRAVITY",
    "SIDES",
    "Distance",
    "Dynamics",
    "FactCheck",
    "Finding",
    "PublishedCheck",
    "Trial",
    "Verdict",
    "Word",
    "examine",
    "judge",
]


def judge(pair: Twins, dtype: Dtype = "float64", *, device: Device = "cpu", every: int | None = 1) -> Verdict:
    """Judge two twins.

    Args:
        pair: a statement and the two modules that run it.
        dtype: of the results that are judged; both precisions are run in any case.
        device: to run on.
        every: which training steps to record and compare; ``None`` compares none.
    """
    return Trial(pair, device, every=every).verdict(dtype)


class Trial:
    """One pair of twins before the judge: what both compute is computed once, and judged in either dtype."""

    def __init__(self, pair: Twins, device: Device = "cpu", *, every: int | None = 1) -> None:
        """Run nothing yet.

        Args:
            pair: a statement and the two modules that run it.
            device: to run on.
            every: which training steps to record and compare; ``None`` compares none.
        """
        self.pair, self.every = pair, every
        self.runs: dict[str, Run] = {
            side: partial(_run, getattr(pair, side).run, device=device) for side in SIDES
        }
        self._kept: dict[tuple[str, str], Result] = {}
        self._known: dict[int, dict[str, Known]] = {}

    def result(self, side: str, dtype: str) -> Result:
        """What a side computes from the statement, every step recorded that was asked for."""
        if (side, dtype) not in self._kept:
            self._kept[side, dtype] = self.runs[side](self.pair.statement, dtype, self.every)
        return self._kept[side, dtype]

    def verdict(self, dtype: Dtype, bare: Mapping[str, Result] | None = None) -> Verdict:
        """Judge the pair in ``dtype``.

        Args:
            dtype: of the results that are judged.
            bare: by side, the result of the same run without recording, which is the one that is timed.
        """
        with np.errstate(all="ignore"):  # whatever overflows is judged, not warned of
            return self._verdict(dtype, bare or {})

    def _verdict(self, dtype: Dtype, bare: Mapping[str, Result]) -> Verdict:
        statement = self.pair.statement
        results = {} if self._bare else {side: self.result(side, dtype) for side in SIDES}
        owed = [c for side, r in results.items() for c in _owed(statement, side, r, self.every)]
        step = tuple(_merged(self._findings(dtype)))
        # What a side does not hand back cannot be followed any further.
        free = None if owed or statement.training is None else self._free_run
        run = tuple(free.findings(dtype)) if free else ()
        owed += _timed_elsewhere(results, bare, run)
        distances = tuple(self._distances(dtype))
        published = tuple(check_published(figure, results) for figure in statement.published)
        facts = tuple(_facts(statement, results))
        checks = [d.agrees for d in distances] + [p.agrees for p in published] + [f.agrees for f in facts]
        agrees = not owed and False not in checks
        return Verdict(
            word=_overall(statement, results, step, run) if agrees else "different",
            step=step,
            run=run,
            dynamics=free.dynamics(dtype) if free else None,
            distances=distances,
            published=published,
            facts=facts,
            owed=tuple(owed),
        )

    @property
    def parted(self) -> int | None:
        """The first step of a training that differs; None if none does."""
        steps = [
            state.step + 1
            for state, found in self.examinations
            if any(f.word == "different" for f in (*found.higher, *found.lower))
        ]
        if self._free_run.blamed and self._free_run.excess is not None:
            steps.append(self._free_run.excess)
        return min(steps, default=None)

    def findings(self) -> Iterator[Finding]:
        """Everything that is said of the sides against each other, in both precisions."""
        with np.errstate(all="ignore"):
            for _, examination in self.examinations:
                yield from (*examination.higher, *examination.lower)
            if self.pair.statement.training is not None:
                for dtype in ("float64", "float32"):
                    yield from self._free_run.findings(dtype)

    @property
    def _bare(self) -> bool:
        """Whether nothing is known of the statement: the sides are only held against each other."""
        asked = self.pair.statement
        known = asked.truth, asked.limit, asked.published, asked.facts
        return asked.training is None and asked.objective is None and not any(known)

    @cached_property
    def _calls(self) -> dict[str, Function]:
        return {side: StepFunction(run, self.pair.statement) for side, run in self.runs.items()}

    @cached_property
    def examinations(self) -> tuple[tuple[State, Examination], ...]:
        """What is found at the start and along the run, up to the first state in which the sides differ."""
        statement, found = self.pair.statement, []
        complete = (
            statement.training is not None
            and statement.start.keys() <= self.result("imperative", "float64").converged.keys()
        )
        for state in states(self.runs["imperative"], statement, follow=complete):
            at = inputs(statement, state)
            examination = examine(self._calls["imperative"], self._calls["functional"], at)
            found.append((state, examination))
            if any(f.word == "different" for f in (*examination.higher, *examination.lower)):
                break
        return tuple(found)

    @cached_property
    def _free_run(self) -> FreeRun:
        return FreeRun(self.runs, self.pair.statement, self.every, self.result)

    def _findings(self, dtype: Dtype) -> Iterator[Finding]:
        for state, examination in self.examinations:
            for finding in examination.higher if dtype == "float64" else examination.lower:
                yield replace(finding, step=state.step) if self.pair.statement.training else finding

    def _distances(self, dtype: Dtype) -> Iterator[Distance]:
        statement = self.pair.statement
        if self._bare:
            return
        for state, examination in self.examinations:
            found = examination.higher if dtype == "float64" else examination.lower
            budgets = {finding.quantity: finding.budget for finding in found}
            at = inputs(statement, state)
            outputs = {side: call(at, dtype) for side, call in self._calls.items()}
            if state.step not in self._known:
                self._known[state.step] = known(
                    statement, state.parameters, state.step, outputs["imperative"]
                )
            step = state.step if statement.training else None
            yield from at_state(self._known[state.step], step, outputs, budgets)
        for side in SIDES:
            yield from along_run(statement, side, self.result(side, dtype), dtype)


#: From the gravest to the most innocent.
GRAVITY: tuple[Word, ...] = ("different", "vacuous", "undecided", "rounding", "identical")


def _overall(statement: Statement, results: Mapping[str, Result], *findings: tuple[Finding, ...]) -> Word:
    """The word for a pair of which every single quantity was judged."""
    if results and all(_idle(statement, result) for result in results.values()):
        return "vacuous"
    words = [_together(group) for part in findings for group in _groups(part)]
    return min(words, key=GRAVITY.index, default="vacuous")


def _groups(findings: Iterable[Finding]) -> Iterator[list[Word]]:
    """The words of the values, of the gradients, and so on: in each something must have been compared."""

    def group(finding: Finding) -> str:
        return finding.quantity.partition(".")[0]

    for _, members in groupby(sorted(findings, key=group), group):
        yield [finding.word for finding in members]


def _together(words: Iterable[Word]) -> Word:
    """The word for several quantities; one in which nothing was compared counts if there is no other."""
    said = [word for word in words if word != "vacuous"]
    return min(said, key=GRAVITY.index, default="vacuous")


def _merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """One finding a quantity; a state that decides nothing does not count beside one that does."""
    by_name: dict[str, list[Finding]] = {}
    for finding in findings:
        by_name.setdefault(finding.quantity, []).append(finding)
    for same in by_name.values():
        words = [f.word for f in same]
        order: tuple[Word, ...] = ("different", "rounding", "identical", "undecided", "vacuous")
        word = min(words, key=order.index)
        candidates = [f for f in same if f.word == word]
        # The first state that differs; of those that agree, the one nearest to not doing so.
        yield candidates[0] if word == "different" else max(candidates, key=lambda f: f.share)


def _idle(statement: Statement, result: Result) -> bool:
    """Whether a training run did nothing: no parameter moved, or the loss stood still."""
    if statement.training is None:
        return False
    still = all(
        np.array_equal(array, statement.start[name].astype(array.dtype))
        for name, array in result.converged.items()
    )
    losses = result.history.losses if result.history is not None else np.arange(2)
    return still or (len(losses) > 1 and bool(np.all(losses == losses[0])))


def _owed(statement: Statement, side: str, result: Result, every: int | None) -> Iterator[str]:
    """What a side owes the statement, even if the other side owes it too."""
    if statement.training is None:
        return
    for group, tree in (("gradient", result.gradients), ("converged value", result.converged)):
        for name in statement.start.keys() - tree.keys():
            yield f"the {side} side has no {group} of {name}"
    steps = () if result.history is None else tuple(result.history.steps.tolist())
    due = () if every is None else tuple(range(every, statement.training.steps + 1, every))
    if steps != due:
        yield f"the {side} side recorded {len(steps)} steps of the {len(due)} that were asked for"


def _timed_elsewhere(
    results: Mapping[str, Result], bare: Mapping[str, Result], run: tuple[Finding, ...]
) -> Iterator[str]:
    """Sides whose run that is timed, and records nothing, does not end where the recorded one does."""
    budgets = {finding.quantity: finding.budget for finding in run}
    for side, result in bare.items():
        for name, array in results[side].converged.items():
            other = result.converged.get(name, np.zeros(0))
            if array.shape != other.shape or gap(array, other).absolute > budgets.get(f"final.{name}", 0.0):
                yield f"the {side} run without recording ends with another {name} than the recorded one"


def _facts(statement: Statement, results: Mapping[str, Result]) -> Iterator[FactCheck]:
    names = dict.fromkeys([*statement.facts, *(name for r in results.values() for name in r.facts)])
    for name in names:
        expected = statement.facts.get(name)
        derived = {side: result.facts.get(name) for side, result in results.items()}
        known = all(name in facts for facts in (statement.facts, *(r.facts for r in results.values())))
        agrees = known and all(type(v) is type(expected) and v == expected for v in derived.values())
        yield FactCheck(name, expected, derived, agrees)


def _run(
    call: Callable[..., Result], statement: Statement, dtype: str, every: int | None, device: Device
) -> Result:
    options = {"every": every} if statement.training else {}
    return _checked(call(statement, dtype=dtype, device=device, **options))


def _checked(result: Result) -> Result:
    """The result, if it is one that can be compared and saved."""
    if not isinstance(result, Result):
        raise TypeError(f"run returned {type(result).__name__} instead of a Result.")
    for group in ("values", "gradients", "converged", "outcome"):
        for name, array in getattr(result, group).items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(f"{group} of {name} is {kind} instead of an array of floats.")
    for name, fact in result.facts.items():
        if not isinstance(fact, bool | int | str | tuple | None):
            raise TypeError(f"the fact '{name}' is {type(fact).__name__}, which no record can hold.")
    return result
