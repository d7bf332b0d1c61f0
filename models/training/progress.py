"""What a training run tells the people who wait for it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: what it does now and how far it got.

    Attributes:
        task: such as `V1+V2 all layers, epoch 2 of 5`.
        done: steps done in this task.
        steps: steps of this task.
        note: the newest loss or accuracy, for people.
    """

    task: str
    done: int
    steps: int
    note: str = ""


OnProgress = Callable[[Progress], None]
