"""The truth beside the twin: closed forms, fifty digits, complex steps, and the figures that the note prints.

Two sides that agree can share an error, so each is held against what neither computed. How far a side may be
from the truth is what its own rounding accounts for, as :mod:`compare.judge.rounding` found it.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

import mpmath
import numpy as np

from compare.judge.precision import chain, unit_roundoff
from compare.judge.rounding import SAFETY
from compare.judge.verdict import SIDES, Distance, Origin, PublishedCheck
from scenarios import Arrays, History, Published, Result, Statement, Training
from scenarios.types import Objective, Scalar

Known = tuple[Origin, np.ndarray]

#: How many steps of a run are held against the objective, which is called for them one by one.
_SAMPLES = 200


def known(statement: Statement, parameters: Arrays, step: int, outputs: Arrays) -> dict[str, Known]:
    """What is known of a state, by dotted path: where it comes from, and the true value.

    Args:
        statement: knows closed forms for its start, and an objective for everywhere.
        parameters: of the state.
        step: of the state.
        outputs: of a side, by dotted path; a value that is also an outcome is the objective's.
    """
    truths: dict[str, Known] = {}
    if not step:
        truths |= {path: ("closed form", truth) for path, truth in statement.truth.items()}
    if statement.objective is not None:
        origin, value, gradients = differentiated(statement.objective, parameters)
        for name, gradient in gradients.items():
            truths.setdefault(f"gradients.{name}", (origin, gradient))
        for path in outputs:
            group, _, name = path.partition(".")
            if group == "values" and f"outcome.{name}" in outputs:
                truths.setdefault(path, (origin, value))
    return truths


def at_state(
    truths: Mapping[str, Known],
    step: int | None,
    outputs: Mapping[str, Arrays],
    budgets: Mapping[str, float],
) -> Iterator[Distance]:
    """Hold what each side computes from one state against the truth.

    Args:
        truths: what is known of the state.
        step: of the state; None if nothing is trained.
        outputs: by side, by dotted path.
        budgets: how far rounding may move a quantity, by dotted path.
    """
    for path, (origin, truth) in truths.items():
        for side in SIDES:
            value = outputs[side].get(path)
            if value is None or value.shape != truth.shape:
                value = np.full(truth.shape, np.nan)
            yield _distance(path, side, origin, step, value, truth, budgets.get(path, 0.0))


def differentiated(objective: Objective, at: Arrays) -> tuple[Origin, np.ndarray, dict[str, np.ndarray]]:
    """Value and gradient of an objective, far beyond the rounding of float64 or at it.

    Scalar parameters are differentiated in fifty digits. A gradient by arrays would take long so, and is
    taken by complex steps, which cancel nothing (W. Squire and G. Trapp, SIAM Review 40, 1998). NumPy orders
    complex numbers by their real parts first, so a maximum takes the branch that it takes on the real line.

    Args:
        objective: from parameters by name to a scalar, in the arithmetic of its arguments.
        at: the point, by name.

    Returns:
        Where they come from, the value, and the gradient by name in the shape of its parameter.
    """
    point = {name: np.asarray(array, dtype=np.float64) for name, array in at.items()}
    if all(array.size == 1 for array in point.values()):
        with mpmath.workdps(50):
            return "fifty digits", *_in_digits(objective, point)
    width = np.sqrt(np.finfo(np.float64).tiny)
    gradients = {name: np.zeros_like(array) for name, array in point.items()}
    for name, array in point.items():
        for index in np.ndindex(array.shape):
            stepped = array.astype(np.complex128)
            stepped[index] += 1j * width
            gradients[name][index] = np.imag(objective({**point, name: stepped})) / width
    return "complex step", np.array(float(np.real(objective(point)))), gradients


def _in_digits(objective: Objective, point: Arrays) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Value and central differences in mpmath's present precision; their error is far below float64's."""

    def at(name: str = "", shift: object = 0) -> Scalar:
        exact = {
            key: np.full(array.shape, mpmath.mpf(array.item()) + (shift if key == name else 0), dtype=object)
            for key, array in point.items()
        }
        return np.asarray(objective(exact)).item()

    width = mpmath.mpf(10) ** (-mpmath.mp.dps // 3)
    gradients = {
        name: np.full(array.shape, float((at(name, width) - at(name, -width)) / (2 * width)))
        for name, array in point.items()
    }
    return np.array(float(at())), gradients


def along_run(statement: Statement, side: str, result: Result, dtype: str) -> Iterator[Distance]:
    """Hold what a side reports of its run against the objective and the optimizer's formula."""
    for path, limit in statement.limit.items():
        value = _at(result, path, limit.shape)
        yield _distance(path, side, "limit of training", None, value, limit, None)
    yield from _own_losses(statement, side, result, dtype)
    yield from _own_steps(statement, side, result, dtype)


def _own_losses(statement: Statement, side: str, result: Result, dtype: str) -> Iterator[Distance]:
    """The losses that a side reports, against the objective at the parameters that it reports."""
    objective = statement.objective
    if objective is None or statement.start.keys() - result.converged.keys():
        return
    unit = unit_roundoff(dtype) * chain(statement.start, statement.data)
    for name in result.values.keys() & result.outcome.keys():
        at = _float64(result.converged)
        _, truth, gradients = differentiated(objective, at)
        budget = SAFETY * unit * _sensitivity(truth, at, gradients)
        origin: Origin = "objective at its own parameters"
        yield _distance(f"outcome.{name}", side, origin, None, result.outcome[name], truth, budget)
        history = result.history
        if history is None or not _consecutive(history):
            continue
        steps = len(history.steps)
        rows = sorted({*range(0, steps, -(-steps // _SAMPLES)), steps - 1})
        points = [
            _float64(statement.start if row == 0 else {k: p[row - 1] for k, p in history.parameters.items()})
            for row in rows
        ]
        own = np.array([float(np.real(objective(point))) for point in points])
        budgets = [
            SAFETY * unit * _sensitivity(value, point, {k: g[row] for k, g in history.gradients.items()})
            for value, point, row in zip(own, points, rows, strict=True)
        ]
        yield _distance("history.losses", side, origin, None, history.losses[rows], own, np.array(budgets))


def _sensitivity(value: float | np.ndarray, at: Arrays, gradients: Arrays) -> float:
    """How far relative errors of one in each parameter and in the result move a value, to first order."""
    moves = [np.abs(at[name].astype(np.float64) * gradient).sum() for name, gradient in gradients.items()]
    return float(abs(value) + np.nansum(moves))


def _own_steps(statement: Statement, side: str, result: Result, dtype: str) -> Iterator[Distance]:
    """The parameters of each step, against the optimizer's formula from the gradients of the steps so far."""
    history, training = result.history, statement.training
    if history is None or training is None or training.optimizer == "other" or not _consecutive(history):
        return
    unit = unit_roundoff(dtype) * chain(statement.start, statement.data)
    for name, after in history.parameters.items():
        before = np.concatenate([statement.start[name][None], after[:-1]]).astype(np.float64)
        expected = before - updates(training, history.gradients[name].astype(np.float64))
        sizes = np.where(np.isfinite(expected), np.abs(expected), 0).reshape(len(expected), -1)
        # A parameter on its way through zero carries the rounding of what it has been.
        largest = np.maximum.accumulate(sizes.max(axis=1, initial=0.0))
        budget = SAFETY * unit * largest.reshape(-1, *[1] * (expected.ndim - 1))
        origin: Origin = "the optimizer's formula"
        yield _distance(f"history.parameters of {name}", side, origin, None, after, expected, budget)


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
    step: int | None,
    value: np.ndarray,
    truth: np.ndarray,
    budget: float | np.ndarray | None,
) -> Distance:
    """Measure one quantity; without a budget it is not judged."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(np.asarray(value, dtype=np.float64) - truth)
    apart = np.where(np.isnan(apart), np.inf, apart)
    apart[~np.isfinite(truth) & ~np.isfinite(value)] = 0  # a run that diverges
    size = float(np.abs(truth).max(initial=0.0))
    return Distance(
        quantity=path,
        side=side,
        origin=origin,
        step=step,
        absolute=np.float64(apart.max(initial=0.0)),
        relative=np.float64(apart.max(initial=0.0) / size if size else np.nan),
        budget=np.float64(0 if budget is None else np.max(budget)),
        agrees=None if budget is None else bool(np.all(apart <= budget)),
    )


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
