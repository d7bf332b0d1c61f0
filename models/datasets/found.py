"""What a path holds: which data set, in which format, with which parts.

A format is told by what the folder or file holds, never by its name. Parts are listed only when
they are asked for: training never opens the test part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.datasets import folders
from models.datasets.folders import Loaders
from models.datasets.part import Part
from models.errors import DatasetError

TRAIN, TEST, WHOLE = "train", "test", "all"
PARTS = (TRAIN, TEST, WHOLE)

TEST_FOLDERS = ("test", "val", "validation", "valid")
"""What a test part's folder may be called; ImageNet's test/ has no classes, so val/ is taken."""

NESTED = ("food-101",)
"""Folders that official archives unpack to and that download tools make, tried last."""


@dataclass(frozen=True, slots=True)
class Found:
    """A data set at a path.

    Attributes:
        path: the folder or file.
        format: its name for people.
        loaders: its parts' names, each with what lists it: train and test, one of them, or all.
    """

    path: Path
    format: str
    loaders: Loaders

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts, train before test."""
        return tuple(name for name in PARTS if name in self.loaders)

    def part(self, name: str) -> Part:
        """List and return the part of a name; of an undivided data set, the whole of it.

        Raises:
            DatasetError: there is no such part, or it cannot be listed.
        """
        loader = self.loaders.get(name) or self.loaders.get(WHOLE)
        if loader is None:
            only = self.parts[0]
            raise DatasetError(
                f"{self.path} has a {only} part and no {name} part: add {name}/, or give the "
                f"{only} part's own folder"
            )
        return loader()


def find(path: Path) -> Found:
    """Say what a path holds.

    Raises:
        DatasetError: it holds nothing that is known.
    """
    try:
        if not path.is_dir():
            raise DatasetError(f"{path} is not a folder or archive of labelled pictures")
        for candidate in (path, *(path / name for name in NESTED)):
            if candidate.is_dir() and (found := _in_folder(candidate)):
                return found
        return Found(path, "image folder", {WHOLE: lambda: folders.image_folder(path)})
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read ({exc.strerror}): check it") from exc


def _in_folder(root: Path) -> Found | None:
    if (root / "meta" / "train.txt").is_file() and (root / "images").is_dir():
        loaders: Loaders = {
            name: lambda name=name: folders.food_101(root, name)  # type: ignore[misc]
            for name in (TRAIN, TEST)
        }
        return Found(root, "Food-101", loaders)
    if divided := _divided(root):
        return divided
    if not folders.class_folders(root) and folders.flat_synsets(root):
        return Found(root, "ImageNet pictures", {WHOLE: lambda: _whole_flat(root)})
    return None


def _whole_flat(root: Path) -> Part:
    part = folders.flat_synsets(root)
    if part is None:
        raise DatasetError(f"{root} no longer holds the pictures it held")
    return part


def _divided(root: Path) -> Found | None:
    """Return a folder that holds train/ and test/, or one of them, each a folder of classes."""
    tree = root / folders.CLASSES_FOLDER
    base = tree if tree.is_dir() else root
    mapping, listing = root / folders.SYNSET_NAMES, root / folders.VALIDATION_CLASSES
    names = folders.synset_names(mapping) if mapping.is_file() else None
    train = base / TRAIN
    tests = [base / name for name in TEST_FOLDERS]
    loaders: dict[str, Callable[[], Part]] = {}
    if _has_folders(train):
        loaders[TRAIN] = lambda: folders.image_folder(train, names)
    for test in tests:
        if _has_folders(test):
            loaders[TEST] = lambda test=test: folders.image_folder(test, names)  # type: ignore[misc]
            break
    if set(loaders) == {TRAIN} and listing.is_file():
        loaders[TEST] = lambda: folders.listed_validation(base / "val", listing, loaders[TRAIN]())
    if not loaders:
        return None
    classes = [
        one for part in (train, *tests) if part.is_dir() for one in folders.class_folders(part)
    ]
    synsets = all(folders.SYNSET.match(one.name) for one in classes)
    return Found(root, "ImageNet folders" if synsets else "image folders", loaders)


def _has_folders(root: Path) -> bool:
    return root.is_dir() and bool(folders.class_folders(root))
