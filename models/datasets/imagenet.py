"""ImageNet as a tree, as Kaggle packs it, as Tiny ImageNet, and as single pictures.

Its classes are synsets: WordNet numbers such as n02123045, which name folders and files.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from models.datasets.folders import image_folder, lines, of_classes, pictures_in
from models.datasets.part import Part
from models.errors import DatasetError

SYNSET_NAMES = "LOC_synset_mapping.txt"
VALIDATION_CLASSES = "LOC_val_solution.csv"
CLASSES_FOLDER = Path("ILSVRC/Data/CLS-LOC")
"""Where Kaggle's archive has train/ and val/, below its two lists."""

TINY_NAMES = "words.txt"
TINY_VALIDATION = Path("val/val_annotations.txt")

_SYNSET = re.compile(r"(n\d{8})(?:_|$)")


def synset(name: str) -> str:
    """Return the WordNet number that a folder's or file's name is or begins with, or nothing."""
    match = _SYNSET.match(name)
    return match[1] if match else ""


def names_of(file: Path, only: Collection[str] | None = None) -> dict[str, str]:
    """Return each synset's first name; where two have the same, their numbers follow.

    Args:
        file: a line for each synset: its number, white space, its names with commas between.
        only: the synsets that matter, by default all.

    Raises:
        DatasetError: a line is something else.
    """
    names: dict[str, str] = {}
    for place, line in enumerate(lines(file), start=1):
        number, *called = line.split(maxsplit=1)
        if synset(number) != number or not called:
            raise DatasetError(f"{file}, line {place}: {line!r:.80} is not a synset and its names")
        if only is None or number in only:
            names[number] = called[0].split(",")[0].strip()
    often = Counter(names.values())
    return {key: name if often[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def single_pictures(root: Path) -> Part | None:
    """Return pictures named `<synset>_….jpg` in one folder, or None where it holds others."""
    entries = [(name, file) for file in pictures_in(root) if (name := synset(file.stem))]
    return of_classes(entries, root) if len({name for name, _ in entries}) > 1 else None


def kaggle_validation(pictures: Path, listing: Path, train: Part) -> Part:
    """Return the validation pictures, which lie in one folder, by Kaggle's list of them.

    Raises:
        DatasetError: the list is not one, or has classes that the train part lacks.
    """

    def entries() -> Iterator[tuple[str, str]]:
        for row in csv.reader(lines(listing)):
            if row[:1] != ["ImageId"]:
                yield (f"{row[0]}.JPEG", row[1].split(" ")[0]) if len(row) == 2 else ("", "")

    return _listed(pictures, listing, entries(), train)


def tiny_train(root: Path) -> Part:
    """Return Tiny ImageNet's train part, named by `words.txt` where it is there."""
    names = root / TINY_NAMES
    part = image_folder(root / "train")
    return image_folder(root / "train", names_of(names, part.keys)) if names.is_file() else part


def tiny_validation(root: Path) -> Part:
    """Return Tiny ImageNet's validation part; its test part has no classes.

    Raises:
        DatasetError: its list is not one, or has classes that the train part lacks.
    """
    listing = root / TINY_VALIDATION
    columns = ([*line.split("\t"), "", ""] for line in lines(listing))
    entries = ((file, number) for file, number, *_box in columns)
    return _listed(listing.parent / "images", listing, entries, tiny_train(root))


def _listed(pictures: Path, listing: Path, entries: Iterable[tuple[str, str]], train: Part) -> Part:
    target_of = {key: target for target, key in enumerate(train.keys)}
    files: list[Path] = []
    targets: list[int] = []
    for name, number in entries:
        if number not in target_of or not re.fullmatch(r"\w+\.JPEG", name):
            held = f"{name},{number}"
            raise DatasetError(f"{listing}: {held!r:.80} is no picture and class of train/")
        files.append(pictures / name)
        targets.append(target_of[number])
    if not files:
        raise DatasetError(f"{listing} lists no pictures: download it again")
    return Part(train.labels, np.array(targets, np.int64), tuple(files), keys=train.keys)
