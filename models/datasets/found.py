"""What a path holds: which data set, in which format, with which parts.

A format is told by what the folder or file holds, never by its name. Parts are listed only when
they are asked for: training never opens the test part.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.datasets import cifar, folders, idx, imagenet, svhn
from models.datasets.folders import Loaders
from models.datasets.part import Part
from models.errors import DatasetError

TRAIN, TEST, WHOLE = "train", "test", "all"
PARTS = (TRAIN, TEST, WHOLE)

TEST_FOLDERS = ("test", "val", "validation", "valid")
"""What a test part's folder may be called; ImageNet's test/ has no classes, so val/ is taken."""

NESTED = (
    Path("cifar-10-batches-py"),
    Path("cifar-100-python"),
    Path("food-101"),
    Path("raw"),
    Path("tiny-imagenet-200"),
    Path("MNIST", "raw"),
    Path("FashionMNIST", "raw"),
    *map(Path, cifar.ARCHIVES),
)
"""What official archives unpack to, and how download tools store them; tried where the path
itself holds none, archives last."""


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
        part = loader()
        if not len(part):
            raise DatasetError(
                f"{self.path} holds no pictures in its {name} part: download it again"
            )
        return part


def find(path: Path) -> Found:
    """Say what a path holds.

    Raises:
        DatasetError: it holds nothing that is known, or more than one data set.
    """
    try:
        if path.is_file():
            return _in_archive(path)
        if not path.is_dir():
            raise DatasetError(f"{path} is not a folder: give one that holds a folder a class")
        return _in_folder(path) or _nested(path) or _undivided(path)
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read ({exc.strerror}): check it") from exc


def _in_archive(file: Path) -> Found:
    return Found(file, *cifar.loaders_in_archive(file))


def _in_folder(root: Path) -> Found | None:
    for packed in (cifar, idx, svhn):
        if (found := packed.loaders_in_folder(root)) is not None:
            return Found(root, *found)
    if (root / "meta" / "train.txt").is_file() and (root / "images").is_dir():
        loaders: Loaders = {
            name: functools.partial(folders.food_101, root, name) for name in (TRAIN, TEST)
        }
        return Found(root, "Food-101", loaders)
    if (root / imagenet.TINY_VALIDATION).is_file() and _has_folders(root / TRAIN):
        loaders = {
            TRAIN: functools.partial(imagenet.tiny_train, root),
            TEST: functools.partial(imagenet.tiny_validation, root),
        }
        return Found(root, "Tiny ImageNet", loaders)
    return _divided(root)


def _nested(root: Path) -> Found | None:
    found: dict[str, Found] = {}
    for name in NESTED:
        path = root / name
        one = _in_folder(path) if path.is_dir() else _in_archive(path) if path.is_file() else None
        if one:
            found.setdefault(one.format, one)
    if len(found) > 1:
        raise DatasetError(f"{root} holds {' and '.join(found)}: give the folder of one")
    return next(iter(found.values()), None)


def _undivided(root: Path) -> Found:
    if not folders.class_folders(root) and (flat := imagenet.single_pictures(root)):
        return Found(root, "ImageNet pictures", {WHOLE: lambda: flat})
    return Found(root, "image folder", {WHOLE: functools.partial(folders.image_folder, root)})


def _divided(root: Path) -> Found | None:
    """Return a folder that holds train/ and test/, or one of them, each a folder of classes."""
    tree = root / imagenet.CLASSES_FOLDER
    base = tree if tree.is_dir() else root
    mapping, listing = root / imagenet.SYNSET_NAMES, root / imagenet.VALIDATION_CLASSES
    names = imagenet.names_of(mapping) if mapping.is_file() else None
    train = base / TRAIN
    tests = [base / name for name in TEST_FOLDERS]
    loaders: dict[str, Callable[[], Part]] = {}
    if _has_folders(train):
        loaders[TRAIN] = functools.partial(folders.image_folder, train, names)
    for test in tests:
        if _has_folders(test):
            loaders[TEST] = functools.partial(folders.image_folder, test, names)
            break
    if set(loaders) == {TRAIN} and listing.is_file():
        loaders[TEST] = lambda: imagenet.kaggle_validation(base / "val", listing, loaders[TRAIN]())
    if not loaders:
        return None
    classes = [
        one for part in (train, *tests) if part.is_dir() for one in folders.class_folders(part)
    ]
    synsets = all(imagenet.synset(one.name) for one in classes)
    return Found(root, "ImageNet folders" if synsets else "image folders", loaders)


def _has_folders(root: Path) -> bool:
    return root.is_dir() and bool(folders.class_folders(root))
