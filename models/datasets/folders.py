"""Data sets that are pictures in folders: a folder a class, or Food-101."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from models.datasets.part import SUFFIXES, Part
from models.errors import DatasetError

Loaders = Mapping[str, Callable[[], Part]]


def class_folders(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted; hidden ones (thumbnails, caches) are no classes."""
    return sorted(
        entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, sorted by name; hidden ones are left out."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
    )


def image_folder(root: Path, names: Mapping[str, str] | None = None) -> Part:
    """Return the pictures of `root/<class>/`, or of `root/<class>/images/` as Tiny ImageNet has it.

    Args:
        root: a folder with one folder of pictures a class.
        names: what people call a class, where that is not its folder's name.

    Raises:
        DatasetError: there are no class folders, or one holds no pictures.
    """
    folders = class_folders(root)
    if not folders:
        raise DatasetError(f"{root} holds no class folders: give one that holds a folder a class")
    files: list[Path] = []
    targets: list[int] = []
    for target, folder in enumerate(folders):
        pictures = pictures_in(folder)
        if not pictures and (folder / "images").is_dir():
            pictures = pictures_in(folder / "images")
        if not pictures:
            raise DatasetError(f"{folder} holds no pictures: add some or remove the folder")
        files += pictures
        targets += [target] * len(pictures)
    keys = tuple(folder.name for folder in folders)
    labels = tuple((names or {}).get(key, key) for key in keys)
    return Part(labels, np.array(targets, np.int64), tuple(files), keys=keys)


def food_101(root: Path, split: str) -> Part:
    """Return the pictures that `meta/<split>.txt` lists, `<class>/<number>` a line.

    Raises:
        DatasetError: the list is missing, or names what is not below `images/`.
    """
    listing = root / "meta" / f"{split}.txt"
    entries = []
    for number, line in enumerate(lines(listing), start=1):
        name, _, picture = line.partition("/")
        if not re.fullmatch(r"\w+", name) or not re.fullmatch(r"\w+", picture):
            raise DatasetError(f"{listing}, line {number}: {line!r:.80} is not <class>/<number>")
        entries.append((name, root / "images" / name / f"{picture}.jpg"))
    return of_classes(entries, listing)


def of_classes(entries: Sequence[tuple[str, Path]], source: Path) -> Part:
    """Return files with their classes, sorted by both.

    Raises:
        DatasetError: there are fewer than two classes.
    """
    names = tuple(sorted({name for name, _ in entries}))
    if len(names) < 2:
        raise DatasetError(f"{source} names {len(names)} classes: at least two are needed")
    target_of = {name: target for target, name in enumerate(names)}
    ordered = sorted(entries)
    targets = np.array([target_of[name] for name, _ in ordered], np.int64)
    return Part(names, targets, tuple(file for _, file in ordered))


def lines(file: Path) -> Iterable[str]:
    """Return a list's lines that are not empty.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as exc:
        raise DatasetError(f"{file} cannot be read ({exc.strerror}): download it again") from exc
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{file} is not text: download it again") from exc
    return (line.strip() for line in text.splitlines() if line.strip())
