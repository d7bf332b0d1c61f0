"""Figures and names as the report's sentences and tables write them."""

from collections.abc import Sequence


def percent(share: float) -> str:
    """Return a share in percent, two decimals: 0.9324 as 93.24."""
    return f"{100 * share:.2f}"


def signed(points: float) -> str:
    """Return a difference in points with its sign."""
    return f"{points:+.2f}".replace("-", "−")


def plus(names: Sequence[str]) -> str:
    """Return names of variants that answer together: V1+V2."""
    return "+".join(names)


def listed(names: Sequence[str]) -> str:
    """Return the names as in a sentence: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 node, 3 nodes."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
