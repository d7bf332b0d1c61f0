"""Which rule and which weights combine a family's answers best, measured on labelled pictures.

Pure: scores in, figures out. `compare` measures every rule with every weighting, `choose` takes
one of them for a pack.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, get_args

import numpy as np
import numpy.typing as npt

from models.certainty import reach
from models.ensemble import Doubles, variant_weights
from models.evaluation.ballots import (
    COMPARED_RULES,
    LEAST_PROBABILITY,
    STATED_BY,
    Ballots,
    ComparedRule,
    Ints,
    Scores,
    Sent,
    Sums,
    ballots_of,
    chunks,
)
from models.rules import Rule

ALPHAS: Final = (1.0, 0.0, 0.5, 2.0, 4.0)
"""α of Eq. 1. The paper's own first: where all widths are one, α changes nothing."""

CALIBRATION_BINS = 15

MAX_SUBSET_VARIANTS = 10
"""1,023 subsets; of a larger family only all variants together are measured."""

LEAST_WEIGHT = 1e-3
"""Of a variant that is no better than chance, beside the best one's 1."""


class Shaped(Protocol):
    """A variant as Eq. 1 sees it."""

    @property
    def resolution(self) -> int:
        """ρ, the side of its input in pixels."""

    @property
    def width(self) -> float:
        """d, its width factor."""


@dataclass(frozen=True, slots=True)
class Weighting:
    """What each variant's answer weighs.

    Attributes:
        name: what people call it.
        weights: of the V variants, > 0.
        alpha: α where they are Eq. 1's, else None.
    """

    name: str
    weights: tuple[float, ...]
    alpha: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """How well a rule and a weighting do.

    Attributes:
        rule: how answers combine.
        weighting: what they weigh.
        top_1: share of pictures that all variants together get right.
        subsets_top_1: the same, mean over all subsets of two or more; `top_1` where there are none.
        negative_log_likelihood: mean of −ln of the right class's probability, all together.
        calibration_error: expected, of the confidence stated of the winner, in 15 even bins.
        early: share of pictures whose winner is certain without one of the variants, mean over
            which one it is; 0 where there is only one.
        right: shape (N,), the share of those subsets that get each picture right.
    """

    rule: ComparedRule
    weighting: Weighting
    top_1: float
    subsets_top_1: float
    negative_log_likelihood: float
    calibration_error: float
    early: float
    right: Doubles

    @property
    def label(self) -> str:
        """What to call it in a line of text."""
        return f"{self.rule}, {self.weighting.name}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a pack's manifest is to say.

    Attributes:
        rule: how answers combine.
        weights: of the V variants.
        alpha: α of Eq. 1 where the weights are its, else None.
    """

    rule: Rule
    weights: tuple[float, ...]
    alpha: float | None


def weightings(
    variants: Sequence[Shaped], accuracies: Sequence[float], class_count: int
) -> list[Weighting]:
    """Return the ways to weigh these variants, those left out that only repeat another.

    Args:
        variants: V of them.
        accuracies: (V,), top-1 of each alone.
        class_count: C.
    """
    rho, d = [one.resolution for one in variants], [one.width for one in variants]
    odds = [
        math.log(one * (class_count - 1) / (1 - one)) for one in np.clip(accuracies, 1e-6, 1 - 1e-6)
    ]
    best = max(*odds, LEAST_WEIGHT)
    candidates = [
        *(
            Weighting(f"Eq. 1, α = {alpha:g}", _floats(variant_weights(rho, d, alpha)), alpha)
            for alpha in ALPHAS
        ),
        Weighting("equal", (1.0,) * len(variants)),
        # Independent voters of these accuracies weigh so (Nitzan and Paroush 1982, for C classes).
        Weighting("accuracy", _floats(np.maximum(np.array(odds) / best, LEAST_WEIGHT))),
    ]
    return distinct(candidates)


def distinct(candidates: Sequence[Weighting]) -> list[Weighting]:
    """Return the weightings without those that are a multiple of an earlier one."""
    kept: list[Weighting] = []
    for one in candidates:
        shares = np.array(one.weights) / sum(one.weights)
        if not any(np.allclose(shares, np.array(k.weights) / sum(k.weights)) for k in kept):
            kept.append(one)
    return kept


def accuracies_of(scores: Sequence[Scores], targets: Ints) -> tuple[float, ...]:
    """Return each variant's top-1 share alone; scores (N, C) of each, targets (N,)."""
    return tuple(float((one.argmax(1) == targets).mean()) for one in scores)


def compare(
    scores: Sequence[Scores],
    targets: Ints,
    candidates: Sequence[Weighting],
    k: int,
    *,
    rules: Sequence[ComparedRule] = COMPARED_RULES,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Figures]:
    """Return the figures of every rule with every weighting, in their order.

    Args:
        scores: of each of V variants, (N, C).
        targets: (N,), the right classes.
        candidates: the weightings.
        k: scores an answer keeps.
        rules: the rules.
        on_progress: told how many pictures of how many are done.
    """
    count, class_count = scores[0].shape
    measured = {(rule, one.name): _Measured(count) for rule in rules for one in candidates}
    for chunk in chunks(count, class_count):
        sent = Sent.of(np.stack([one[chunk] for one in scores]), k)
        ballots = {
            rule: ballots_of(sent, rule) for rule in {*rules, *(STATED_BY[r] for r in rules)}
        }
        right = targets[chunk]
        for rule in rules:
            for one in candidates:
                into = measured[rule, one.name]
                into.right[chunk] = _right(ballots[rule], one.weights, right)
                together = ballots[rule].together(one.weights)
                stated = ballots[STATED_BY[rule]].together(one.weights)
                winners = together.winners()
                into.won[chunk] = winners == right
                into.confidence[chunk] = stated.probability(winners)
                into.likelihood[chunk] = stated.probability(right)
                into.early[chunk] = _early(ballots[rule], together, one.weights)
        on_progress(chunk.stop, count)
    return [measured[rule, one.name].figures(rule, one) for rule in rules for one in candidates]


def choose(
    scores: Sequence[Scores],
    targets: Ints,
    variants: Sequence[Shaped],
    k: int,
    *,
    alpha: float | None = None,
    on_figures: Callable[[Figures], None] = lambda _: None,
) -> Choice:
    """Return the rule and the weights for a pack of these variants, by their figures.

    Args:
        scores: of each of V variants, (N, C), on pictures that none was trained on.
        targets: (N,), the right classes.
        variants: V of them.
        k: scores an answer keeps.
        alpha: Eq. 1 with this α is wanted, and only the rule is to be chosen.
        on_figures: told what each candidate reached.
    """
    accuracies, class_count = accuracies_of(scores, targets), scores[0].shape[1]
    candidates = weightings(variants, accuracies, class_count)
    if alpha is not None:
        rho, d = [one.resolution for one in variants], [one.width for one in variants]
        candidates = [Weighting("Eq. 1", _floats(variant_weights(rho, d, alpha)), alpha)]
    figures = compare(scores, targets, candidates, k, rules=get_args(Rule))
    for one in figures:
        on_figures(one)
    chosen = best(figures)
    rule: Rule = next(rule for rule in get_args(Rule) if rule == chosen.rule)
    return Choice(rule, chosen.weighting.weights, chosen.weighting.alpha)


def best(figures: Sequence[Figures]) -> Figures:
    """Return the most accurate, or a better calibrated one that is not measurably worse.

    Nodes come and go, so accuracy is the mean over all subsets of two or more. Not measurably
    worse: by less than the standard error of the difference, picture by picture. Among those the
    lowest negative log-likelihood wins, because the confidence is what people act on. Where that
    is the same too, as of "paper" and "residual", the rule that states it of its own winner does.
    """
    able = [one for one in figures if one.rule in get_args(Rule)]
    first = max(able, key=lambda one: one.subsets_top_1)
    near = []
    for one in able:
        behind = first.right - one.right
        if behind.mean() <= behind.std() / math.sqrt(behind.size):
            near.append(one)
    return min(near, key=lambda one: (one.negative_log_likelihood, STATED_BY[one.rule] != one.rule))


def _right(ballots: Ballots, weights: Sequence[float], targets: Ints) -> Doubles:
    """Return the share (n,) of the subsets of two or more that get each picture right."""
    if not 2 <= len(weights) <= MAX_SUBSET_VARIANTS:
        return np.asarray(ballots.together(weights).winners() == targets, np.float64)
    right, count = np.zeros(len(targets)), 0
    for subset, sums in ballots.subsets(weights):
        if len(subset) >= 2:
            right += sums.winners() == targets
            count += 1
    return right / count


def _early(ballots: Ballots, together: Sums, weights: Sequence[float]) -> Doubles:
    """Return the share (n,) of the variants whose answer could not change the others' winner."""
    class_count = together.rise.shape[1]
    early = np.zeros(len(together.rise))
    if len(weights) == 1:
        return early
    # An average of softmaxes: no answer moves a class further than under "residual".
    rule = "residual" if ballots.rule == "logits" else ballots.rule
    for index, weight in enumerate(weights):
        others = together.rise - ballots.rise[index] * weight
        leaders = others.argmax(1, keepdims=True)
        highest = np.take_along_axis(others, leaders, 1)[:, 0]
        np.put_along_axis(others, leaders, -np.inf, 1)
        early += highest - others.max(1) > weight * reach(class_count, rule)
    return early / len(weights)


class _Measured:
    """What is collected picture by picture."""

    def __init__(self, count: int) -> None:
        self.right = np.empty(count)
        self.won = np.empty(count, bool)
        self.confidence = np.empty(count)
        self.likelihood = np.empty(count)
        self.early = np.empty(count)

    def figures(self, rule: ComparedRule, weighting: Weighting) -> Figures:
        likelihood = np.maximum(self.likelihood, LEAST_PROBABILITY)
        return Figures(
            rule=rule,
            weighting=weighting,
            top_1=float(self.won.mean()),
            subsets_top_1=float(self.right.mean()),
            negative_log_likelihood=float(-np.log(likelihood).mean()),
            calibration_error=calibration_error(self.confidence, self.won),
            early=float(self.early.mean()),
            right=self.right,
        )


def calibration_error(confidence: Doubles, right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error: |accuracy − confidence|, mean over the pictures.

    Args:
        confidence: shape (N,), in [0, 1], of the winner.
        right: shape (N,), whether it is the right class.
    """
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right.astype(float) - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _floats(values: Doubles) -> tuple[float, ...]:
    return tuple(float(one) for one in values)
