"""Which node runs which variant."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seat:
    """A node that is to be given a variant.

    Attributes:
        node: its name.
        holds: the variant it runs or was given, None for none yet.
        fixed: whether its owner chose the variant, so that it keeps it.
        offers: the variants it can run; empty while it has not said.
    """

    node: str
    holds: str | None
    fixed: bool
    offers: tuple[str, ...] = ()


def assign(seats: Iterable[Seat], variants: Sequence[str]) -> dict[str, str]:
    """Return the variant of each node that can run one of the pack's.

    A node keeps what it holds: a change costs it a restart of its worker, and its answers
    meanwhile. Any other gets, of the variants it offers, the one that fewest nodes hold; of
    several such the one that comes first in the pack. Nodes are served in the order of their
    names, so the outcome does not depend on who connected first.

    Args:
        seats: the nodes.
        variants: the pack's, in its own order.
    """
    ordered = sorted(seats, key=lambda seat: seat.node)
    given = {seat.node: seat.holds for seat in ordered if seat.holds in variants}
    held = Counter(given.values())
    for seat in ordered:
        if seat.node in given or seat.fixed:
            continue
        choice = [name for name in variants if not seat.offers or name in seat.offers]
        if choice:
            variant = min(choice, key=lambda name: held[name])  # the first of several
            given[seat.node] = variant
            held[variant] += 1
    return {node: variant for node, variant in given.items() if variant is not None}
