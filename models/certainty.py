"""Whether answers still to come can change the winner: a proof, not an estimate.

Notation: class a leads after answers of weight W = Σ w_i; answers of weights w_j may still come,
M = Σ w_j in all. Any of them may also stay away, so every subset is a completion.

**The winner.** Every rule adds per class (`ensemble.Tally.rise`), so an answer j moves class b
against a by w_j · (g(p_b) − g(p_a)), and only that difference matters. It is largest for one and
the same answer under every rule and for every k: all on b, nothing on any other class. A k of 1
sends just that, a larger k may send (1, 0, …), and so may a dense vector. Its reach r is

    paper      (e^m − 1) / (C − 1 + e^m)    with m the largest score an answer may hold
    residual   1
    product    ln (1 / f)                   with f the floor below which no score is read

(paper: (e^x − e^y) / (e^x + e^y + Σ e^v) rises with x, falls with y and with each other v. The
others: no completed vector exceeds 1 or falls below 0 or f.) So a wins every completion if

    rise_a − max_b rise_b > M · r

and if it is less, the answers that all say b make b win: the bound is exact. Where both sides are
equal a tie decides, which goes to the lower class but for rounding, so it counts as open.

**Its confidence.** Under "residual" it is S / W with S the weighted probability of a. An answer
adds x to S and y to W with 0 ≤ x ≤ y ≤ w_j, and the quotient is extreme where all of them come and
say another class, or a:

    S / (W + M)  ≤  confidence  ≤  (S + M) / (W + M)                                    (exact)

W counts what the answers' vectors really sum to, which rounded scores may leave below 1. "paper"
ranks, and "residual" says how sure, of the same class.

Under "product" let G = Σ_b≠a exp((rise_b − rise_a) / W), the odds against a: its confidence is
1 / (1 + G). One more answer p of weight w makes it Σ_b c_b (p_b / p_a)^θ, θ = w / (W + w), with
c_b the old term to the power 1 − θ. It is least where p is all on a: each term takes f^θ. It is
largest where p_a = f and the others share at most s = 1 + (C − 1) f; over those Hölder's
inequality gives Σ c_b p_b^θ ≤ s^θ (Σ c_b^(1 / (1 − θ)))^(1 − θ) = s^θ G^(1 − θ). Repeated:

    ln Σ_b≠a exp((rise_b − rise_a + M ln f) / (W + M))                                  (exact)
      ≤  ln G'  ≤  (W ln G + M ln (s / f)) / (W + M)

Both are widest when everybody answers. The right one is reached, but for s, by a dense answer in
proportion to the others' present shares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.ensemble import MAX_SCORE, Answer, Tally, product_floor, tally
from models.rules import CONFIDENCE_RULE, Rule

MARGIN = 1e-9
"""Of what all weights together could move. Sums of float64 differ in their order by 1e-16 of it;
a lead within the margin counts as none, and confidence may be as far outside its bounds."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What holds whoever of the missing answers, and whatever they say.

    Attributes:
        winner: the class that wins.
        least_confidence: of it, by the rule's `CONFIDENCE_RULE`.
        most_confidence: likewise.
    """

    winner: int
    least_confidence: float
    most_confidence: float


def outlook(
    answers: Sequence[Answer], missing_weights: Sequence[float], class_count: int, rule: Rule
) -> Outlook | None:
    """Return what is beyond change, or None while the missing answers can change the winner.

    How many scores they keep does not matter: the worst they can say is one class alone, which
    every k can express.

    Args:
        answers: those that came, at least one.
        missing_weights: of those that may still come, > 0; may be empty.
        class_count: C.
        rule: how answers combine.

    Raises:
        ValueError: as `ensemble.tally` does.
    """
    missing = sum(missing_weights)
    # No lead exceeds the reach of all that came: most calls end here, for a microsecond.
    if answers and missing >= sum(answer.weight for answer in answers):
        return None
    came = tally(answers, class_count, rule)
    winner = int(came.rise.argmax())
    if not missing:
        winner = int(came.probabilities().argmax())
    elif not _lead(came, winner) > reach(class_count, rule) * (
        missing + MARGIN * (missing + came.weight)
    ):
        return None
    if CONFIDENCE_RULE[rule] != rule:
        came = tally(answers, class_count, CONFIDENCE_RULE[rule])
    least, most = _confidence(came, winner, missing)
    return Outlook(winner, max(least - MARGIN, 0.0), min(most + MARGIN, 1.0))


def reach(class_count: int, rule: Rule) -> float:
    """Return how far one answer of weight 1 can move one class against another."""
    if rule == "paper":
        return math.expm1(MAX_SCORE) / (class_count + math.expm1(MAX_SCORE))
    if rule == "residual":
        return 1.0
    return -math.log(product_floor(class_count))


def _lead(came: Tally, winner: int) -> float:
    """Return how far the winner is ahead of every other class."""
    others = came.rise.copy()
    others[winner] = -math.inf
    return float(came.rise[winner] - others.max())


def _confidence(came: Tally, winner: int, missing: float) -> tuple[float, float]:
    """Return the winner's least and largest probability when answers may still come."""
    if came.rule == "residual":
        mass = float(came.rise.sum()) + came.level * came.rise.size
        if mass + missing == 0.0:
            return (1.0 / came.rise.size,) * 2
        share = float(came.rise[winner]) + came.level
        return share / (mass + missing), (share + missing) / (mass + missing)
    floor = product_floor(came.rise.size)
    against = came.rise - came.rise[winner]  # (C,), ≤ 0
    against[winner] = -math.inf
    total = came.weight + missing
    fewest = float(np.exp((against + missing * math.log(floor)) / total).sum())
    odds = float(np.exp(against / came.weight).sum())
    spread = math.log((1.0 + (came.rise.size - 1) * floor) / floor)
    most = math.exp((came.weight * math.log(odds) + missing * spread) / total)
    return 1.0 / (1.0 + most), 1.0 / (1.0 + fewest)
