"""Data sets that are pictures in folders: a folder a class, Food-101, ImageNet's trees."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from models.datasets.part import SUFFIXES, Part
from models.errors import DatasetError

SYNSET = re.compile(r"^(n\d{8})(?:_|$)")
"""A class of ImageNet: its WordNet number, alone or followed by its name."""

SYNSET_NAMES = "LOC_synset_mapping.txt"
VALIDATION_CLASSES = "LOC_val_solution.csv"
CLASSES_FOLDER = Path("ILSVRC/Data/CLS-LOC")
"""Where Kaggle's ImageNet archive has train/ and val/, below its two lists."""

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
    """Return the pictures of `root/<class>/`.

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
    for number, line in enumerate(_lines(listing), start=1):
        name, _, picture = line.partition("/")
        if not re.fullmatch(r"\w+", name) or not re.fullmatch(r"\w+", picture):
            raise DatasetError(f"{listing}, line {number}: {line!r:.80} is not <class>/<number>")
        entries.append((name, root / "images" / name / f"{picture}.jpg"))
    return _of_classes(entries, listing)


def flat_synsets(root: Path) -> Part | None:
    """Return pictures named `<synset>_….jpg` in one folder, or None where it holds others."""
    entries = [(match[1], file) for file in pictures_in(root) if (match := SYNSET.match(file.stem))]
    return _of_classes(entries, root) if len({name for name, _ in entries}) > 1 else None


def synset_names(file: Path) -> dict[str, str]:
    """Return each synset's first name; where two have the same, their numbers follow.

    Raises:
        DatasetError: a line is not a synset and its names.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(_lines(file), start=1):
        synset, _, called = line.partition(" ")
        if not SYNSET.fullmatch(synset) or not called.strip():
            raise DatasetError(f"{file}, line {number}: {line!r:.80} is not a synset and its names")
        names[synset] = called.split(",")[0].strip()
    often = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {key: f"{name} ({key})" if name in often else name for key, name in names.items()}


def listed_validation(pictures: Path, listing: Path, train: Part) -> Part:
    """Return ImageNet's validation pictures, which lie in one folder, by Kaggle's list of them.

    Raises:
        DatasetError: the list is not one, or has classes that the train part lacks.
    """
    target_of = {key: target for target, key in enumerate(train.keys)}
    files: list[Path] = []
    targets: list[int] = []
    with listing.open(newline="", encoding="utf-8", errors="replace") as stream:
        for row in csv.reader(stream):
            if row[:1] == ["ImageId"]:
                continue
            name, synset = (row[0], row[1][:9]) if len(row) == 2 else ("", "")
            if synset not in target_of or not re.fullmatch(r"\w+", name):
                raise DatasetError(f"{listing}: {','.join(row)!r:.80} names no class of train/")
            files.append(pictures / f"{name}.JPEG")
            targets.append(target_of[synset])
    if not files:
        raise DatasetError(f"{listing} lists no pictures: download it again")
    return Part(train.labels, np.array(targets, np.int64), tuple(files), keys=train.keys)


def _of_classes(entries: Sequence[tuple[str, Path]], source: Path) -> Part:
    names = tuple(sorted({name for name, _ in entries}))
    if len(names) < 2:
        raise DatasetError(f"{source} names {len(names)} classes: at least two are needed")
    target_of = {name: target for target, name in enumerate(names)}
    ordered = sorted(entries)
    targets = np.array([target_of[name] for name, _ in ordered], np.int64)
    return Part(names, targets, tuple(file for _, file in ordered))


def _lines(file: Path) -> Iterable[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as exc:
        raise DatasetError(f"{file} cannot be read ({exc.strerror}): download it again") from exc
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{file} is not text: download it again") from exc
    return (line.strip() for line in text.splitlines() if line.strip())
