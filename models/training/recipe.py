"""What a training run does, as values: its settings, its presets and its learning rates."""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from models.training.augment import Augmentation

WARM_UP_SHARE = 0.05
"""Share of the steps over which the learning rate rises, while Adam's averages settle."""

STAGNATION_FACTOR = 0.98
"""What the paper multiplies the learning rate by when accuracy stagnates (IV-B)."""


class Order(StrEnum):
    """How the variants of a family share the run.

    `TOGETHER` is the paper's: every batch trains every variant. `ASCENDING` trains them from the
    smallest resolution up, each starting from the trunk of the one before: all variants of a
    width have the same trunk, so the cheap ones do most of the learning.
    """

    TOGETHER = "together"
    ASCENDING = "ascending"


class Schedule(StrEnum):
    """How the learning rate of stage 2 moves: see `one_cycle` and `after_stagnation`."""

    ONE_CYCLE = "one-cycle"
    STAGNATION = "stagnation"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        variants: names, trained in ascending resolution.
        order: see `Order`.
        head_epochs: epochs of stage 1, the two last convolutions on the frozen trunk.
        epochs: epochs of stage 2, all layers.
        further_epochs: epochs of stage 2 of a variant that begins with the trunk of the one
            before it; only in ascending order.
        head_batch_size: pictures a step in stage 1.
        batch_size: pictures a step in stage 2.
        head_learning_rate: peak in stage 1.
        learning_rate: peak in stage 2.
        schedule: of the learning rate in stage 2.
        weight_decay: AdamW's (arXiv 1711.05101); with 0 it is Adam.
        label_smoothing: share of each target that is spread over all classes.
        balance: 0 draws pictures as they come, 1 every class alike; between them a class of n
            pictures gets a share that goes with n^(1 − balance).
        cached_features: stage 1 computes the trunk's features of the plain pictures once, in
            place of once an epoch on augmented ones.
        validation_share: share of each class held out, never trained on.
        seed: of the split, the order, the augmentation and the heads' start.
        augmentation: how far pictures are changed.
        detail: what the networks see is limited to what pictures of so many pixels a side can
            show; 0 for no limit. See `network.limit_detail`.
        pretrained: what the first trunk starts from, by name and hash; empty for random weights.
    """

    variants: tuple[str, ...]
    order: Order = Order.ASCENDING
    head_epochs: int = 5
    epochs: int = 10
    further_epochs: int = 3
    head_batch_size: int = 256
    batch_size: int = 64
    head_learning_rate: float = 3e-3
    learning_rate: float = 1.5e-3
    schedule: Schedule = Schedule.ONE_CYCLE
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    balance: float = 0.5
    cached_features: bool = True
    validation_share: float = 0.05
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    detail: int = 0
    pretrained: str = ""

    def epochs_of(self, *, continues: bool) -> int:
        """Return the epochs of stage 2 of a variant that does or doesn't continue another's."""
        return self.further_epochs if continues else self.epochs


def paper_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with the paper's settings (IV-B) in place of its own.

    135 epochs, the first 30 with all but the last two convolutions frozen; batches of 128, then
    64; Adam; the rate × 0.98 when accuracy stagnates; every batch trains every variant; flip,
    rotation and MixUp. The paper gives neither Adam's rate nor how far pictures are turned: 1e-3,
    which is Adam's usual one, and this project's 12° stand in.
    """
    return replace(
        recipe,
        order=Order.TOGETHER,
        head_epochs=30,
        epochs=105,
        head_batch_size=128,
        batch_size=64,
        head_learning_rate=1e-3,
        learning_rate=1e-3,
        schedule=Schedule.STAGNATION,
        weight_decay=0.0,
        label_smoothing=0.0,
        balance=0.0,
        cached_features=False,
        augmentation=replace(recipe.augmentation, shift=0.0, zoom=0.0, light=0.0),
    )


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Return the rate at `step` of `steps`: a linear rise, then a half cosine down to zero."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def after_stagnation(rate: float, accuracy: float, best_accuracy: float) -> float:
    """Return the rate for the next epoch: lower when this one brought no new best (paper IV-B)."""
    return rate if accuracy > best_accuracy else rate * STAGNATION_FACTOR


def draws_per_class(counts: list[int], balance: float) -> list[int]:
    """Return how many pictures of each class one epoch draws, in all about as many as there are.

    Args:
        counts: pictures of each class.
        balance: see `Recipe.balance`.
    """
    shares = [count ** (1.0 - balance) if count else 0.0 for count in counts]
    scale = sum(counts) / max(sum(shares), 1e-9)
    return [round(share * scale) for share in shares]
