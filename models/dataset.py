"""Labelled pictures, decoded once into one array that every variant reads (see `datasets`).

Pictures become square by a centre crop and keep their size up to the largest resolution that is
trained, so that small pictures stay small: the pipeline enlarges them on the fly (`augment.py`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import DatasetError

MINIMUM_PER_CLASS = 10
"""With fewer, a validation part of one in ten could miss a class."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Pictures and their classes.

    Attributes:
        pixels: shape (N, 3, S, S), RGB.
        targets: shape (N,), index into `labels`.
        labels: class names in the order of their indices.
        files: the file of each picture.
    """

    pixels: Bytes
    targets: Ints
    labels: tuple[str, ...]
    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: Ints) -> "Dataset":
        """Return the pictures at `indices`."""
        files = tuple(self.files[index] for index in indices)
        return Dataset(self.pixels[indices], self.targets[indices], self.labels, files)


def split_validation(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return (training, validation) parts with `share` of each class held out.

    Raises:
        DatasetError: a class has fewer than `MINIMUM_PER_CLASS` pictures.
    """
    counts = np.bincount(dataset.targets, minlength=len(dataset.labels))
    if counts.min() < MINIMUM_PER_CLASS:
        few = dataset.labels[int(counts.argmin())]
        raise DatasetError(
            f"class {few!r} has {counts.min()} readable pictures; "
            f"at least {MINIMUM_PER_CLASS} a class are needed: add some or remove the folder"
        )
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(dataset), bool)
    for target in range(len(dataset.labels)):
        members = rng.permutation(np.flatnonzero(dataset.targets == target))
        held_out[members[: max(1, round(share * len(members)))]] = True
    return dataset.subset(np.flatnonzero(~held_out)), dataset.subset(np.flatnonzero(held_out))
