"""CIFAR-10 and CIFAR-100 in their official python version, unpacked or as downloaded.

A batch is a pickle that Python 2 wrote: a dictionary with `data`, an array (N, 3072) of bytes, the
red, green and blue planes of 32×32 pixels one after the other, and `labels` or `fine_labels`.
A pickle can run anything while it is loaded. These are loaded by an unpickler that knows three
names, all of numpy, and puts harmless stand-ins in their place: no code of numpy's, let alone of
anyone else, runs on what the file says.
"""

import functools
import io
import math
import pickle
import pickletools
import tarfile
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from models.datasets.part import Bytes, Part
from models.errors import DatasetError

SIDE = 32
MAX_FILE_BYTES = 200 * 1000 * 1000
"""CIFAR-100's train file, the largest of them, has 155 MB."""

BATCHES_10 = tuple(f"data_batch_{number}" for number in range(1, 6))
FILES_10 = {"train": BATCHES_10, "test": ("test_batch",)}
FILES_100 = {"train": ("train",), "test": ("test",)}
META_10, META_100 = "batches.meta", "meta"
LABELS = ("fine_labels", "labels")
NAMES = ("fine_label_names", "label_names")
MEMO_WRITES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
ARCHIVES = ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz")


def loaders_in_folder(root: Path) -> tuple[str, Mapping[str, Callable[[], Part]]] | None:
    """Return the format's name and its parts where a folder holds the unpacked files."""
    if (root / META_10).is_file() and any((root / name).is_file() for name in BATCHES_10):
        return "CIFAR-10", _loaders(root, FILES_10, META_10)
    if all((root / name).is_file() for name in ("train", "test", META_100)):
        return "CIFAR-100", _loaders(root, FILES_100, META_100)
    return None


def loaders_in_archive(archive: Path) -> tuple[str, Mapping[str, Callable[[], Part]]]:
    """Return the format's name and its parts of an archive.

    Raises:
        DatasetError: it is no archive, or of something else.
    """
    try:
        with tarfile.open(archive, "r|*") as members:
            for member in members:
                match PurePosixPath(member.name).parts:
                    case (*_, name) if name in (*BATCHES_10, "test_batch"):
                        return "CIFAR-10", _loaders(archive, FILES_10, META_10)
                    case (*_, "cifar-100-python", "train" | "test" | "meta"):
                        return "CIFAR-100", _loaders(archive, FILES_100, META_100)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise DatasetError(_broken(archive, exc)) from exc
    raise DatasetError(f"{archive} is not the python version of CIFAR-10 or CIFAR-100: unpack it")


def unpickle(content: bytes, source: Path) -> dict[str, object]:
    """Return a batch's dictionary; arrays come as `Bytes`, text as str.

    Raises:
        DatasetError: it is no pickle, or holds what a batch does not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in texts that are damaged anyway
            _check_memo(content)
            loaded = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except _Foreign as exc:
        raise DatasetError(
            f"{source} holds {exc}, which no CIFAR file does: do not use it, it may be an attack"
        ) from exc
    except _UNLOADABLE as exc:
        raise DatasetError(f"{source} is no complete CIFAR file: download it again") from exc
    if not isinstance(loaded, dict):
        raise DatasetError(f"{source} is no CIFAR file: it holds no dictionary")
    try:
        return {
            str(key): value.decoded() if isinstance(value, _Array) else value
            for key, value in loaded.items()
        }
    except ValueError as exc:
        raise DatasetError(f"{source} is no CIFAR file: {exc}") from exc


def _check_memo(content: bytes) -> None:
    """Refuse places in the unpickler's memo that ten bytes could make tens of gigabytes large."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content), start=1):
        if opcode.name in MEMO_WRITES and (argument is None or argument > count):
            raise pickle.UnpicklingError(f"memo entry {argument} after {count} instructions")


class _Foreign(pickle.UnpicklingError):
    """The pickle names what no CIFAR file holds."""


_UNLOADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What pickle's documentation and its source let a damaged pickle raise."""


class _Dtype:
    """Stands in for numpy.dtype: remembers its code alone."""

    code: object = None

    def __init__(self, code: object = None, *_rest: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: of no account for single bytes."""


class _Array:
    """Stands in for numpy's ndarray and its `_reconstruct`: remembers the state that is set."""

    state: object = None

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def decoded(self) -> Bytes:
        """Return the array of bytes.

        Raises:
            ValueError: it is of another type, or its content does not fill its shape.
        """
        match self.state:
            case (int(), tuple(shape), _Dtype(code="u1"), bool(in_columns), str(text)):
                content = text.encode("latin1")  # Python 2's bytes, as the unpickler reads them
                sizes = [size for size in shape if isinstance(size, int) and size >= 0]
                if len(sizes) == len(shape) and math.prod(sizes) == len(content):
                    flat: Bytes = np.frombuffer(content, np.uint8)
                    return flat.reshape(tuple(sizes), order="F" if in_columns else "C")
        raise ValueError("its array is not one of bytes")


class _Unpickler(pickle.Unpickler):
    ALLOWED = {  # noqa: RUF012 (a constant)
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.ALLOWED:
            raise _Foreign(f"{module}.{name}"[:80])
        return self.ALLOWED[module, name]


def _loaders(
    path: Path, files: Mapping[str, Sequence[str]], meta: str
) -> Mapping[str, Callable[[], Part]]:
    return {part: functools.partial(_read_part, path, names, meta) for part, names in files.items()}


def _read_part(path: Path, names: Sequence[str], meta: str) -> Part:
    contents = _contents(path, (*names, meta))
    labels = _strings(unpickle(contents[meta], path / meta), path / meta)
    pixels, targets = [], []
    for name in names:
        batch = unpickle(contents.pop(name), path / name)
        pixels.append(_pixels(batch.get("data"), path / name))
        targets += _targets(batch, len(pixels[-1]), len(labels), path / name)
    batch_of = [name for name, some in zip(names, pixels, strict=True) for _ in some]
    # Numbered through, so that no two of a part are called the same.
    files = tuple(path / name / f"{place:05d}" for place, name in enumerate(batch_of))
    return Part(labels, np.array(targets, np.int64), files, np.concatenate(pixels))


def _pixels(data: object, source: Path) -> Bytes:
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise DatasetError(f"{source} is no CIFAR file: its data is not rows of 3,072 bytes")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)


def _targets(batch: Mapping[str, object], count: int, classes: int, source: Path) -> list[int]:
    found = next((batch[key] for key in LABELS if key in batch), None)
    if not isinstance(found, list) or len(found) != count:
        raise DatasetError(f"{source} is no CIFAR file: it has not one label for each picture")
    if not all(type(label) is int and 0 <= label < classes for label in found):
        raise DatasetError(f"{source} is no CIFAR file: its labels are not 0 to {classes - 1}")
    return found


def _strings(meta: Mapping[str, object], source: Path) -> tuple[str, ...]:
    names = next((meta[key] for key in NAMES if key in meta), None)
    if isinstance(names, list) and len(set(map(str, names))) == len(names) > 1:
        return tuple(map(str, names))
    raise DatasetError(f"{source} is no CIFAR file: it names no classes")


def _contents(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return files of a folder or archive; nothing of an archive is ever unpacked to disk."""
    contents: dict[str, bytes] = {}
    try:
        if path.is_dir():
            for name in names:
                with (path / name).open("rb") as stream:
                    contents[name] = stream.read(MAX_FILE_BYTES + 1)
        else:
            with tarfile.open(path, "r|*") as members:
                for member in members:
                    name = PurePosixPath(member.name).name
                    stream_of = members.extractfile(member) if name in names else None
                    if stream_of:
                        contents[name] = stream_of.read(MAX_FILE_BYTES + 1)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        raise DatasetError(_broken(path, exc)) from exc
    for name in names:
        if name not in contents:
            raise DatasetError(f"{path} lacks {name}: download it again")
        if len(contents[name]) > MAX_FILE_BYTES:
            raise DatasetError(f"{path / name} is larger than any CIFAR file: download it again")
    return contents


def _broken(path: Path, exc: Exception) -> str:
    if isinstance(exc, FileNotFoundError):
        return f"{exc.filename or path} is missing: download the data set again"
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return f"{path} cannot be read ({reason}): download it again"
