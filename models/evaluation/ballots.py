"""What each variant's answer adds to each class, for many pictures at once.

The same arithmetic as `models.ensemble`, on dense arrays: every rule adds per class, so what any
set of variants says together is the sum of their ballots. Computed once, they serve every subset.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from models.ensemble import Doubles, product_floor, softmax
from models.rules import CONFIDENCE_RULE, Rule

Scores = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

ComparedRule = Rule | Literal["logits"]
"""The rules that a pack may name, and one more that is only compared with them.

"logits" is Fig. 4 on the networks' logits instead of their probabilities: of each vector the k
highest, 0 elsewhere, softmax, weighted mean. A node would have to send other values for it.
Logits are taken as log-probabilities about their mean over the classes, which is what a network's
are but for a constant. Taken against an even share of what is absent instead, which is all that
an answer's probabilities tell, the softmax of the scattered vector is the vector of "residual".
"""

COMPARED_RULES: Final[tuple[ComparedRule, ...]] = ("paper", "logits", "residual", "product")

STATED_BY: Final[dict[ComparedRule, ComparedRule]] = {
    "logits": "logits",
    **{rule: CONFIDENCE_RULE[rule] for rule in get_args(Rule)},
}
"""By which rule's probability the winner's confidence is stated."""

LEAST_PROBABILITY = 1e-12
"""Where a logarithm is taken: a float32 softmax of logits 28 apart."""

CHUNK_SCORES = 1 << 16
"""Scores of one variant that are worked on at a time: 512 KiB of float64, which stay in a cache
while the subsets are added."""


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What variants send of their scores for some pictures, as `ensemble.compress` does.

    Attributes:
        scores: shape (V, n, C), probabilities.
        named: shape (V, n, C), which of them are sent.
        values: shape (V, n, C), as received: 1 for the one of k = 1, and 0 where not named.
        k: how many are.
    """

    scores: Scores
    named: npt.NDArray[np.bool_]
    values: Doubles
    k: int

    @classmethod
    def of(cls, scores: Scores, k: int) -> "Sent":
        """Return what is sent when each answer keeps k scores; more than half means all."""
        class_count = scores.shape[-1]
        k = class_count if k > 1 and 2 * k > class_count else k
        named = _top(scores, k)
        received = np.ones_like(scores) if k == 1 else scores.astype(np.float32)
        return cls(scores, named, np.where(named, received, 0.0).astype(np.float64), k)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What some variants together say of n pictures; see `ensemble.Tally`.

    Attributes:
        rule: by which they are added.
        rise: shape (n, C), what each class got above the others.
        level: shape (n,), what every class got.
        weight: of the variants together.
    """

    rule: ComparedRule
    rise: Doubles
    level: Doubles
    weight: float

    def winners(self) -> npt.NDArray[np.intp]:
        """Return the classes (n,) that win."""
        winners: npt.NDArray[np.intp] = self.rise.argmax(1)
        return winners

    def probability(self, classes: Ints) -> Doubles:
        """Return the combined probability (n,) of one class of each picture."""
        of_class = self.rise[np.arange(len(self.rise)), classes]
        shares: Doubles
        if self.rule in ("residual", "logits"):
            mass = self.rise.sum(1) + self.level * self.rise.shape[1]
            even = 1.0 / self.rise.shape[1]  # where every score is rounded to 0
            shares = np.where(mass > 0, (of_class + self.level) / np.where(mass > 0, mass, 1), even)
            return shares
        scale = 1.0 / self.weight if self.rule == "product" else 1.0
        highest = self.rise.max(1)
        total = np.exp((self.rise - highest[:, np.newaxis]) * scale).sum(1)
        shares = np.exp((of_class - highest) * scale) / total
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """What each of V variants adds for n pictures, per unit of its weight.

    Attributes:
        rule: by which.
        rise: shape (V, n, C), what each class gets above the others.
        level: shape (V, n), what every class gets.
    """

    rule: ComparedRule
    rise: Doubles
    level: Doubles

    def subsets(self, weights: Sequence[float]) -> Iterator[tuple[tuple[int, ...], Sums]]:
        """Yield every non-empty subset of the variants, by index, with its sums.

        Args:
            weights: of the V variants.
        """
        shape = self.rise.shape[1:]
        nothing = Sums(self.rule, np.zeros(shape), np.zeros(shape[0]), 0.0)
        yield from self._supersets((), nothing, weights)

    def together(self, weights: Sequence[float]) -> Sums:
        """Return the sums of all the variants."""
        sums = Sums(self.rule, self.rise[0] * weights[0], self.level[0] * weights[0], weights[0])
        for index in range(1, len(self.rise)):
            sums = self._with(sums, index, weights[index])
        return sums

    def _supersets(
        self, subset: tuple[int, ...], sums: Sums, weights: Sequence[float]
    ) -> Iterator[tuple[tuple[int, ...], Sums]]:
        for index in range(subset[-1] + 1 if subset else 0, len(self.rise)):
            larger = (*subset, index), self._with(sums, index, weights[index])
            yield larger
            yield from self._supersets(*larger, weights)

    def _with(self, sums: Sums, index: int, weight: float) -> Sums:
        """Add in the order of the variants, as `ensemble.tally` adds answers in theirs."""
        rise = self.rise[index] * weight
        rise += sums.rise
        return Sums(self.rule, rise, sums.level + self.level[index] * weight, sums.weight + weight)


def ballots_of(sent: Sent, rule: ComparedRule) -> Ballots:
    """Return the ballots of what was sent, as `rule` reads them."""
    class_count = sent.scores.shape[-1]
    if rule == "paper":
        rise = np.expm1(sent.values)
        scale = 1.0 / (class_count + rise.sum(-1))
        rise *= scale[..., np.newaxis]
        return Ballots(rule, rise, scale)
    if rule == "logits":
        logits = np.log(np.maximum(sent.scores.astype(np.float64), LEAST_PROBABILITY))
        logits -= logits.mean(-1, keepdims=True)
        shares = softmax(np.where(sent.named, logits, 0.0)).astype(np.float64, copy=False)
        return Ballots(rule, shares, np.zeros(shares.shape[:-1]))
    mass = sent.values.sum(-1)
    least = np.where(sent.named, sent.values, np.inf).min(-1)
    level = np.minimum(np.maximum(1.0 - mass, 0.0) / max(class_count - sent.k, 1), least)
    values = sent.values / np.maximum(mass, 1.0)[..., np.newaxis]
    if rule == "product":
        floor = product_floor(class_count)
        values = np.log(np.maximum(values, floor))
        level = np.log(np.maximum(level, floor))
    return Ballots(rule, np.where(sent.named, values - level[..., np.newaxis], 0.0), level)


def chunks(picture_count: int, class_count: int) -> Iterator[slice]:
    """Yield slices of the pictures that together are all of them."""
    size = max(1, CHUNK_SCORES // class_count)
    for begin in range(0, picture_count, size):
        yield slice(begin, min(begin + size, picture_count))


def _top(scores: Scores, k: int) -> npt.NDArray[np.bool_]:
    """Return where the k highest scores are; of equal ones those of the lower classes."""
    class_count = scores.shape[-1]
    if k == class_count:
        return np.ones(scores.shape, bool)
    threshold = np.partition(scores, class_count - k, axis=-1)[..., class_count - k, np.newaxis]
    above = scores > threshold
    equal = scores == threshold
    room = k - above.sum(-1, keepdims=True)
    top: npt.NDArray[np.bool_] = above | (equal & (equal.cumsum(-1, dtype=np.int32) <= room))
    return top
