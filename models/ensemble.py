"""The ensemble arithmetic of Variant Parallelism (arXiv 2210.08376): numpy only, nothing learned.

A variant answers with the k highest of its C scores (III-C). Whoever collects the answers weighs
them (Eq. 1), adds them and names the winner (Fig. 4). There is no trained parameter in any of it,
so every non-empty subset of the answers combines to a result.

`softmax`, `scatter` and `variant_weights` are the paper's steps one by one. `combine` computes
what they compose to without ever building the (V, C) tensor: a scattered vector is flat except
at its k places, and flat parts need no storage.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from models.rules import Rule

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer[Any]]

# A softmax in float32 or 1/256 steps can round to slightly more than 1.
MAX_SCORE = 1.001


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One variant's top-k scores and what they weigh.

    Attributes:
        values: shape (k,), k ≥ 1, probabilities in [0, 1]; 1.0 where only the index was sent.
        indices: shape (k,), distinct class indices.
        weight: the variant's share by Eq. 1, > 0.

    Raises:
        ValueError: one of the above does not hold.
    """

    values: Floats
    indices: Ints
    weight: float

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.values.shape != self.indices.shape:
            raise ValueError(
                f"values {self.values.shape} and indices {self.indices.shape} must be one (k,)"
            )
        if not (values := self.values.tolist()):
            raise ValueError("an answer holds at least one score")
        if not all(0.0 <= value <= MAX_SCORE for value in values):  # NaN fails it too
            raise ValueError("an answer's scores are probabilities in [0, 1]")
        if len(set(self.indices.tolist())) != len(values):
            raise ValueError("an answer names a class at most once")
        if not 0.0 < self.weight < math.inf:
            raise ValueError(f"an answer's weight is positive and finite, not {self.weight}")


def softmax(x: Floats, axis: int = -1) -> Floats:
    """Return exp(x) scaled to sum to 1 along the axis, of the same shape as x."""
    exponentials = np.exp(x - x.max(axis=axis, keepdims=True))
    scaled: Floats = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return scaled


def top_k(scores: Floats, k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the k highest scores, highest first, and their classes (paper III-C).

    Of equal scores the lower class comes first, so that every device sends the same answer.

    Args:
        scores: shape (C,).
        k: how many to keep, in [1, C].

    Returns:
        Values and indices, each of shape (k,).

    Raises:
        ValueError: k is out of range, or a score is NaN where it matters.
    """
    if not 1 <= k <= scores.size:
        raise ValueError(f"k must be in [1, {scores.size}], not {k}")
    threshold = np.partition(scores, scores.size - k)[scores.size - k]
    candidates = np.flatnonzero(scores >= threshold)  # ascending, more than k where scores tie
    if candidates.size < k:
        raise ValueError("scores hold NaN")
    indices = candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
    return scores[indices].astype(np.float32), indices.astype(np.int64)


def compress(scores: Floats, k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return what a variant sends of its scores: values and indices (paper III-C, Eq. 3).

    Its top k; of k = 1 the index alone, which whoever receives it reads as a score of 1; and all
    C scores in class order where k is more than half of them, because that takes no more bytes.

    Args:
        scores: shape (C,).
        k: how many to keep, at least 1; more than C means C.

    Returns:
        Values and indices, each of shape (1,), (k,) or (C,).

    Raises:
        ValueError: k is below 1, or scores hold NaN where it matters.
    """
    if k > 1 and 2 * k > scores.size:
        return scores.astype(np.float32), np.arange(scores.size)
    values, indices = top_k(scores, k)
    return (np.ones_like(values) if k == 1 else values), indices


def scatter(values: Floats, indices: Ints, class_count: int) -> Floats:
    """Return dense score vectors rebuilt from top-k ones (paper III-C).

    Args:
        values: shape (V, k).
        indices: shape (V, k), each in [0, class_count), distinct within a row.
        class_count: C.

    Returns:
        Shape (V, class_count); absent classes are 0.

    Raises:
        ValueError: the shapes differ, or an index is out of range or repeats within a row.
    """
    if values.ndim != 2 or values.shape != indices.shape:
        raise ValueError(f"values {values.shape} and indices {indices.shape} must be one (V, k)")
    if indices.size and not (indices.min() >= 0 and indices.max() < class_count):
        raise ValueError(f"an index is outside [0, {class_count})")
    if not np.diff(np.sort(indices, axis=1), axis=1).all():
        raise ValueError("an index repeats within a row")
    dense = np.zeros((len(values), class_count), dtype=values.dtype)
    np.put_along_axis(dense, indices, values, axis=1)
    return dense


def variant_weights(
    resolutions: npt.ArrayLike,
    widths: npt.ArrayLike,
    alpha: float,
    *,
    max_resolution: float | None = None,
    min_width: float | None = None,
) -> Doubles:
    """Return each variant's factor of Eq. 1, (ρ_i / max P)·(d_i / min D)^α.

    Args:
        resolutions: shape (V,), the input sizes ρ in pixels.
        widths: shape (V,), the width factors d.
        alpha: α, the balance between resolution and width.
        max_resolution: max P where these variants are only part of a family.
        min_width: min D likewise.

    Returns:
        Shape (V,).
    """
    rho = np.asarray(resolutions, dtype=np.float64)
    d = np.asarray(widths, dtype=np.float64)
    max_rho = rho.max() if max_resolution is None else max_resolution
    min_d = d.min() if min_width is None else min_width
    factors: Doubles = (rho / max_rho) * (d / min_d) ** alpha
    return factors


def combine(answers: Sequence[Answer], class_count: int, rule: Rule) -> Doubles:
    """Return one probability per class from whatever answers there are.

    "paper" is Fig. 4: scatter, softmax per vector, scale by weight, add, softmax. Its winner is
    meaningful, its level is not: a softmax over softmaxes stays close to 1/C.
    "residual" keeps probabilities: what a top-k vector lacks to 1 is spread evenly over the
    classes it does not name, and the vectors' weighted mean is returned. Its level is a confidence.

    Args:
        answers: at least one; their k may differ, their order does not matter.
        class_count: C.
        rule: which of the two.

    Returns:
        Shape (C,), float64, sums to 1. It is float64 because under "paper" scores that differ by
        one float32 step differ by 1/C of it in the result.

    Raises:
        ValueError: no answers, an index outside [0, C) or an unknown rule.
    """
    if not answers:
        raise ValueError("nothing to combine: at least one answer is needed")
    if rule not in _RULES:
        raise ValueError(f"unknown rule {rule!r}, it is one of {', '.join(_RULES)}")
    votes = _Votes.of(answers)
    if votes.indices.max() >= class_count or votes.indices.min() < 0:
        raise ValueError(f"an index is outside [0, {class_count})")
    return _RULES[rule](votes, class_count)


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """V ragged answers laid end to end: N = Σ k_i scores."""

    values: Doubles  # (N,)
    indices: Ints  # (N,)
    weights: Doubles  # (V,)
    sizes: list[int]  # (V,), k_i
    starts: list[int]  # (V,), where each answer begins in N

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "_Votes":
        sizes = [answer.values.size for answer in answers]
        return cls(
            values=np.concatenate([answer.values for answer in answers], dtype=np.float64),
            indices=np.concatenate([answer.indices for answer in answers]),
            weights=np.array([answer.weight for answer in answers]),
            sizes=sizes,
            starts=[0, *accumulate(sizes[:-1])],
        )

    def sum(self, x: Doubles) -> Doubles:
        """Return the sums (V,) over each answer's part of x (N,)."""
        sums: Doubles = np.add.reduceat(x, self.starts)
        return sums

    def least(self, x: Doubles) -> Doubles:
        """Return the minima (V,) over each answer's part of x (N,)."""
        minima: Doubles = np.minimum.reduceat(x, self.starts)
        return minima

    def spread(self, x: Doubles) -> Doubles:
        """Return (N,): each answer's entry of x (V,) repeated for its scores."""
        return x.repeat(self.sizes)

    def scatter_add(self, x: Doubles, class_count: int) -> Doubles:
        """Return (C,): per class the sum of what x (N,) holds for it."""
        sums = np.bincount(self.indices, weights=x, minlength=class_count)
        return cast(Doubles, sums)  # numpy's stub knows only counts


def _combine_paper(votes: _Votes, class_count: int) -> Doubles:
    """Fig. 4 in O(Vk + C).

    With 0 at the absent classes the softmax of answer i is e^v / Z_i at its places and 1 / Z_i
    elsewhere, Z_i = (C − k_i) + Σ e^v = C + Σ (e^v − 1). Split off the flat w_i / Z_i: what is
    left is w_i (e^v − 1) / Z_i at k places, and the flat parts add to one constant that the last
    softmax cancels.
    """
    rise = np.expm1(votes.values)  # (N,)
    scale = votes.weights / (class_count + votes.sum(rise))  # (V,), w_i / Z_i
    total = votes.scatter_add(rise * votes.spread(scale), class_count)  # (C,)
    np.exp(total - total.max(), out=total)
    total /= total.sum()
    return total


def _combine_residual(votes: _Votes, class_count: int) -> Doubles:
    """The weighted mean of the answers' completed probability vectors in O(Vk + C).

    Answer i lacks 1 − Σ v; each of its C − k_i absent classes gets an even share of that, its
    level, but never more than the least class it names: rounded scores must not lift a class
    above those that beat it. The last division is by Σ w_i, but for what rounding took.
    """
    lack = np.maximum(1.0 - votes.sum(votes.values), 0.0)  # (V,)
    absent = np.maximum(class_count - np.array(votes.sizes), 1)  # (V,)
    level = votes.weights * np.minimum(lack / absent, votes.least(votes.values))  # (V,)
    rise = votes.values * votes.spread(votes.weights) - votes.spread(level)  # (N,), ≥ 0
    total = votes.scatter_add(rise, class_count)  # (C,)
    total += level.sum()
    mass = total.sum()
    if mass == 0.0:  # every score there is rounded to 0: nothing is known
        return np.full(class_count, 1.0 / class_count)
    total /= mass
    return total


_RULES: dict[Rule, Callable[[_Votes, int], Doubles]] = {
    "paper": _combine_paper,
    "residual": _combine_residual,
}
