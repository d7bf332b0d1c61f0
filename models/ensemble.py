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
    "product" is the weighted geometric mean of the same completed vectors, scaled to sum to 1: a
    class wins that no variant finds unlikely. Its level is a confidence too.

    Args:
        answers: at least one; their k may differ, their order does not matter.
        class_count: C.
        rule: which of them.

    Returns:
        Shape (C,), float64, sums to 1. It is float64 because under "paper" scores that differ by
        one float32 step differ by 1/C of it in the result.

    Raises:
        ValueError: no answers, an index outside [0, C) or an unknown rule.
    """
    return tally(answers, class_count, rule).probabilities()


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What a rule has added up, before anything is normalised.

    Every rule adds: an answer gives each class the same level and those it names something on
    top. So the order of the classes is that of `rise`, and a further answer only adds to it.

    Attributes:
        rule: by which it was added.
        rise: shape (C,), ≥ 0, what each class got on top.
        level: what every class got.
        weight: Σ w_i of the answers.
    """

    rule: Rule
    rise: Doubles
    level: float
    weight: float

    def probabilities(self) -> Doubles:
        """Return shape (C,), what `combine` returns."""
        if self.rule == "residual":
            return _shares(self.rise + self.level)
        # The level cancels in a softmax.
        total = self.rise / self.weight if self.rule == "product" else self.rise
        return _shares(np.exp(total - total.max()))


def tally(answers: Sequence[Answer], class_count: int, rule: Rule) -> Tally:
    """Return the sums from which `combine` makes probabilities, in O(Vk + C).

    Args:
        answers: at least one; their k may differ.
        class_count: C.
        rule: by which to add.

    Raises:
        ValueError: no answers, an index outside [0, C) or an unknown rule.
    """
    if not answers:
        raise ValueError("nothing to combine: at least one answer is needed")
    if rule not in _RULES:
        raise ValueError(f"unknown rule {rule!r}, it is one of {', '.join(_RULES)}")
    votes = _Votes.of(answers)
    if votes.indices.astype(np.uint64).max() >= class_count:  # a negative one becomes huge
        raise ValueError(f"an index is outside [0, {class_count})")
    rise, level = _RULES[rule](votes, class_count)
    sums = np.bincount(votes.indices, weights=rise, minlength=class_count)
    return Tally(rule, cast(Doubles, sums), level, sum(votes.weights.tolist()))


def product_floor(class_count: int) -> float:
    """Return the least probability that "product" reads in any score.

    A thousandth of an even share: a score of 0, which may be rounding or the index sent alone,
    must not let one variant forbid a class for all.
    """
    return 1e-3 / class_count


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

    def spread(self, x: Doubles) -> Doubles:
        """Return (N,): each answer's entry of x (V,) repeated for its scores."""
        return x.repeat(self.sizes)

    def completed(self, class_count: int) -> tuple[Doubles, Doubles]:
        """Return the named classes' probabilities (N,) and each answer's level (V,) elsewhere.

        What an answer lacks to 1 is shared evenly by the C − k classes it does not name, but none
        gets more than the least class it names: rounded scores must not lift a class above those
        that beat it. Scores that add to more than 1, which is rounding or a liar, are scaled down.
        """
        mass = self.sum(self.values)  # (V,)
        absent = [max(class_count - size, 1) for size in self.sizes]
        least = np.minimum.reduceat(self.values, self.starts)
        level = np.minimum(np.maximum(1.0 - mass, 0.0) / absent, least)
        return self.values / self.spread(np.maximum(mass, 1.0)), level


def _add_paper(votes: _Votes, class_count: int) -> tuple[Doubles, float]:
    """Fig. 4 without the (V, C) tensor.

    With 0 at the absent classes the softmax of answer i is e^v / Z_i at its places and 1 / Z_i
    elsewhere, Z_i = (C − k_i) + Σ e^v = C + Σ (e^v − 1). Split off the flat w_i / Z_i: what is
    left is w_i (e^v − 1) / Z_i at k places.
    """
    rise = np.expm1(votes.values)  # (N,)
    scale = votes.weights / (class_count + votes.sum(rise))  # (V,), w_i / Z_i
    return rise * votes.spread(scale), sum(scale.tolist())


def _add_residual(votes: _Votes, class_count: int) -> tuple[Doubles, float]:
    """Probabilities, times the weights."""
    named, level = votes.completed(class_count)
    rise = (named - votes.spread(level)) * votes.spread(votes.weights)  # (N,), ≥ 0
    return rise, float(level @ votes.weights)


def _add_product(votes: _Votes, class_count: int) -> tuple[Doubles, float]:
    """Log-probabilities, times the weights."""
    floor = product_floor(class_count)
    named, level = votes.completed(class_count)
    log_level = np.log(np.maximum(level, floor))  # (V,)
    log_named = np.log(np.maximum(named, floor))  # (N,)
    rise = (log_named - votes.spread(log_level)) * votes.spread(votes.weights)  # (N,), ≥ 0
    return rise, float(log_level @ votes.weights)


def _shares(total: Doubles) -> Doubles:
    """Return x scaled to sum to 1; even where it is 0 throughout."""
    mass = total.sum()
    if mass == 0.0:  # every score there is rounded to 0: nothing is known
        return np.full(total.size, 1.0 / total.size)
    shares: Doubles = total / mass
    return shares


_RULES: dict[Rule, Callable[[_Votes, int], tuple[Doubles, float]]] = {
    "paper": _add_paper,
    "residual": _add_residual,
    "product": _add_product,
}
