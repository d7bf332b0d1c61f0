"""How fast this machine trains, and so how it should: measured, because processors differ.

bfloat16 halves what is moved where the processor has it in hardware and is several times slower
where it has not; compiling pays on one processor and costs on the next. Only measuring tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from models.specs import VariantSpec, spec_of
from models.training.machine import Machine, candidates, measure, pick_device
from models.training.planning import costs, expected_s
from models.training.recipe import Recipe

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

CALIBRATING_BATCH_SIZE = 32
"""Enough to tell two ways apart, small enough for seconds."""

AUGMENTATION_SHARE = 0.85
"""What remains of the measured speed once pictures are also drawn, turned and mixed (measured)."""

LONG_RUN_S = 1800.0
"""From here on it pays to find out whether compiling does: that takes two minutes or so."""

Compile = Literal["auto", "yes", "no"]


@dataclass(frozen=True, slots=True)
class Choice:
    """How to compute, and how fast that trains each of the recipe's variants."""

    machine: Machine
    pictures_per_s: tuple[float, ...]


def choose(
    recipe: Recipe,
    pictures: int,
    class_count: int,
    *,
    device: str = "auto",
    precision: str = "auto",
    compiled: Compile = "auto",
) -> Choice:
    """Return the fastest way to train the recipe here, among those that are left open.

    Args:
        recipe: what is trained.
        pictures: of one epoch.
        class_count: C.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, `float32` or `bfloat16`.
        compiled: whether to use torch.compile; `auto` measures it where the run is long.

    Raises:
        TrainingError: the device is not there.
    """
    dtypes = [*PRECISIONS.values()] if precision == "auto" else [PRECISIONS[precision]]
    specs = [spec_of(name) for name in recipe.variants]
    machines = candidates(pick_device(device), dtypes)
    if len(machines) > 1:
        middle = specs[len(specs) // 2]
        machines = [
            speed.machine
            for speed in measure(machines, middle, class_count, CALIBRATING_BATCH_SIZE)
        ]
    eager = Choice(machines[0], _speeds(machines[0], specs, class_count))
    compiled_machine = replace(machines[0], compiled=True)
    if compiled == "yes":
        return replace(eager, machine=compiled_machine)
    long = expected_s(recipe, costs(recipe, pictures, eager.pictures_per_s)) > LONG_RUN_S
    if compiled == "no" or not long:
        return eager
    fastest, other = measure(
        [machines[0], compiled_machine], specs[-1], class_count, CALIBRATING_BATCH_SIZE
    )
    if not fastest.machine.compiled:
        return eager
    gain = fastest.pictures_per_s / other.pictures_per_s
    return Choice(compiled_machine, tuple(speed * gain for speed in eager.pictures_per_s))


def _speeds(machine: Machine, specs: Sequence[VariantSpec], class_count: int) -> tuple[float, ...]:
    """Return how many pictures a second each variant learns from."""
    measured: dict[tuple[int, float], float] = {}
    for spec in specs:
        size = (spec.resolution, spec.width)
        if size not in measured:  # seeds of a variant are alike
            (speed,) = measure([machine], spec, class_count, CALIBRATING_BATCH_SIZE)
            measured[size] = AUGMENTATION_SHARE * speed.pictures_per_s
    return tuple(measured[spec.resolution, spec.width] for spec in specs)
