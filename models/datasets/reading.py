"""Read a data set's part into one array that every variant reads."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from models.dataset import Dataset
from models.datasets.found import find
from models.datasets.part import Bytes, Ints, Part, square
from models.errors import DatasetError, PictureError

logger = logging.getLogger(__name__)

BLOCK = 256
"""Pictures that are decoded between two signs of progress; few enough to stop at once."""

NAMED = 10
"""So many unreadable pictures are named in the log one by one; `data` names all."""

COPIES = 2
"""The array and the parts for training and validation that are taken from it."""

SHARE_OF_MEMORY = 0.8
"""The rest is for the network and for whoever else uses the machine."""

Result = TypeVar("Result")


def read_dataset(
    path: Path,
    part: str,
    largest_side: int,
    *,
    labels: tuple[str, ...] | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Dataset:
    """Return the pictures of a part, unreadable ones left out and named in the log.

    Args:
        path: a data set in any of the formats that `find` knows.
        part: train or test; of an undivided data set, all of it comes.
        largest_side: pictures are scaled down to at most this many pixels a side, and never up.
        labels: the classes to expect, in order; by default the data set's own.
        limit: at most so many pictures of each class, the first ones.
        on_progress: called with (pictures read, pictures in all).

    Raises:
        DatasetError: the path holds no such part, fewer than two classes or others than
            `labels`, nothing that can be read, or more than fits into the memory.
    """
    found = find(path)
    listed = found.part(part)
    if limit:
        listed = listed.first_of_each_class(limit)
    if labels is None and len(listed.labels) < 2:
        held = f"{path} holds {len(listed.labels)} class"
        raise DatasetError(f"{held}: at least two are needed, each a folder of pictures")
    target_of = _target_of(listed, labels, path)
    side = min(largest_side, usual_side(listed))
    _check_memory(path, listed, side)
    if listed.pixels is not None and listed.pixels.shape[1:3] == (side, side):
        pixels = np.ascontiguousarray(listed.pixels.transpose(0, 3, 1, 2))  # (N, 3, S, S)
        on_progress(len(listed), len(listed))
        return Dataset(pixels, target_of[listed.targets], labels or listed.labels, listed.files)
    pixels, kept = _decoded(listed, side, on_progress)
    if not kept:
        raise DatasetError(f"{path} holds no picture that can be read")
    files = tuple(listed.files[index] for index in kept)
    return Dataset(pixels, target_of[listed.targets[kept]], labels or listed.labels, files)


def decode(
    part: Part,
    work: Callable[[Image.Image], Result],
    side: int | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[tuple[int, Result | PictureError]]:
    """Yield every picture's index with what `work` makes of it, or why it cannot be decoded.

    Args:
        part: the pictures.
        work: called in several threads at once, since decoding leaves Python's lock.
        side: see `Part.picture`.
        on_progress: called with (pictures decoded, pictures in all).
    """

    def one(index: int) -> Result | PictureError:
        try:
            return work(part.picture(index, side))
        except PictureError as exc:
            return exc

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(part), BLOCK):
            on_progress(start, len(part))
            block = range(start, min(start + BLOCK, len(part)))
            yield from zip(block, pool.map(one, block), strict=True)
    on_progress(len(part), len(part))


def usual_side(part: Part, sample: int = 200) -> int:
    """Return the median short side of an even sample of the pictures, in pixels.

    Raises:
        DatasetError: none of them can be read.
    """
    sides = []
    for index in range(0, len(part), max(1, len(part) // sample)):
        try:
            sides.append(min(part.size(index)))
        except PictureError:
            continue
    if not sides:
        raise DatasetError(f"{part.files[0].parent} holds no picture that can be read")
    return max(1, int(np.median(sides)))


def free_memory_bytes() -> int | None:
    """Return how much memory the system could give without swapping; None where it is not said."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _decoded(
    listed: Part, side: int, on_progress: Callable[[int, int], None]
) -> tuple[Bytes, list[int]]:
    """Return the pictures that can be decoded, (n, 3, side, side), and which they are."""
    pixels = np.empty((len(listed), 3, side, side), np.uint8)
    kept: list[int] = []
    unreadable = 0
    for index, result in decode(listed, lambda picture: square(picture, side), side, on_progress):
        if isinstance(result, PictureError):
            unreadable += 1
            if unreadable <= NAMED:
                logger.warning("left out %s", result)
            continue
        pixels[len(kept)] = result.transpose(2, 0, 1)
        kept.append(index)
    if unreadable > NAMED:
        logger.warning("left out %d more that cannot be read", unreadable - NAMED)
    return pixels[: len(kept)], kept


def _target_of(part: Part, labels: Sequence[str] | None, path: Path) -> Ints:
    """Return the index among `labels` of each of the part's classes."""
    if labels is None:
        return np.arange(len(part.labels))
    unknown = sorted(set(part.labels) - set(labels))
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        named = ", ".join(unknown[:8]) + more
        raise DatasetError(f"{path} has classes that the model lacks: {named}")
    return np.array([labels.index(label) for label in part.labels])


def _check_memory(path: Path, part: Part, side: int) -> None:
    free = free_memory_bytes()
    if free is None:
        return
    usable = int(free * SHARE_OF_MEMORY) // COPIES
    needed = len(part) * 3 * side * side
    if needed <= usable:
        return
    fitting_limit = max(1, usable // (3 * side * side * len(part.labels)))
    fitting_side = max(1, int((usable / (3 * len(part))) ** 0.5))
    raise DatasetError(
        f"{path} has {len(part):,} pictures of {side} pixels a side, which need "
        f"{COPIES * needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: give "
        f"--limit {fitting_limit} (pictures a class) or --side {fitting_side}"
    )
