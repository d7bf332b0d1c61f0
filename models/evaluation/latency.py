"""Statistics of latencies that were measured in turns: medians with spread, ratios with doubt."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it, in ms."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times slower the one is than the other, and within what the truth lies.

    Attributes:
        value: the ratio of the medians.
        low: lower end of the bootstrap interval at `CONFIDENCE`.
        high: upper end.
    """

    value: float
    low: float
    high: float


def spread(samples_ms: Doubles) -> Spread:
    """Return median and quartiles of samples (R,)."""
    lower, median, upper = np.percentile(samples_ms, (25, 50, 75))
    return Spread(float(median), float(lower), float(upper))


def ratio_of_medians(
    slower_ms: Doubles, faster_ms: Doubles, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Ratio:
    """Return the ratio of two medians with its bootstrap interval.

    Rounds are drawn with replacement, the same for both: what slowed a whole round down slowed
    both of them.

    Args:
        slower_ms: shape (R,), one sample a round.
        faster_ms: shape (R,), of the same rounds.
        rng: the source of the draws.
        resamples: how many.

    Raises:
        ValueError: the samples are not of the same rounds, or there are none.
    """
    if slower_ms.shape != faster_ms.shape or slower_ms.ndim != 1 or not len(slower_ms):
        raise ValueError(f"samples {slower_ms.shape} and {faster_ms.shape} must be one (R,), R ≥ 1")
    rounds = rng.integers(0, len(slower_ms), (resamples, len(slower_ms)))
    ratios = np.median(slower_ms[rounds], axis=1) / np.median(faster_ms[rounds], axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(ratios, (tail, 100 - tail))
    return Ratio(float(np.median(slower_ms) / np.median(faster_ms)), float(low), float(high))
