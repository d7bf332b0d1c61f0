"""Labelled pictures in one folder, their classes in their names: `n01440764_tench.jpg`.

The name is a WordNet synset and a label, spaces as underscores. Where two classes share a label
(ImageNet's crane is a bird and a machine) the synsets tell them apart: classes come in the order
of their synsets, as in ImageNet and in everything trained on it.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from models.dataset import Dataset
from models.datasets.part import SUFFIXES, Part
from models.datasets.reading import read_dataset, read_part
from models.errors import DatasetError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(n\d{8})_(.+)", re.ASCII)

OnProgress = Callable[[int, int], None]


def read_labelled(
    root: Path,
    part: str,
    largest_side: int,
    labels: tuple[str, ...],
    *,
    limit: int | None = None,
    on_progress: OnProgress = lambda _done, _of: None,
) -> Dataset:
    """Return the labelled pictures of a data set, or of a folder with synsets in their names.

    Args:
        root: a data set in any format that `find` knows, or the folder.
        part: of the data set, train or test.
        largest_side: pictures are scaled down to at most this many pixels a side.
        labels: the classes.
        limit: at most so many pictures of each class, the first ones.
        on_progress: called with (pictures read, pictures in all).

    Raises:
        DatasetError: it holds neither, or none of the classes.
    """
    named = list_named(root)
    if not named:
        return read_dataset(
            root, part, largest_side, labels=labels, limit=limit, on_progress=on_progress
        )
    targets = match(named, labels)
    unknown = [file.name for file in named if file not in targets]
    if not targets:
        raise DatasetError(
            f"none of the {len(named)} pictures in {root} is named as one of the labels, "
            f"such as n01440764_tench.jpg: {named[0].name} is not"
        )
    if unknown:
        logger.warning(
            "left out %d pictures that no label fits, such as %s", len(unknown), unknown[0]
        )
    listed = Part(labels, np.array([*targets.values()]), tuple(targets))
    if limit:
        listed = listed.first_of_each_class(limit)
    return read_part(root, listed, largest_side, on_progress=on_progress)


def list_named(root: Path) -> list[Path]:
    """Return the pictures of a folder whose names begin with a synset, sorted."""
    if not root.is_dir():
        return []
    return sorted(
        file
        for file in root.iterdir()
        if file.suffix.lower() in SUFFIXES and _NAME.fullmatch(file.stem)
    )


def match(named: Iterable[Path], labels: tuple[str, ...]) -> dict[Path, int]:
    """Return the class of each picture that one label fits, whole or up to its first comma."""
    classes: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        classes[_plain(label.split(",")[0])].append(index)
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in named:
        if found := _NAME.fullmatch(file.stem):
            synset, label = found.groups()
            files[_plain(label.split(",")[0])][synset].append(file)
    targets: dict[Path, int] = {}
    for label, by_synset in files.items():
        fitting = classes.get(label, [])
        if len(fitting) == 1:
            fitting = fitting * len(by_synset)
        elif len(fitting) != len(by_synset):
            continue  # which of them it is cannot be told
        for synset, index in zip(sorted(by_synset), fitting, strict=True):
            targets.update(dict.fromkeys(by_synset[synset], index))
    return dict(sorted(targets.items()))


def _plain(label: str) -> str:
    """Return a label as it is compared: letters and digits, whatever stood between them."""
    return " ".join(re.findall(r"\w+", label.replace("_", " ").casefold()))
