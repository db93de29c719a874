"""Along a training run: the step function, restarted from common states, and the free run by itself.

Two honest sides part company in a long run, since every step amplifies what the last one rounded. Judging the
run as a whole would either forgive defects or blame rounding. So the step is judged from states that both
sides are handed (teacher forcing), and where the free run departs by more than its own sensitivity allows,
the step at which it does is judged from the state that each side had reached by itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from compare.judge.precision import chain, last_bits, moved, smallest_normal, unit_roundoff, wrong_bits
from compare.judge.rounding import RADIUS, SAFETY, examine, mismatches
from compare.judge.trees import gap
from compare.judge.verdict import SIDES, Dynamics, Finding, Reason, Word
from scenarios.types import Arrays, Result, Statement, read_only

#: Runs one side: a statement, a dtype, and which steps to record.
Run = Callable[[Statement, str, int | None], Result]

#: Into how many equal parts the run is cut; the step is judged at their ends and at the start.
PARTS = 8

_DTYPES = ("float64", "float32")
_GROUPS = ("values", "gradients", "converged", "state", "outcome")


@dataclass(frozen=True)
class State:
    """Where a run stands after ``step`` steps."""

    step: int
    parameters: Arrays
    optimizer: Arrays


def inputs(statement: Statement, state: State) -> Arrays:
    """Everything that a step depends on, as one flat tree."""
    trees = {"start": state.parameters, "data": statement.data, "state": state.optimizer}
    return {f"{group}.{name}": array for group, tree in trees.items() for name, array in tree.items()}


@dataclass(frozen=True)
class StepFunction:
    """One side as a function: a step of training, or the whole of a scenario that trains nothing.

    Attributes:
        run: the side.
        statement: what it is given, but for the inputs.
        steps: how many are taken.
        copies: that it changes nothing that it is given, and is given no copies, of which a large model has
            no room for many: a side that writes into what is the statement's cannot.
    """

    run: Run
    statement: Statement
    steps: int = 1
    copies: ClassVar[bool] = True

    def __call__(self, at: Arrays, dtype: str) -> Arrays:
        """From inputs by name to outputs by name."""
        start, data, state = (
            read_only(
                (path.removeprefix(f"{group}."), array.view())
                for path, array in at.items()
                if path.startswith(f"{group}.")
            )
            for group in ("start", "data", "state")
        )
        asked = replace(_steps(self.statement, self.steps), start=start, data=data, state=state)
        result = self.run(asked, dtype, None)
        return {f"{g}.{name}": array for g in _GROUPS for name, array in getattr(result, g).items()}


def states(run: Run, statement: Statement, *, follow: bool = True) -> Iterator[State]:
    """The start, and, if one is to follow it, where one side stands after each part of its float64 run."""
    state = State(0, statement.start, statement.state)
    yield state
    if statement.training is None or not follow:
        return
    total = statement.training.steps
    for steps in [total // PARTS] * PARTS if total >= PARTS else [1] * total:
        state = advanced(run, statement, state, steps)
        yield state


def advanced(run: Run, statement: Statement, state: State, steps: int) -> State:
    """Where a run in float64 stands ``steps`` steps later."""
    at = replace(statement, start=state.parameters, state=state.optimizer)
    result = run(_steps(at, steps), "float64", None)
    return State(state.step + steps, result.converged, result.state)


def _steps(statement: Statement, steps: int) -> Statement:
    if statement.training is None:
        return statement
    return replace(statement, training=replace(statement.training, steps=steps))


@dataclass(frozen=True)
class _Curve:
    """One quantity along the run: largest absolute values of an entry at each row."""

    steps: np.ndarray
    apart: np.ndarray
    size: np.ndarray
    budget: np.ndarray
    errors: Mapping[str, np.ndarray]  # of each side's float32 run

    @property
    def first_excess(self) -> int | None:
        """The first step with a difference beyond its budget."""
        beyond = self.apart > self.budget
        return int(self.steps[beyond.argmax()]) if beyond.any() else None


class FreeRun:
    """Both sides' runs from the same start, and what their distance is made of."""

    def __init__(
        self,
        runs: Mapping[str, Run],
        statement: Statement,
        every: int | None,
        result: Callable[[str, str], Result],
    ) -> None:
        """Run both sides in both precisions, and in float64 from a start whose last bits are moved.

        Args:
            runs: by side.
            statement: to run.
            every: which steps to record.
            result: what a side computed from the statement as it is, by side and dtype.
        """
        self.runs, self.statement = runs, statement
        random = np.random.default_rng(0)
        start, data = (moved(t, RADIUS, "float64", random) for t in (statement.start, statement.data))
        nudged = replace(statement, start=start, data=data)
        self.results = {d: {side: result(side, d) for side in runs} for d in _DTYPES}
        self._trees = {d: {s: _rows(r) for s, r in rs.items()} for d, rs in self.results.items()}
        self._nudged = {side: _rows(run(nudged, "float64", every)) for side, run in runs.items()}
        self._unlike = {d: dict(mismatches(trees, d)) for d, trees in self._trees.items()}
        self._diverged = {dtype: self._divergence(dtype) for dtype in _DTYPES}
        self._curves = {
            name: self._curve(name)
            for name in self._trees["float64"]["imperative"]
            if not any(name in unlike for unlike in self._unlike.values())
        }
        excess = [c.first_excess for c in self._curves.values() if c.first_excess is not None]
        #: The first step with a difference beyond its budget, and whether a step is to blame for it.
        self.excess = min(excess, default=None)
        self.blamed = self.excess is not None and self._to_blame(self.excess, every)

    def findings(self, dtype: str) -> Iterator[Finding]:
        """What is said of every quantity of the run in ``dtype``, at the row with the largest share."""
        yield from self._unlike[dtype].values()
        unit = unit_roundoff(dtype)
        scaled = unit / unit_roundoff("float64")
        for name, curve in self._curves.items():
            left, right = (self._trees[dtype][side][name] for side in SIDES)
            apart, size = self._apart(name, dtype), _magnitude(left, right)
            with np.errstate(divide="ignore", invalid="ignore"):
                row = int(np.nan_to_num(apart / curve.budget).argmax())
            measured = gap(left[row], right[row])
            beyond = curve.first_excess is not None
            word: Word = "rounding" if gap(left, right).unequal else "identical"
            reason: Reason = ""
            if beyond and self.blamed:
                word = "different"
            elif not np.isfinite(apart).all():
                word, reason = "different", "not finite on one side"
            elif beyond:
                reason = "rounding that grew"
            elif measured.blank == measured.size:
                word, reason = "vacuous", "nothing finite"
            elif size.max() == 0:
                word, reason = "vacuous", "all zero"
            elif np.all(curve.budget >= curve.size):
                word, reason = "vacuous", "zero up to rounding"
            yield Finding(
                quantity=name,
                word=word,
                reason=reason,
                step=int(curve.steps[row]),
                absolute=np.float64(measured.absolute),
                scale=np.float64(size[row]),
                ulps=last_bits(measured, unit),
                budget=np.float64(curve.budget[row] * scaled),
                notices=np.float64(curve.budget[row] / curve.size[row] if curve.size[row] else np.inf),
                where=measured.where,
                lost_bits={
                    side: wrong_bits(error[row], curve.size[row], "float32")
                    for side, error in curve.errors.items()
                },
                evidence="both precisions",
                points=1,
            )

    def _curve(self, name: str) -> _Curve:
        upper, lower, nudged = (
            {side: tree[name] for side, tree in trees.items()}
            for trees in (self._trees["float64"], self._trees["float32"], self._nudged)
        )
        size = _magnitude(*upper.values())
        walk = chain(self.statement.start, self.statement.data)
        unit = unit_roundoff("float64")
        errors = {side: _by_row(lower[side], upper[side]) for side in SIDES}
        draws = [
            *(unit / unit_roundoff("float32") * error for error in errors.values()),
            *(walk * _by_row(nudged[side], upper[side]) for side in SIDES),
            walk * unit * size,
            np.full_like(size, walk * smallest_normal("float64")),
        ]
        # What has not been drawn is no rounding error: a run that overflows in one precision only.
        largest = np.max([np.where(np.isfinite(draw), draw, 0) for draw in draws], axis=0)
        return _Curve(
            steps=self._steps(len(size)),
            apart=self._apart(name, "float64"),
            size=size,
            budget=SAFETY * np.maximum.accumulate(largest),
            errors=errors,
        )

    def _apart(self, name: str, dtype: str) -> np.ndarray:
        """How far the sides are apart at each row; not at all where both of them have diverged."""
        apart = _by_row(*(self._trees[dtype][side][name] for side in SIDES))
        return np.where(self._steps(len(apart)) >= self._diverged[dtype], 0, apart)

    def _divergence(self, dtype: str) -> float:
        """The first step that is not finite on either side, if both end so; infinity otherwise.

        In which order a diverging run overflows to infinity and to NaN is no property of what it computes.
        """
        firsts = []
        for tree in self._trees[dtype].values():
            bad = [
                self._steps(len(a))[~np.isfinite(a).reshape(len(a), -1).all(axis=1)] for a in tree.values()
            ]
            ends = [name for name, array in tree.items() if not np.isfinite(array[-1]).all()]
            if not any(name.startswith(("converged.", "final.")) for name in ends):
                return np.inf
            firsts.append(min(steps[0] for steps in bad if steps.size))
        return float(min(firsts))

    def _steps(self, rows: int) -> np.ndarray:
        """The steps that the rows of a quantity belong to; what has one row belongs to the last."""
        history = self.results["float64"]["imperative"].history
        if history is not None and len(history.steps) == rows:
            return history.steps
        return np.array([self.statement.require_training().steps])

    def _to_blame(self, step: int, every: int | None) -> bool:
        """Whether a step differs when both sides take it from one state, be it that of either side.

        So it does if what a side recorded of the step is not what it computes.
        """
        statement = self.statement
        if every != 1:  # the first recorded step beyond the budget need not be the first one
            fine = FreeRun(self.runs, statement, 1, lambda side, dtype: self.runs[side](statement, dtype, 1))
            return fine.blamed or fine.excess is None
        calls = {side: StepFunction(run, statement) for side, run in self.runs.items()}
        start = State(0, statement.start, statement.state)
        for side, run in self.runs.items():
            at = inputs(statement, advanced(run, statement, start, step - 1))
            found = {f.quantity: f for f in examine(calls["imperative"], calls["functional"], at).higher}
            if any(finding.word == "different" for finding in found.values()):
                return True
            for name, computed in calls[side](at, "float64").items():
                for recorded in self._recorded(side, name, step):
                    if gap(computed, recorded).absolute > found[name].budget:
                        return True
        return False

    def _recorded(self, side: str, name: str, step: int) -> Iterator[np.ndarray]:
        """What a side recorded of an output of ``step``, and what it returned of it at its end."""
        tree = self._trees["float64"][side]
        if name in self._curves:
            yield from tree[name][self._curves[name].steps == step]
        final = name.replace("converged.", "final.")
        if step == self.statement.require_training().steps and name != final and final in self._curves:
            yield tree[final][0]

    def dynamics(self, dtype: str) -> Dynamics | None:
        """What the free run says of itself in ``dtype``; None if its parameters cannot be compared."""
        unit = unit_roundoff("float64")
        names = [name for name in self._curves if name.startswith("converged.")]
        if not names:
            return None
        apart = np.max(
            [_by_row(self._nudged[s][n], self._trees["float64"][s][n]) for n in names for s in SIDES], axis=0
        )
        size = np.max([self._curves[name].size for name in names], axis=0)
        steps = self._curves[names[0]].steps
        amplification = np.divide(apart, 2 * unit * size, out=np.zeros_like(apart), where=size > 0)
        grown = (amplification > 0) & np.isfinite(amplification)
        growth = 1.0
        if np.count_nonzero(grown) > 1:
            growth = float(np.exp(np.polyfit(steps[grown], np.log(amplification[grown]), 1)[0]))
        spent = amplification * 2 * unit_roundoff(dtype) >= 1
        return Dynamics(
            steps=steps,
            amplification=amplification,
            growth=np.float64(growth),
            horizon=int(steps[spent.argmax()]) if spent.any() else None,
            parted=None if self.blamed else self.excess,
            parameters=sum(array.size for array in self.statement.start.values()),
            identified=self._identified,
        )

    @cached_property
    def _identified(self) -> int:
        """The rank of the Jacobian of what the imperative side computes at its converged parameters."""
        call = StepFunction(self.runs["imperative"], self.statement, steps=0)
        converged = self.results["float64"]["imperative"].converged
        at = inputs(self.statement, State(0, converged, {}))
        unit = unit_roundoff("float64")
        columns = []
        for name, array in converged.items():
            for index in np.ndindex(array.shape):
                # The width at which truncation (width²) and rounding (unit / width) balance.
                width = np.cbrt(unit) * max(1.0, abs(array[index]))
                ends = []
                for shift in (-width, width):
                    shifted = array.copy()
                    shifted[index] += shift
                    outputs = call({**at, f"start.{name}": shifted}, "float64")
                    ends.append([a.ravel() for n, a in outputs.items() if n.startswith("outcome.")])
                columns.append((np.concatenate(ends[1]) - np.concatenate(ends[0])) / (2 * width))
        jacobian = np.stack(columns, axis=1)
        if not np.isfinite(jacobian).all():
            return 0
        # Singular values below the error of the differences say nothing.
        return int(np.linalg.matrix_rank(jacobian, rtol=max(jacobian.shape) * unit ** (2 / 3)))


def _rows(result: Result) -> dict[str, np.ndarray]:
    """Every recorded quantity with one row a step, under the name that it has as an output of the step.

    What the run returns at its end has one row, and a name of its own.
    """
    last = {"final": result.converged, "outcome": result.outcome}
    rows = {f"{g}.{name}": array[None] for g, tree in last.items() for name, array in tree.items()}
    if result.history is None:
        return rows | {f"converged.{name}": array[None] for name, array in result.converged.items()}
    for name in result.values.keys() & result.outcome.keys():
        rows[f"values.{name}"] = result.history.losses
    rows |= {f"gradients.{name}": array for name, array in result.history.gradients.items()}
    return rows | {f"converged.{name}": array for name, array in result.history.parameters.items()}


def _by_row(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The largest absolute difference of an entry, at every row; infinite where only one is finite."""
    left, right = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (left, right))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(left - right)
    apart[np.isnan(apart)] = np.inf
    apart[(left == right) | (np.isnan(left) & np.isnan(right))] = 0
    largest: np.ndarray = apart.max(axis=1, initial=0.0)
    return largest


def _magnitude(*arrays: np.ndarray) -> np.ndarray:
    """The largest finite magnitude of an entry, at every row."""
    sizes = [np.abs(np.asarray(a, dtype=np.float64)).reshape(len(a), -1) for a in arrays]
    largest: np.ndarray = np.max(
        [np.where(np.isfinite(s), s, 0).max(axis=1, initial=0.0) for s in sizes], axis=0
    )
    return largest
