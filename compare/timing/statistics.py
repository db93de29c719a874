"""From raw samples to figures that may be quoted, or to the reason why they may not."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

#: An interval whose ends are this factor apart does not carry two digits: the figure is noisy.
NOISY = 1.25

#: Of the intervals.
CONFIDENCE = 0.95

#: Bootstrap resamples; the ends of an interval move by less than a tenth of its width from seed to seed.
RESAMPLES = 2000


#: Samples in which a trend is looked for.
RECENT = 8


@dataclass(frozen=True)
class Estimate:
    """A median and its bootstrap interval.

    Attributes:
        median: of the samples.
        low, high: the ends of the interval (percentile bootstrap, seeded: the same samples give the same).
    """

    median: float
    low: float
    high: float

    @property
    def noisy(self) -> bool:
        """Whether the interval is too wide for a figure to be quoted."""
        return not self.low > 0 or self.high / self.low > NOISY

    @property
    def decided(self) -> bool:
        """For a ratio: whether the interval leaves out 1, so that one is really the faster."""
        return self.low > 1 or self.high < 1


def estimate(samples: Sequence[float]) -> Estimate:
    """The median of at least one sample, with its interval; of one alone the interval is everything."""
    return _estimate(tuple(samples))


@cache  # a table, a chart and an overview ask for the same, and resampling takes its time
def _estimate(samples: tuple[float, ...]) -> Estimate:
    values = np.asarray(samples, dtype=float)
    if len(values) == 1:
        return Estimate(float(values[0]), 0.0, float("inf"))
    if np.ptp(values) == 0:
        return Estimate(float(values[0]), float(values[0]), float(values[0]))
    # What scipy.stats.bootstrap does, which takes longer to import than a whole page to draw.
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(values[drawn], axis=1), [tail, 1 - tail])
    return Estimate(float(np.median(values)), float(low), float(high))


def ratios(left: Sequence[float], right: Sequence[float]) -> tuple[float, ...]:
    """``left / right``, round by round: what slows one round down slows down both."""
    return tuple(a / b for a, b in zip(left, right, strict=True))


def stationary(samples: Sequence[float]) -> bool:
    """Whether the last samples show no trend (Kendall's tau)."""
    if len(samples) < RECENT:
        return False
    from scipy import stats

    last = np.asarray(samples[-RECENT:])
    return bool(np.ptp(last) == 0 or stats.kendalltau(np.arange(RECENT), last).pvalue > 1 - CONFIDENCE)


@dataclass(frozen=True)
class Growth:
    """How a cost grows with a size: ``cost ≈ factor · size ** exponent``, fitted through the largest sizes.

    Attributes:
        exponent: slope of the logarithms (Theil–Sen).
        low, high: the ends of its interval.
    """

    exponent: float
    low: float
    high: float


def growth(sizes: Sequence[float], costs: Sequence[float]) -> Growth:
    """Fit the exponent through at least three points."""
    from scipy import stats

    slope, _, low, high = stats.theilslopes(np.log(costs), np.log(sizes), alpha=CONFIDENCE)
    return Growth(float(slope), float(low), float(high))


def crossover(sizes: Sequence[float], left: Sequence[float], right: Sequence[float]) -> float | None:
    """The size from which on ``left`` is the faster, between sizes interpolated in logarithms.

    Returns:
        The smallest size if it always is, None if it is not at the largest.
    """
    ahead = np.log(right) - np.log(left)
    if ahead[-1] <= 0:
        return None
    behind = np.flatnonzero(ahead <= 0)
    if not behind.size:
        return float(sizes[0])
    k = int(behind[-1])
    share = -ahead[k] / (ahead[k + 1] - ahead[k])
    logs = np.log(sizes)
    return float(np.exp(logs[k] + share * (logs[k + 1] - logs[k])))
