"""MNIST and Fashion-MNIST in their official IDX files, gzipped or not.

train-images-idx3-ubyte   0x00000803, N, rows, columns (big-endian), then N × rows × columns
train-labels-idx1-ubyte   0x00000801, N, then N labels
t10k-…                    the test part
"""

import functools
import gzip
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from models.datasets.part import Bytes, Part
from models.errors import DatasetError

PREFIXES = {"train": "train", "test": "t10k"}
UNSIGNED_BYTES = 0x08
MAX_BYTES = 1000 * 1000 * 1000
"""Of one unpacked file; MNIST's largest has 47 MB."""

FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_BEGINS = {"train": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5), "test": (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)}
"""The official files' first labels; in all else they are the same as MNIST's, names included."""


def loaders_in_folder(root: Path) -> tuple[str, Mapping[str, Callable[[], Part]]] | None:
    """Return the format's name and its parts where a folder holds IDX files.

    Raises:
        DatasetError: the labels' file is damaged.
    """
    pairs = {}
    for part, prefix in PREFIXES.items():
        images = _file(root, f"{prefix}-images", "idx3-ubyte")
        labels = _file(root, f"{prefix}-labels", "idx1-ubyte")
        if images and labels:
            pairs[part] = (images, labels)
    if not pairs:
        return None
    fashion = any(
        tuple(read_idx(labels, 1)[:10].tolist()) == FASHION_BEGINS[part]
        for part, (_, labels) in pairs.items()
    )
    loaders = {
        part: functools.partial(_read_part, images, labels, fashion)
        for part, (images, labels) in pairs.items()
    }
    return "Fashion-MNIST" if fashion else "MNIST", loaders


def read_idx(file: Path, dimensions: int) -> Bytes:
    """Return an IDX file's array of bytes.

    Raises:
        DatasetError: it is none, has another number of dimensions, or ends too early.
    """
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes(
                (0, 0, UNSIGNED_BYTES, dimensions)
            ):
                raise DatasetError(f"{file} is no IDX file of {dimensions} dimensions: replace it")
            shape = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
            wanted = math.prod(shape)
            if wanted > MAX_BYTES:
                raise DatasetError(f"{file} declares {wanted:,} bytes: it is no such data set")
            content = stream.read(wanted)
    except (OSError, EOFError, zlib.error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise DatasetError(f"{file} cannot be read ({reason}): download it again") from exc
    if len(content) < wanted:
        held = f"{len(content):,} of {wanted:,} bytes"
        raise DatasetError(f"{file} ends too early, with {held}: download it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _file(root: Path, name: str, kind: str) -> Path | None:
    """Return the file as it is called officially, or with the point that some mirrors write."""
    names = (f"{name}-{kind}", f"{name}.{kind}", f"{name}-{kind}.gz", f"{name}.{kind}.gz")
    return next((root / one for one in names if (root / one).is_file()), None)


def _read_part(images: Path, labels: Path, fashion: bool) -> Part:
    grey, targets = read_idx(images, 3), read_idx(labels, 1)
    if len(grey) != len(targets) or not grey.size:
        held = f"{len(grey):,} pictures and {labels.name} {len(targets):,} labels"
        raise DatasetError(f"{images} holds {held}: download both again")
    names = FASHION if fashion else tuple(map(str, range(max(10, int(targets.max()) + 1))))
    if targets.max() >= len(names):
        raise DatasetError(f"{labels} has labels beyond {len(names) - 1}: download it again")
    rgb = np.broadcast_to(grey[..., np.newaxis], (*grey.shape, 3))  # (N, 28, 28, 3), no copy
    keys = tuple(name.replace("/", "-") for name in names)  # fit for a folder
    files = tuple(images / f"{index:05d}" for index in range(len(grey)))
    return Part(names, targets.astype(np.int64), files, rgb, keys)
