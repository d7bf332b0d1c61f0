"""The confidence that a result states, and the status that follows from it."""

from typing import Literal


def stated(probability: float) -> float:
    """Return a probability as results state it: four decimals, within [0, 1]."""
    return min(1.0, max(0.0, round(float(probability), 4)))


def status_of(confidence: float, min_confidence: float) -> Literal["answered", "unsure"]:
    """Return the status of an answer stated with this confidence."""
    return "answered" if confidence >= min_confidence else "unsure"
