"""The truth beside the twin: closed forms, central differences, and the figures that the note prints.

Two sides that agree can share an error, so each is held against what neither computed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from compare.differences import LIMIT, ulp
from scenarios import Arrays, Published, Result, Statement
from scenarios.types import Objective

Origin = Literal["closed form", "central differences", "limit of training"]
_TREES = ("gradients", "converged")


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


def distances(statement: Statement, results: Mapping[str, Result], *, judged: bool) -> Iterator[Distance]:
    """Hold every side against the statement's truth; gradients without one, against central differences."""
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
        for side, result in results.items():
            value = _at(result, path, truth.shape)
            with np.errstate(invalid="ignore"):
                gap = np.abs(value.astype(np.float64) - truth)
            gap = np.where(np.isnan(gap), np.inf, gap)
            allowed = LIMIT * ulp(size, value.dtype) + uncertainty
            yield Distance(
                quantity=path,
                side=side,
                origin=origin,
                absolute=gap.max(),
                relative=np.divide(gap.max(), size) if size else np.float64(np.nan),
                uncertainty=uncertainty.max(),
                agrees=bool(np.all(gap <= allowed)) if judged and origin != "limit of training" else None,
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
    centre = objective(point)
    found = {}
    for name, array in point.items():
        gradient, uncertainty = np.zeros_like(array), np.zeros_like(array)
        for index in np.ndindex(array.shape):
            # The width at which truncation (width²) and rounding (1/width) of a difference balance.
            width = np.cbrt(unit) * max(1.0, abs(array[index]))
            left2, left, right, right2 = (
                _moved(objective, point, name, index, n * width) for n in (-2, -1, 1, 2)
            )
            narrow, wide = (right - left) / (2 * width), (right2 - left2) / (4 * width)
            bend, bend2 = (right - 2 * centre + left) / width, (right2 - 2 * centre + left2) / (2 * width)
            gradient[index] = (4 * narrow - wide) / 3
            rounding = LIMIT * unit * max(map(abs, (left2, left, centre, right, right2))) / width
            uncertainty[index] = abs(narrow - wide) + abs(bend2 - 2 * bend) + rounding
        found[name] = gradient, uncertainty
    return found


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
