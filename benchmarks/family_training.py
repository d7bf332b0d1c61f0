"""Whether training a family on one data pipeline beats training its variants one by one."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from models.dataset import Dataset
from models.training.machine import keep_freed_memory
from models.training.recipe import Order, Recipe
from models.training.run import Run
from models.training.trainer import train

PICTURES = 640
CLASSES = 10
TURNS = 2
SIDE = 32
RECIPE = Recipe(("V1", "V2", "V3"), order=Order.TOGETHER, head_epochs=1, epochs=1)


def family_training() -> list[Row]:
    """Train V1, V2 and V3 for an epoch, together and one by one in turns; best turns."""
    keep_freed_memory()
    rng = np.random.default_rng(0)
    dataset = Dataset(
        rng.integers(0, 256, (PICTURES, 3, SIDE, SIDE), dtype=np.uint8),
        np.arange(PICTURES) % CLASSES,
        tuple(f"class {index}" for index in range(CLASSES)),
        tuple(Path(f"{index}.png") for index in range(PICTURES)),
    )
    together_s, apart_s = [], []
    _trained_s(dataset, [RECIPE])  # what is slow the first time is slow for nobody
    for _ in range(TURNS):
        together_s.append(_trained_s(dataset, [RECIPE]))
        apart_s.append(
            _trained_s(dataset, [replace(RECIPE, variants=(name,)) for name in RECIPE.variants])
        )
    ratio = min(apart_s) / min(together_s)
    return [
        Row(
            f"training V1, V2 and V3 together, one epoch of {PICTURES} pictures",
            f"{min(together_s):.1f} s, {ratio:.2f} × as fast",
            "> 1 ×",
            ratio > 1,
            f"one by one {min(apart_s):.1f} s",
        )
    ]


def _trained_s(dataset: Dataset, recipes: list[Recipe]) -> float:
    began_s = time.perf_counter()
    for recipe in recipes:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder))
            run.open(recipe, dataset.labels, len(dataset))
            train(dataset, recipe, run, pretrained=None)
    return time.perf_counter() - began_s
