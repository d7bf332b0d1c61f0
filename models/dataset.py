"""Labelled pictures in folders, decoded once into one array that every variant reads.

A picture's class is the name of its folder (the ImageFolder layout). Pictures become square by
a centre crop and keep their size up to the largest resolution that is trained, so that small
pictures stay small: the pipeline enlarges them on the fly (see `augment.py`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import DatasetError

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

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


def read_image_folder(
    root: Path,
    largest_side: int,
    *,
    labels: tuple[str, ...] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Return every picture below `root/<class>/`, unreadable ones left out and named in the log.

    Args:
        root: a folder with one folder of pictures a class.
        largest_side: pictures are scaled down to at most this many pixels a side.
        labels: the classes to expect, in order; by default the folders' names, sorted.
        on_progress: called with (pictures read, pictures in all).

    Raises:
        DatasetError: there are no such folders, one is empty, or fewer than two classes.
    """
    files, labels = _list_pictures(root, labels)
    class_of = {label: index for index, label in enumerate(labels)}
    targets = [class_of[file.parent.name] for file in files]
    return read_pictures(files, targets, labels, largest_side, on_progress=on_progress)


def read_pictures(
    files: Sequence[Path],
    targets: Sequence[int],
    labels: tuple[str, ...],
    largest_side: int,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Return the pictures in these files, unreadable ones left out and named in the log.

    Args:
        files: at least one.
        targets: the class of each.
        labels: the classes.
        largest_side: pictures are scaled down to at most this many pixels a side.
        on_progress: called with (pictures read, pictures in all).

    Raises:
        DatasetError: none of a sample of them can be read.
    """
    side = min(largest_side, _usual_side(files))
    pixels = np.empty((len(files), 3, side, side), np.uint8)
    kept: list[int] = []
    for done, file in enumerate(files):
        try:
            picture = read_square(file, side)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as exc:
            logger.warning("left out %s: %s", file, exc)
            continue
        pixels[len(kept)] = picture.transpose(2, 0, 1)
        kept.append(done)
        if on_progress and done % 256 == 0:
            on_progress(done, len(files))
    if on_progress:
        on_progress(len(files), len(files))
    chosen = np.array(targets, np.int64)[kept]
    return Dataset(pixels[: len(kept)], chosen, labels, tuple(files[index] for index in kept))


def read_square(file: Path, side: int) -> Bytes:
    """Return the centre of the picture as (side, side, 3) RGB, antialiased bilinear."""
    with Image.open(file) as image:
        rgb = ImageOps.exif_transpose(image).convert("RGB")  # a phone's photos lie on their side
    short = min(rgb.size)
    left, top = (rgb.width - short) // 2, (rgb.height - short) // 2
    box = (left, top, left + short, top + short)
    # Cropped first: a filter over a box would mix in what lies beyond it.
    return np.asarray(rgb.crop(box).resize((side, side), Image.Resampling.BILINEAR))


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


def _list_pictures(
    root: Path, labels: tuple[str, ...] | None
) -> tuple[list[Path], tuple[str, ...]]:
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: give one that holds a folder a class")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    if labels is not None:
        unknown = sorted({folder.name for folder in folders} - set(labels))
        if unknown:
            raise DatasetError(f"{root} has classes that the model lacks: {', '.join(unknown)}")
    elif len(folders) < 2:
        raise DatasetError(f"{root} holds {len(folders)} class folders: at least two are needed")
    files: list[Path] = []
    for folder in folders:
        pictures = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        if not pictures:
            raise DatasetError(f"{folder} holds no pictures: add some or remove the folder")
        files += pictures
    if not files:
        raise DatasetError(f"{root} holds no class folders: give one that holds a folder a class")
    return files, labels or tuple(folder.name for folder in folders)


def _usual_side(files: Sequence[Path], sample: int = 200) -> int:
    """Return the median short side of an even sample of the pictures, in pixels."""
    sides = []
    for file in files[:: max(1, len(files) // sample)]:
        try:
            with Image.open(file) as image:
                sides.append(min(image.size))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            continue
    if not sides:
        raise DatasetError(f"{files[0].parent} holds no picture that can be read")
    return max(1, int(np.median(sides)))
