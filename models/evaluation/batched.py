"""The ensemble's rules over many pictures at once, as fast as evaluation needs them.

`models.ensemble.combine` serves one frame. Both its rules add one term a variant and turn the sum
into probabilities, so here the term of each variant is worked out once for all pictures and every
subset of variants is a sum of such terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from models.rules import Rule

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class RankedScores:
    """One variant's scores, ordered once so that its answer at any k is a slice.

    Attributes:
        scores: shape (N, C), probabilities.
        order: shape (N, C), each picture's classes from the highest score to the lowest; of equal
            scores the lower class comes first, as in `models.ensemble.top_k`.
    """

    scores: Floats
    order: Ints

    @classmethod
    def of(cls, scores: Floats) -> "RankedScores":
        """Return the scores (N, C) with their order."""
        return cls(scores, np.argsort(-scores, axis=1, kind="stable"))

    def part(self, rows: slice) -> "RankedScores":
        """Return some of the pictures."""
        return RankedScores(self.scores[rows], self.order[rows])

    def compress(self, k: int) -> tuple[Doubles, Ints]:
        """Return values and indices (N, k'), row by row what `models.ensemble.compress` returns."""
        class_count = self.scores.shape[1]
        if not k >= 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if k > 1 and 2 * k > class_count:
            return self.scores.astype(np.float64), np.broadcast_to(
                np.arange(class_count), self.scores.shape
            )
        indices = self.order[:, :k]
        values = np.take_along_axis(self.scores, indices, axis=1).astype(np.float64)
        return (np.ones_like(values) if k == 1 else values), indices


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """What one variant adds to the sums of N pictures.

    Attributes:
        rise: shape (N, C), by how much each class stands above the level.
        level: shape (N,), what every class gets.
    """

    rise: Doubles
    level: Doubles


def vote(ranked: RankedScores, weight: float, k: int, rule: Rule) -> Vote:
    """Return what a variant of that weight adds when it sends its top k, see `combine`."""
    values, indices = ranked.compress(k)  # (N, k')
    class_count = ranked.scores.shape[1]
    if rule == "paper":
        rise = np.expm1(values)
        rise *= weight / (class_count + rise.sum(axis=1, keepdims=True))
        level = np.zeros(len(values))
    elif rule == "residual":
        lack = np.maximum(1.0 - values.sum(axis=1), 0.0)  # (N,)
        absent = max(class_count - values.shape[1], 1)
        level = weight * np.minimum(lack / absent, values.min(axis=1))  # (N,)
        rise = values * weight - level[:, np.newaxis]
    else:
        assert_never(rule)
    dense = np.zeros(ranked.scores.shape)
    np.put_along_axis(dense, indices, rise, axis=1)
    return Vote(dense, level)


def combine_votes(votes: Sequence[Vote], rule: Rule) -> Doubles:
    """Return one probability per class and picture (N, C) from the votes of some variants.

    Raises:
        ValueError: there are no votes.
    """
    if not votes:
        raise ValueError("nothing to combine: at least one vote is needed")
    total = votes[0].rise.copy()  # (N, C)
    for one in votes[1:]:
        total += one.rise
    if rule == "paper":
        np.exp(total - total.max(axis=1, keepdims=True), out=total)
    else:
        total += np.sum([one.level for one in votes], axis=0)[:, np.newaxis]
        total[total.sum(axis=1) == 0.0] = 1.0  # every score is rounded to 0: nothing is known
    total /= total.sum(axis=1, keepdims=True)
    return total
