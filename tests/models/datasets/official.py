"""Writes small data sets in the official formats, byte for byte as their makers' tools did.

CIFAR's files are pickles of Python 2 (protocol 2, the names file protocol 0), so that they are
written here by opcode: Python 3's own pickle module can't write the byte strings of then.
"""

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

Pixels = np.ndarray

CIFAR10_LABELS = (
    "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
)


def pictures(count: int, side: int = 32, seed: int = 0) -> Pixels:
    """Return random pictures (N, side, side, 3), all different."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def write_cifar10(folder: Path, train: Pixels, test: Pixels, labels: Sequence[int]) -> None:
    """Write five batches of equal size, the test batch and the names; labels of both go round."""
    folder.mkdir(parents=True)
    of = [labels[index % len(labels)] for index in range(len(train))]
    each = len(train) // 5
    for number in range(5):
        some = slice(number * each, (number + 1) * each)
        content = batch({"batch_label": "b", "labels": of[some], "data": planes(train[some])})
        (folder / f"data_batch_{number + 1}").write_bytes(content)
    content = batch({"labels": of[: len(test)], "data": planes(test)})
    (folder / "test_batch").write_bytes(content)
    (folder / "batches.meta").write_bytes(names_file("label_names", CIFAR10_LABELS))


def write_cifar100(folder: Path, train: Pixels, test: Pixels, labels: Sequence[str]) -> None:
    """Write train, test and meta; fine labels go round."""
    folder.mkdir(parents=True)
    for name, some in (("train", train), ("test", test)):
        fine = [index % len(labels) for index in range(len(some))]
        held = {"fine_labels": fine, "coarse_labels": [0] * len(some), "data": planes(some)}
        (folder / name).write_bytes(batch(held))
    (folder / "meta").write_bytes(names_file("fine_label_names", labels))


def archived(folder: Path, archive: Path) -> Path:
    """Write a folder as the .tar.gz that is downloaded, and return it."""
    with tarfile.open(archive, "w:gz") as members:
        members.add(folder, folder.name)
    return archive


def planes(pixels: Pixels) -> Pixels:
    """Return pictures as CIFAR's rows of red, green and blue planes, (N, 3072)."""
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), 3 * pixels.shape[1] * pixels.shape[2])


def batch(held: Mapping[str, object]) -> bytes:
    """Return a dictionary as Python 2's cPickle wrote it with protocol 2."""
    return b"\x80\x02}(" + b"".join(_two(key) + _two(held[key]) for key in held) + b"u."


def _two(value: object) -> bytes:
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + struct.pack("<i", value)
        case str():
            return _two(value.encode("ascii"))
        case bytes() if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case list():
            return b"](" + b"".join(map(_two, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(_two, value)) + b"t"
        case None:
            return b"N"
        case np.ndarray():
            return (
                b"cnumpy.core.multiarray\n_reconstruct\n"
                + (b"(cnumpy\nndarray\n" + _two((0,)) + _two("b") + b"tR")
                + (b"(" + _two(1) + _two(value.shape))
                + (b"cnumpy\ndtype\n" + _two((value.dtype.str[1:], 0, 1)) + b"R")
                + (_two((3, "|", None, None, None, -1, -1, 0)) + b"b")
                + (_two(False) + _two(value.tobytes()) + b"tb")
            )
    raise TypeError(f"no CIFAR file holds {type(value).__name__}")


def names_file(key: str, names: Sequence[str]) -> bytes:
    """Return the names of classes as a protocol 0 pickle, as `batches.meta` is one."""
    items = "".join(f"S'{name}'\np{number}\na" for number, name in enumerate(names, start=9))
    return f"(dp1\nS'{key}'\np2\n(lp3\n{items}s.".encode("ascii")


def write_idx(
    folder: Path, train: Pixels, test: Pixels, labels: Mapping[str, Sequence[int]], gz: bool
) -> None:
    """Write the four IDX files of grey pictures (N, H, W)."""
    folder.mkdir(parents=True)
    for part, prefix, grey in (("train", "train", train), ("test", "t10k", test)):
        images = struct.pack(">4B3I", 0, 0, 8, 3, *grey.shape) + grey.tobytes()
        targets = struct.pack(">4BI", 0, 0, 8, 1, len(grey)) + bytes(labels[part])
        for name, content in (("images-idx3", images), ("labels-idx1", targets)):
            file = folder / f"{prefix}-{name}-ubyte{'.gz' if gz else ''}"
            file.write_bytes(gzip.compress(content) if gz else content)


def write_svhn(file: Path, pixels: Pixels, digits: Sequence[int]) -> None:
    """Write one of SVHN's files; digit 0 is label 10 there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    labels = np.array([[digit or 10] for digit in digits], np.uint8)
    held = {"X": pixels.transpose(1, 2, 3, 0), "y": labels}
    scipy.io.savemat(file, held, do_compression=True)


def write_food101(folder: Path, classes: Sequence[str], per_class: int, test: int) -> None:
    """Write images/ and meta/; the last `test` pictures of each class are the test part."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for place, name in enumerate(classes):
        (folder / "images" / name).mkdir(parents=True)
        for index, picture in enumerate(pictures(per_class, side=40, seed=place)):
            number = str(100_000 + 7919 * index)
            save_jpeg(picture, folder / "images" / name / f"{number}.jpg")
            lists["test" if index >= per_class - test else "train"].append(f"{name}/{number}")
    (folder / "meta").mkdir()
    for part, entries in lists.items():
        (folder / "meta" / f"{part}.txt").write_text("\n".join(entries) + "\n")
    (folder / "meta" / "classes.txt").write_text("\n".join(classes) + "\n")


def write_imagenet(
    root: Path, synsets: Sequence[str], per_class: int, parts: Sequence[str]
) -> None:
    """Write train/<synset>/<synset>_<number>.JPEG and the like."""
    for part in parts:
        for place, synset in enumerate(synsets):
            folder = root / part / synset
            folder.mkdir(parents=True)
            for index, picture in enumerate(pictures(per_class, side=48, seed=place)):
                save_jpeg(picture, folder / f"{synset}_{index}.JPEG")


def save_jpeg(pixels: Pixels, file: Path) -> None:
    """Write one picture."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95)
    file.write_bytes(content.getvalue())
