"""Where accuracies fall short of the paper's, and what of that the packs' own records explain."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from models.evaluation.paper import ALL_LAYERS_EPOCHS, HEAD_EPOCHS

# As the trainer writes it into a variant's provenance.
_EPOCHS = re.compile(r"(\d+) epochs? of the head and (\d+) of all layers")


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A variant below the paper's figure by more than its test pictures leave in doubt.

    Attributes:
        variant: its name.
        points: how far below, in percentage points.
        provenance: what the pack says of its training.
    """

    variant: str
    points: float
    provenance: str


def shortfalls(
    percents: Mapping[str, float],
    margins: Mapping[str, float],
    published: Mapping[str, float],
    provenances: Mapping[str, str],
) -> list[Shortfall]:
    """Return the variants that stay below the paper's figures by more than their margin.

    Args:
        percents: measured top-1 of each variant.
        margins: half of each one's 95 % interval, in points.
        published: the paper's figures, for whichever variants it has some.
        provenances: what the pack says of each variant's training.
    """
    return [
        Shortfall(name, published[name] - percent, provenances[name])
        for name, percent in percents.items()
        if name in published and published[name] - percent > margins[name]
    ]


def explain(shortfall: Shortfall) -> str:
    """Return one sentence: how far below, and how training differed from the paper's."""
    below = f"{shortfall.variant} is {shortfall.points:.2f} points below the paper"
    epochs = _EPOCHS.search(shortfall.provenance)
    if epochs:
        head, layers = int(epochs[1]), int(epochs[2])
        return (
            f"{below}: by its record it trained for {head} epochs of the head and {layers} of all "
            f"layers, the paper's for {HEAD_EPOCHS} and {ALL_LAYERS_EPOCHS}."
        )
    if shortfall.provenance:
        return f"{below}; its record says: {shortfall.provenance}."
    return f"{below}; its pack does not say how it was trained."
