"""The truth beside the twin: closed forms, central differences, and the figures that the note prints.

Two sides that agree can share an error, so each is held against what neither computed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from compare.differences import LIMIT, ulp
from scenarios import Arrays, History, Published, Result, Statement, Training
from scenarios.types import Objective

Origin = Literal[
    "closed form",
    "central differences",
    "objective at its own parameters",
    "the optimizer's formula",
    "limit of training",
]
_TREES = ("gradients", "converged")
_START = ("values", "gradients")
_SAMPLES = 200


@dataclass(frozen=True)
class Distance:
    """How far one side is from the truth, or from what training tends to.

    Attributes:
        quantity: dotted path into the result.
        side: ``imperative`` or ``functional``.
        origin: where the truth comes from.
        absolute: largest absolute distance of an entry.
        relative: that over the largest magnitude of the truth, for a gradient or parameters that of the
            whole tree.
        uncertainty: how well the truth itself is known, as an absolute number.
        agrees: whether it is within the limit of rounding and the truth's own uncertainty; None if that is
            not judged but only measured, as for every ``limit`` of training.
    """

    quantity: str
    side: str
    origin: Origin
    absolute: np.float64
    relative: np.float64
    uncertainty: np.float64
    agrees: bool | None


@dataclass(frozen=True)
class PublishedCheck:
    """A printed figure of the lecture note beside what each side computed."""

    quantity: str
    printed: str
    relation: str
    computed: Mapping[str, np.float64]
    agrees: bool


def distances(statement: Statement, results: Mapping[str, Result], *, settled: bool) -> Iterator[Distance]:
    """Hold every side against the truth: what it starts from, what each step should do, where it should end.

    Args:
        statement: knows closed forms, an objective for central differences, and the limit of training.
        results: of each side.
        settled: whether what lies beyond the start may be judged against a closed form.
    """
    exact = np.zeros(())
    known: dict[str, tuple[Origin, np.ndarray, np.ndarray]] = {
        path: ("closed form", truth, exact) for path, truth in statement.truth.items()
    }
    if statement.objective is not None and any(f"gradients.{name}" not in known for name in statement.start):
        for name, estimate in central_differences(statement.objective, statement.start).items():
            known.setdefault(f"gradients.{name}", ("central differences", *estimate))
    known |= {path: ("limit of training", limit, exact) for path, limit in statement.limit.items()}
    for path, (origin, truth, uncertainty) in known.items():
        group = path.partition(".")[0]
        # One gradient, or one set of parameters, is one vector: an entry of it may be zero.
        family = [
            t for p, (_, t, _) in known.items() if p == path or (group in _TREES and p.startswith(group))
        ]
        size = max(float(np.abs(t).max()) for t in family)
        judged = origin != "limit of training" and (settled or group in _START)
        for side, result in results.items():
            value = _at(result, path, truth.shape)
            yield _distance(path, side, origin, value, truth, size, uncertainty, judged=judged)
    for side, result in results.items():
        yield from _own_losses(statement, side, result)
        yield from _own_steps(statement, side, result)


def _own_losses(statement: Statement, side: str, result: Result) -> Iterator[Distance]:
    """The losses that a side reports, against the objective at the parameters that it reports."""
    objective = statement.objective
    origin: Origin = "objective at its own parameters"
    if objective is None or statement.start.keys() - result.converged.keys():
        return
    for name in result.values.keys() & result.outcome.keys():
        size = float(np.abs(result.values[name]).max(initial=0.0))
        value, own = result.outcome[name], np.array(objective(_float64(result.converged)))
        yield _distance(f"outcome.{name}", side, origin, value, own, size, np.zeros(()), judged=True)
        history = result.history
        if history is None or not _consecutive(history):
            continue
        steps = len(history.steps)
        # Some two hundred steps, the first and the last among them: the objective is called one by one.
        rows = sorted({*range(0, steps, -(-steps // _SAMPLES)), steps - 1})
        before = [{key: p[row - 1] for key, p in history.parameters.items()} for row in rows[1:]]
        own = np.array([objective(_float64(at)) for at in (statement.start, *before)])
        size = max(size, float(np.abs(own).max(initial=0.0)))
        value = history.losses[rows]
        yield _distance("history.losses", side, origin, value, own, size, np.zeros(()), judged=True)


def _own_steps(statement: Statement, side: str, result: Result) -> Iterator[Distance]:
    """The parameters of each step, against the optimizer's formula from the gradients of the steps so far."""
    history, training = result.history, statement.training
    if history is None or training is None or not _consecutive(history):
        return
    size = max(float(np.abs(p).max(initial=0.0)) for p in history.parameters.values())
    for name, after in history.parameters.items():
        before = np.concatenate([statement.start[name][None], after[:-1]]).astype(np.float64)
        expected = before - updates(training, history.gradients[name].astype(np.float64))
        yield _distance(
            f"history.parameters of {name}",
            side,
            "the optimizer's formula",
            after,
            expected,
            size,
            np.zeros(()),
            judged=True,
        )


def updates(training: Training, gradients: np.ndarray) -> np.ndarray:
    """What each step subtracts from one parameter, ``(steps, *shape)``, from its gradients since step 1."""
    if training.optimizer == "gradient descent":
        return training.learning_rate * gradients
    first, second = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
    taken = np.empty_like(gradients)
    for n, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        taken[n - 1] = first / (1 - 0.9**n) / (np.sqrt(second / (1 - 0.999**n)) + 1e-8)
    return training.learning_rate * taken


def _consecutive(history: History) -> bool:
    """Whether the recorded steps are 1, 2, 3, …, with everything they left behind."""
    steps = len(history.steps)
    complete = bool(history.parameters) and history.parameters.keys() == history.gradients.keys()
    return complete and steps > 0 and bool(history.steps[-1] == steps)


def _float64(tree: Arrays) -> dict[str, np.ndarray]:
    return {name: np.asarray(array, dtype=np.float64) for name, array in tree.items()}


def _distance(
    path: str,
    side: str,
    origin: Origin,
    value: np.ndarray,
    truth: np.ndarray,
    size: float,
    uncertainty: np.ndarray,
    *,
    judged: bool,
) -> Distance:
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(value.astype(np.float64) - truth)
    gap = np.where(np.isnan(gap), np.inf, gap)
    allowed = LIMIT * ulp(size, value.dtype) + uncertainty
    return Distance(
        quantity=path,
        side=side,
        origin=origin,
        absolute=gap.max(),
        relative=np.divide(gap.max(), size) if size else np.float64(np.nan),
        uncertainty=uncertainty.max(),
        agrees=bool(np.all(gap <= allowed)) if judged else None,
    )


def central_differences(objective: Objective, at: Arrays) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gradient of a float64 function by Richardson-extrapolated central differences.

    Args:
        objective: from parameters by name to a scalar.
        at: the point, float64 arrays by name.

    Returns:
        By name, the gradient and an estimate of its error, entry by entry: what extrapolation still changed,
        how far the slopes to the left and to the right part other than smoothly (a kink nearby), and the
        rounding of ``objective`` over the width of a step.
    """
    point = {name: np.array(array, dtype=np.float64) for name, array in at.items()}
    unit = np.finfo(np.float64).eps
    centre, noise = objective(point), _noise(objective, point)
    found = {}
    for name, array in point.items():
        gradient, uncertainty = np.zeros_like(array), np.zeros_like(array)
        for index in np.ndindex(array.shape):
            # The width at which truncation (width²) and rounding (1/width) of a difference balance.
            # A power of two, so that stepping by it rounds as little as can be.
            width = 2.0 ** np.round(np.log2(np.cbrt(unit) * max(1.0, abs(array[index]))))
            left2, left, right, right2 = (
                _moved(objective, point, name, index, n * width) for n in (-2, -1, 1, 2)
            )
            narrow, wide = (right - left) / (2 * width), (right2 - left2) / (4 * width)
            bend, bend2 = (right - 2 * centre + left) / width, (right2 - 2 * centre + left2) / (2 * width)
            gradient[index] = (4 * narrow - wide) / 3
            rounding = LIMIT * max(unit * max(map(abs, (left2, left, centre, right, right2))), noise) / width
            uncertainty[index] = abs(narrow - wide) + abs(bend2 - 2 * bend) + rounding
        found[name] = gradient, uncertainty
    return found


def _noise(objective: Objective, point: dict[str, np.ndarray]) -> float:
    """How much ``objective`` scatters between neighbouring points: its rounding, cancellation included."""
    unit = np.finfo(np.float64).eps
    nearby = [
        objective({name: np.asarray(p + k * unit * np.maximum(1, np.abs(p))) for name, p in point.items()})
        for k in range(-4, 5)
    ]
    return float(np.abs(np.diff(nearby, n=2)).max())


def _moved(
    objective: Objective, point: dict[str, np.ndarray], name: str, index: tuple[int, ...], by: float
) -> float:
    array = point[name].copy()
    array[index] += by
    return objective({**point, name: array})


def check_published(figure: Published, results: Mapping[str, Result]) -> PublishedCheck:
    """Compare a printed figure with both sides, to half a unit of its last printed digit."""
    computed = {side: _scalar(result, figure.quantity) for side, result in results.items()}
    printed = Decimal(figure.printed)
    half_unit = Decimal(5).scaleb(printed.as_tuple().exponent - 1)  # type: ignore[operator]  # finite: see Published
    return PublishedCheck(
        quantity=figure.quantity,
        printed=figure.printed,
        relation=figure.relation,
        computed=computed,
        agrees=all(
            np.isfinite(value)
            and (
                Decimal(float(value)) <= printed + half_unit
                if figure.relation == "at most"
                else abs(Decimal(float(value)) - printed) <= half_unit
            )
            for value in computed.values()
        ),
    )


def _at(result: Result, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """What the result holds at ``path``; NaNs, which agree with no truth, if that is not of ``shape``."""
    group, _, name = path.partition(".")
    array: np.ndarray | None = getattr(result, group).get(name)
    return np.full(shape, np.nan) if array is None or array.shape != shape else array


def _scalar(result: Result, path: str) -> np.float64:
    """The one entry that the result holds at ``path``; NaN if it holds none, or several."""
    group, _, name = path.partition(".")
    array: np.ndarray = getattr(result, group).get(name, np.zeros(0))
    return np.float64(array.item() if array.size == 1 else np.nan)
