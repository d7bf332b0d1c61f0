"""What a home still gets when nodes fail, worked out exactly from the accuracy of every subset."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class Availability:
    """What to expect when each node fails by itself.

    Attributes:
        answered: probability that a frame gets any answer.
        right: probability that a frame gets a right answer; no answer is not right.
    """

    answered: float
    right: float

    @property
    def right_if_answered(self) -> float:
        """Accuracy over the frames that get an answer; 0 where none does."""
        return self.right / self.answered if self.answered else 0.0


def under_failures(
    accuracy: Mapping[frozenset[str], float], failing: Mapping[str, float]
) -> Availability:
    """Return what variants on nodes that fail independently of each other still give.

    Args:
        accuracy: the accuracy of every non-empty subset of the variants.
        failing: for each variant the probability, in [0, 1], that its node gives no answer.

    Raises:
        ValueError: a subset is missing or a probability is out of range.
    """
    if not all(0.0 <= p <= 1.0 for p in failing.values()):
        raise ValueError("a probability is in [0, 1]")
    if len(accuracy) != 2 ** len(failing) - 1:
        raise ValueError(
            f"{len(failing)} variants have {2 ** len(failing) - 1} subsets, not {len(accuracy)}"
        )
    right = 0.0
    for subset, share in accuracy.items():
        # The probability that exactly these answer.
        right += share * prod(1 - p if name in subset else p for name, p in failing.items())
    return Availability(answered=1 - prod(failing.values()), right=right)


def needing_every_machine(accuracy: float, machines: int, p: float) -> Availability:
    """Return what model or class parallelism gives: one machine lost, and there is no result.

    Args:
        accuracy: with every machine there.
        machines: over how many the work is split.
        p: the probability that a machine gives no answer.
    """
    answered = (1 - p) ** machines
    return Availability(answered, accuracy * answered)
