"""SVHN's official cropped digits: MATLAB files with X (32, 32, 3, N) and y (N, 1), 10 for zero."""

import functools
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.datasets.part import Part
from models.errors import DatasetError, ModelsError

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
MAX_PICTURES = 1_000_000
"""The largest official file, extra_32x32.mat, has 531,131."""

DIGITS = tuple("0123456789")


def loaders_in_folder(root: Path) -> tuple[str, Mapping[str, Callable[[], Part]]] | None:
    """Return the format's name and its parts where a folder holds SVHN's files."""
    loaders = {
        part: functools.partial(read_svhn, root / name)
        for part, name in FILES.items()
        if (root / name).is_file()
    }
    return ("SVHN", loaders) if loaders else None


def read_svhn(file: Path) -> Part:
    """Return the pictures of one of SVHN's files.

    Raises:
        DatasetError: it is damaged or holds something else.
        ModelsError: SciPy is not installed.
    """
    try:
        # Imported here: SciPy takes longer to start than every other format to read.
        from scipy.io import loadmat, whosmat
        from scipy.io.matlab import MatReadError
    except ModuleNotFoundError as exc:
        raise ModelsError("SVHN's files need scipy: pip install 'idlesight[train]'") from exc
    broken = (OSError, EOFError, IndexError, KeyError, MatReadError, TypeError, ValueError)
    try:
        shapes = {name: shape for name, shape, kind in whosmat(file) if kind == "uint8"}
        _check(shapes, file)
        held: dict[str, Any] = loadmat(file, variable_names=["X", "y"])
        pixels, digits = np.asarray(held["X"]), np.asarray(held["y"]).ravel()
    except (*broken, NotImplementedError, zlib.error) as exc:
        raise DatasetError(f"{file} is no complete SVHN file: download it again") from exc
    if len(digits) != pixels.shape[3] or digits.min() < 0 or digits.max() > 10:
        raise DatasetError(f"{file} has not one digit for each picture: download it again")
    targets = digits.astype(np.int64) % 10
    files = tuple(file / f"{index:05d}" for index in range(len(targets)))
    return Part(DIGITS, targets, files, pixels.transpose(3, 0, 1, 2))  # (N, 32, 32, 3)


def _check(shapes: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Refuse a file that says it unpacks to something else, before it is unpacked."""
    match shapes.get("X"), shapes.get("y"):
        case (32, 32, 3, pictures), (labels, 1) if 0 < pictures == labels <= MAX_PICTURES:
            return
    raise DatasetError(f"{file} is no SVHN file: it lacks X (32, 32, 3, N) or y (N, 1)")
