"""How many epochs fit into the minutes that somebody has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.training.errors import TrainingError
from models.training.recipe import Order, Recipe

TRAINING_SHARE = 0.75
"""Of the minutes; the rest is for reading, checking, exporting and for a machine that gets busy."""

FEATURES_COST = 0.35
"""Stage 1 runs every picture through the trunk once, forwards alone: of an epoch's three passes."""

MAX_EPOCHS = 60
"""A small data set is learned by heart long before; more would only take time."""

EXPORT_S = 20.0
"""Converting and checking one variant's file."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What training one variant costs.

    Attributes:
        epoch_s: seconds for one epoch of all layers.
        continues: whether it begins with the trunk of the variant before it.
    """

    epoch_s: float
    continues: bool


def costs(recipe: Recipe, pictures: int, pictures_per_s: Sequence[float]) -> list[Cost]:
    """Return the cost of each of the recipe's variants in the order they are trained.

    Args:
        recipe: what is trained.
        pictures: of one epoch.
        pictures_per_s: how fast each variant trains, in the same order.
    """
    ascending = recipe.order is Order.ASCENDING
    return [
        Cost(pictures / speed, ascending and index > 0)
        for index, speed in enumerate(pictures_per_s)
    ]


def expected_s(recipe: Recipe, parts: Sequence[Cost]) -> float:
    """Return how long the recipe takes, in seconds, its variants costing what `parts` says."""
    return sum(
        part.epoch_s * (recipe.epochs_of(continues=part.continues) + FEATURES_COST)
        for part in parts
    )


def within(recipe: Recipe, parts: Sequence[Cost], minutes: float) -> Recipe:
    """Return the recipe with as many epochs as fit into the minutes.

    A variant that continues another's trunk gets a third of the first one's epochs.

    Raises:
        TrainingError: not even one epoch fits.
    """
    budget_s = TRAINING_SHARE * (minutes * 60 - EXPORT_S * len(parts))
    fitting = None
    for epochs in range(1, MAX_EPOCHS + 1):
        planned = replace(recipe, epochs=epochs, further_epochs=max(1, round(epochs / 3)))
        if expected_s(planned, parts) > budget_s:
            break
        fitting = planned
    if fitting is None:
        least = replace(recipe, epochs=1, further_epochs=1)
        need_s = expected_s(least, parts) / TRAINING_SHARE + EXPORT_S * len(parts)
        raise TrainingError(
            f"{minutes:g} minutes are too few for {', '.join(recipe.variants)} on these pictures, "
            f"one epoch of each takes about {need_s / 60:.0f}: "
            "give more --minutes, fewer --variants or fewer pictures"
        )
    return fitting
