"""Where a group of variants stands in stage 2, as a checkpoint keeps it."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Position:
    """What the next step depends on, but for weights and optimizers.

    Attributes:
        epoch: epochs done.
        steps: done within the epoch.
        generator: state of the random numbers as the epoch began: on resuming, the steps done are
            drawn again, not computed again.
        losses: of each variant, summed over the epoch's steps.
        rates: peak learning rate of each variant.
        best: best validation accuracy of each variant.
    """

    epoch: int = 0
    steps: int = 0
    generator: Tensor = field(default_factory=lambda: torch.empty(0))
    losses: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)

    def next_epoch(self, generator: Tensor) -> None:
        """Move to the beginning of the next epoch."""
        self.epoch += 1
        self.steps = 0
        self.losses = {}
        self.generator = generator

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps; `Position(**state)` is the same position."""
        return {name: getattr(self, name) for name in self.__slots__}
