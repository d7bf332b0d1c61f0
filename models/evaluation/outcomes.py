"""What sets of variants get right, picture by picture: the matter of every accuracy figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation.ballots import Sent, ballots_of, chunks
from models.rules import Rule

Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one set of variants gets right together.

    Attributes:
        variants: those that answered.
        right: shape (N,), whether the highest combined score is the right class.
        in_top_m: shape (N,), the chance that the right class is among the m highest. It is 0 or 1
            but where classes tie, as those do which no answer names: they share the places left.
    """

    variants: tuple[str, ...]
    right: Bools
    in_top_m: Doubles

    @property
    def top_1(self) -> float:
        """Share of pictures whose winner is right."""
        return float(self.right.mean())

    @property
    def top_m(self) -> float:
        """Share of pictures whose right class is among the m highest."""
        return float(self.in_top_m.mean())


def every_subset(variants: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all non-empty subsets, small ones first."""
    return [
        subset for size in range(1, len(variants) + 1) for subset in combinations(variants, size)
    ]


def outcomes(
    scores: Mapping[str, Floats],
    weights: Mapping[str, float],
    targets: Ints,
    subsets: Sequence[tuple[str, ...]],
    *,
    k: int,
    rule: Rule,
    m: int,
) -> list[Outcome]:
    """Return what each subset gets right when every variant sends its top k.

    Args:
        scores: (N, C) of each variant.
        weights: each variant's share by Eq. 1.
        targets: (N,), the right classes.
        subsets: which variants answer together.
        k: scores an answer keeps; 1 sends the index alone (Eq. 3).
        rule: how answers combine.
        m: how many of the highest combined scores count for `in_top_m`.

    Raises:
        ValueError: m is out of range.
    """
    class_count = next(iter(scores.values())).shape[1]
    if not 1 <= m <= class_count:
        raise ValueError(f"m must be in [1, {class_count}], not {m}")
    right = np.empty((len(subsets), len(targets)), bool)
    in_top_m = np.empty((len(subsets), len(targets)))
    for chunk in chunks(len(targets), class_count):
        stacked = np.stack([one[chunk] for one in scores.values()])  # (V, n, C)
        lifted = ballots_of(Sent.of(stacked, k), rule).rise
        weighted = {name: weights[name] * one for name, one in zip(scores, lifted, strict=True)}
        for row, subset in enumerate(subsets):
            combined = weighted[subset[0]].copy()  # (n, C)
            for name in subset[1:]:
                combined += weighted[name]
            right[row, chunk] = combined.argmax(axis=1) == targets[chunk]
            in_top_m[row, chunk] = _chance_in_top(combined, targets[chunk], m)
    return [Outcome(subset, right[row], in_top_m[row]) for row, subset in enumerate(subsets)]


def _chance_in_top(combined: Doubles, targets: Ints, m: int) -> Doubles:
    """Return (N,): the chance that the target is among the m highest, ties broken evenly."""
    mine = np.take_along_axis(combined, targets[:, np.newaxis], axis=1)  # (N, 1)
    higher = (combined > mine).sum(axis=1)
    level = (combined == mine).sum(axis=1)  # the target itself among them
    chance: Doubles = np.clip((m - higher) / level, 0.0, 1.0)
    return chance
