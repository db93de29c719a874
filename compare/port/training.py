"""Trains both sides of a pair with optimizers that mean the same, and puts the run before the judge."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np

import scenarios
from compare.judge import Trial, Verdict
from compare.port.mapping import slices, to_functional
from compare.twins import Twins
from scenarios import Device, Dtype, Result, Statement
from scenarios.port import Training, of_float
from scenarios.types import Arrays, Twin

if TYPE_CHECKING:
    from compare.port.check import Pair

#: What a state calls whatever is carried from step to step and not trained.
_BUFFERS = "buffers"


@dataclass(frozen=True, eq=False)
class Trained:
    """What is said of a training run.

    Attributes:
        training: the optimizer, its options and the number of steps.
        verdict: the judge's.
        parted: the first step that differs; None if none does.
    """

    training: Training
    verdict: Verdict
    parted: int | None


class Run:
    """Both sides of a pair, ready to be trained."""

    def __init__(self, pair: "Pair", training: Training) -> None:
        """Train nothing yet.

        Args:
            pair: that has a loss.
            training: how.
        """
        self.pair, self.training = pair, training
        start, by = pair.statement.start, pair.map
        #: What changes from step to step and is not trained, by the imperative side's names.
        self._carried = {p.imperative for p in by.pieces if pair.updates} & set(pair.left.buffers)
        self._fixed = {piece.functional for piece in by.pieces if piece.imperative not in start}
        used = set(pair.right.order(pair.arguments.arrays))
        alone = {entry.name for entry in by.left_over["functional"]} & used
        copies = {
            path for name, paths in pair.copies("imperative").items() if name in start for path in paths
        }
        #: Functional arrays that a step could lead away from what the imperative ones say of them.
        self._astray = sorted(copies | {n for n in alone if of_float(pair.right.parameters[n])})
        # No formula that the judge knows is that of this optimizer, whatever its options.
        told = scenarios.Training("other", training.lr, training.steps)
        sides = (SimpleNamespace(run=run) for run in (self._imperative, self._functional))
        twins = Twins(replace(pair.statement, training=told), *(cast(Twin, side) for side in sides))
        self._trial = Trial(twins, pair.device, every=1)

    def verdict(self, dtype: Dtype) -> Trained:
        """Judge the run in ``dtype``."""
        found = self._trial.verdict(dtype)
        return Trained(self.training, found, self._trial.parted if found.word == "different" else None)

    def _imperative(
        self, statement: Statement, *, dtype: Dtype, device: Device, every: int | None = 1
    ) -> Result:
        held, arrays, state = self._taken(statement)
        result = self.pair.left.train(
            held,
            arrays,
            self.training,
            state=_joined(state),
            steps=statement.require_training().steps,
            dtype=dtype,
            device=device,
            every=every,
        )
        told = {n: a.astype(dtype) if of_float(a) else a for n, a in {**held, **result.converged}.items()}
        return self._given(result, result.state, self.pair.converted(told) if self._astray else {}, dtype)

    def _functional(
        self, statement: Statement, *, dtype: Dtype, device: Device, every: int | None = 1
    ) -> Result:
        held, arrays, state = self._taken(statement)
        whole = {name: np.zeros(array.shape) for name, array in held.items()}
        laid = {
            group: to_functional({**whole, **named}, self.pair.map) if group != "count" else named
            for group, named in state.items()
        }
        result = self.pair.right.train(
            self.pair.converted(held),
            arrays,
            self.training,
            state=_joined(laid),
            steps=statement.require_training().steps,
            fixed=self._fixed,
            dtype=dtype,
            device=device,
            every=every,
        )
        back = {
            group: self.pair.back(named) if group != "count" else named
            for group, named in _grouped(result.state).items()
        }
        converged = {n: a for n, a in self.pair.back(result.converged).items() if n in statement.start}
        for entry in self.pair.map.left_over["imperative"]:
            if entry.name in converged:  # a part of it, which stays where it was
                part = slices(entry.block)
                converged[entry.name][part] = statement.start[entry.name][part]
        named = replace(result, gradients=self.pair.slopes(result.gradients), converged=converged)
        return self._given(named, _joined(back), result.converged, dtype)

    def _taken(self, statement: Statement) -> tuple[Arrays, Arrays, dict[str, dict[str, np.ndarray]]]:
        """What is held, as it has become; the arguments; and what the optimizer remembers, by group."""
        parameters, arrays = self.pair.split(statement)
        state = _grouped(statement.state)
        return {**parameters, **state.pop(_BUFFERS, {})}, arrays, state

    def _given(self, result: Result, state: Arrays, there: Arrays, dtype: Dtype) -> Result:
        """The result with what is carried on, and with where the functional arrays should be, or are."""
        kept = _grouped(state)
        kept[_BUFFERS] = {n: a for n, a in kept.get(_BUFFERS, {}).items() if n in self._carried}
        astray = {f"{path} of the functional side": there[path].astype(dtype) for path in self._astray}
        return replace(result, state=_joined(kept), outcome={**result.outcome, **astray})


def _grouped(state: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """``first.w`` is ``w`` of the group ``first``; ``count`` is a group with one nameless entry."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for path, array in state.items():
        group, _, name = path.partition(".")
        groups.setdefault(group, {})[name] = array
    return groups


def _joined(groups: Mapping[str, Arrays]) -> Arrays:
    return {f"{g}.{n}" if n else g: array for g, named in groups.items() for n, array in named.items()}
