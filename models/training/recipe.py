"""What a training run does, as values: its settings and its learning-rate schedule."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from models.training.augment import Augmentation

WARM_UP_SHARE = 0.05
"""Share of the steps over which the learning rate rises, while Adam's averages settle."""


class Order(StrEnum):
    """How the variants of a family share the run.

    `TOGETHER` is the paper's: every batch trains every variant. `ASCENDING` trains them from the
    smallest resolution up, each starting from the trunk of the one before: all variants of a
    width have the same trunk, so the cheap ones do most of the learning.
    """

    TOGETHER = "together"
    ASCENDING = "ascending"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        variants: names, trained in ascending resolution.
        order: see `Order`.
        head_epochs: epochs of stage 1, the two last convolutions on cached trunk features.
        epochs: epochs of stage 2, all layers.
        head_batch_size: pictures a step in stage 1.
        batch_size: pictures a step in stage 2.
        head_learning_rate: peak in stage 1.
        learning_rate: peak in stage 2.
        weight_decay: AdamW's (arXiv 1711.05101).
        validation_share: share of each class held out, never trained on.
        seed: of the split, the order, the augmentation and the heads' start.
        augmentation: how far pictures are changed.
        pretrained: what the first trunk starts from, by name and hash; empty for random weights.
        compiled: whether stage 2 runs through `torch.compile`: about a minute of compiling a
            variant, repaid by every epoch.
    """

    variants: tuple[str, ...]
    order: Order = Order.ASCENDING
    head_epochs: int = 5
    epochs: int = 5
    head_batch_size: int = 256
    batch_size: int = 128
    head_learning_rate: float = 3e-3
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    validation_share: float = 0.05
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    pretrained: str = ""
    compiled: bool = False


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate at `step` of `steps`: a linear rise, then a half cosine down to zero."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
