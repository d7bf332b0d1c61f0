"""What is in a data set: counts, sizes, and what would spoil training or its figures."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image

from models.dataset import MINIMUM_PER_CLASS
from models.datasets.found import TEST, TRAIN, Found
from models.datasets.part import Part
from models.datasets.reading import decode
from models.errors import DatasetError, PictureError

DIGEST_BYTES = 16
Size = tuple[int, int]


class Repetition(StrEnum):
    """How exactly the same pixels stand in a data set more than once, the worst first."""

    ACROSS_PARTS = "across parts"
    SEVERAL_CLASSES = "several classes"
    WITHIN_CLASS = "within a class"


@dataclass(frozen=True, slots=True)
class Looked:
    """One picture as it was looked at.

    Attributes:
        part: train, test or all.
        label: its class.
        file: where it is.
        size: width and height in pixels.
        digest: a hash of its size and pixels.
    """

    part: str
    label: str
    file: Path
    size: Size
    digest: bytes


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Pictures of exactly the same pixels."""

    kind: Repetition
    pictures: tuple[Looked, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        path: where.
        format: of the data set.
        labels: the classes of all parts, in order.
        counts: of each part, how many readable pictures each class has.
        sizes: width and height of the smallest, the median and the largest picture, by area.
        unreadable: what could not be decoded.
        duplicates: pictures that are there more than once, the worst first.
    """

    path: Path
    format: str
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    sizes: tuple[Size, Size, Size]
    unreadable: tuple[PictureError, ...]
    duplicates: tuple[Duplicate, ...]

    @property
    def training_part(self) -> str:
        """The part that `train` takes."""
        return TRAIN if TRAIN in self.counts else next(iter(self.counts))

    def few(self) -> dict[str, int]:
        """Return the classes that have too few pictures to train on, with their counts."""
        counts = self.counts[self.training_part]
        return {label: n for label, n in counts.items() if n < MINIMUM_PER_CLASS}

    def missing(self, part: str) -> tuple[str, ...]:
        """Return the classes of other parts that a part has no pictures of."""
        return tuple(label for label in self.labels if not self.counts[part].get(label))

    def repeated(self, kind: Repetition) -> tuple[Duplicate, ...]:
        """Return the duplicates of one kind."""
        return tuple(one for one in self.duplicates if one.kind is kind)


def survey(
    found: Found,
    limit: int | None = None,
    on_progress: Callable[[str, int, int], None] = lambda _part, _done, _of: None,
) -> Survey:
    """Decode every picture of a data set and say what is there.

    Args:
        found: the data set.
        limit: only the first so many pictures of each class.
        on_progress: called with (part, pictures looked at, pictures in all).

    Raises:
        DatasetError: it has fewer than two classes, or no picture that can be read.
    """
    parts = {name: found.part(name) for name in found.parts}
    if limit:
        parts = {name: part.first_of_each_class(limit) for name, part in parts.items()}
    labels = tuple(dict.fromkeys(label for part in parts.values() for label in part.labels))
    if len(labels) < 2:
        held = f"{found.path} holds {len(labels)} class ({', '.join(labels)})"
        raise DatasetError(f"{held}: at least two are needed, each a folder of pictures")
    looked: list[Looked] = []
    unreadable: list[PictureError] = []
    for name, part in parts.items():
        _look(name, part, looked, unreadable, on_progress)
    if not looked:
        raise DatasetError(f"{found.path} holds no picture that can be read")
    return Survey(
        path=found.path,
        format=found.format,
        labels=labels,
        counts={name: _counts(part, looked, name) for name, part in parts.items()},
        sizes=middle_and_ends([one.size for one in looked]),
        unreadable=tuple(unreadable),
        duplicates=duplicates(looked),
    )


def duplicates(looked: Iterable[Looked]) -> tuple[Duplicate, ...]:
    """Return the groups of exactly the same pictures, the worst kind first."""
    groups: dict[bytes, list[Looked]] = {}
    for one in looked:
        groups.setdefault(one.digest, []).append(one)
    found = [Duplicate(_kind(some), tuple(some)) for some in groups.values() if len(some) > 1]
    order = list(Repetition)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def middle_and_ends(sizes: Sequence[Size]) -> tuple[Size, Size, Size]:
    """Return the smallest, the median and the largest of at least one size, by area."""
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]


def _kind(pictures: Sequence[Looked]) -> Repetition:
    if {TRAIN, TEST} <= {one.part for one in pictures}:
        return Repetition.ACROSS_PARTS
    if len({one.label for one in pictures}) > 1:
        return Repetition.SEVERAL_CLASSES
    return Repetition.WITHIN_CLASS


def _look(
    name: str,
    part: Part,
    looked: list[Looked],
    unreadable: list[PictureError],
    on_progress: Callable[[str, int, int], None],
) -> None:
    results = decode(
        part, _size_and_digest, on_progress=lambda done, of: on_progress(name, done, of)
    )
    for index, result in results:
        if isinstance(result, PictureError):
            unreadable.append(result)
        else:
            label = part.labels[part.targets[index]]
            looked.append(Looked(name, label, part.files[index], *result))


def _size_and_digest(picture: Image.Image) -> tuple[Size, bytes]:
    pixels = np.asarray(picture)  # (H, W, 3)
    digest = hashlib.blake2b(repr(picture.size).encode(), digest_size=DIGEST_BYTES)
    digest.update(pixels.data)
    return picture.size, digest.digest()


def _counts(part: Part, looked: Iterable[Looked], name: str) -> dict[str, int]:
    counts = dict.fromkeys(part.labels, 0)
    for one in looked:
        if one.part == name:
            counts[one.label] += 1
    return counts
