"""What the figures 5, 6 and 7 of the paper ask of an ensemble, worked out from its outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from models.evaluation.outcomes import Outcome

Z_95 = 1.96
"""Half the width of a normal distribution's middle 95 %, in standard errors."""

EVERY_K_UP_TO = 20
"""From this k on the curve over k is flat: further ones are taken in even ratios."""

FURTHER_KS = 12


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What leaving one variant out costs.

    Attributes:
        variant: the one left out.
        points: accuracy lost, in percentage points; negative where the others do better alone.
        margin: half of that figure's 95 % interval: pictures decide differently or not, so the
            two accuracies are compared picture by picture.
    """

    variant: str
    points: float
    margin: float


def average_macs(subset: Sequence[str], macs: Mapping[str, int]) -> float:
    """Return the mean multiply-accumulates of a device when each variant runs on one (Fig. 6)."""
    return fmean(macs[name] for name in subset)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other beats, by rising cost.

    Args:
        points: (cost, gain) each. A point is beaten by one that costs no more and gains more, or
            costs less and gains as much; of equal points the first stays.
    """
    front: list[int] = []
    best = -np.inf
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front


def leave_one_out(everyone: Outcome, without: Mapping[str, Outcome]) -> list[LeftOut]:
    """Return what each variant's absence costs (Fig. 7).

    Args:
        everyone: the outcome of all variants together.
        without: the outcome without the variant named, on the same pictures.
    """
    costs = []
    for name, outcome in without.items():
        lost = everyone.right.astype(np.float64) - outcome.right  # (N,), −1, 0 or 1
        error = float(lost.std() / np.sqrt(len(lost)))
        costs.append(LeftOut(name, 100 * float(lost.mean()), 100 * Z_95 * error))
    return costs


def shared_errors(one: Outcome, other: Outcome) -> float:
    """Return the share of the first's errors that the second makes too; 1 is no help at all.

    An ensemble gains from variants that err apart. Where the first never errs it is 0.
    """
    wrong = ~one.right
    return float((wrong & ~other.right).sum() / max(1, wrong.sum()))


def any_right(alone: Sequence[Outcome]) -> float:
    """Return the share of pictures that at least one gets right by itself.

    That is what choosing the right one of them for each picture would reach.
    """
    return float(np.any([outcome.right for outcome in alone], axis=0).mean())


def margin(share: float, pictures: int) -> float:
    """Return half of the 95 % interval of an accuracy measured on that many pictures."""
    return float(Z_95 * np.sqrt(share * (1 - share) / pictures))


def top_m_of(class_count: int) -> int:
    """Return the m that top-m is reported for: a fifth of the classes, at least 2, at most 5."""
    return min(5, max(2, class_count // 5))


def ks_of(class_count: int) -> list[int]:
    """Return the k of Fig. 5's axis: 1 … C/2, thinned out when there are many, and beyond.

    Above C/2 the whole vector is sent (Eq. 3): those k are the same, so the first and C stand for
    all of them.
    """
    half = class_count // 2
    ks = set(range(1, min(half, EVERY_K_UP_TO) + 1)) | {1, half + 1, class_count}
    if half > EVERY_K_UP_TO:
        ks |= {int(k) for k in np.geomspace(EVERY_K_UP_TO, half, FURTHER_KS).round()}
    return sorted(ks)
