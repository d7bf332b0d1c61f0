"""Scores of variants on pictures, kept on disk so that nothing is classified twice.

    <dataset>-<variant>-<key>.npy        the scores (N, C), float32
    <dataset>-<variant>-<key>.partial    the rows so far, raw float32, of a run that was ended

The key is of the model's SHA-256, its input offset and the pictures themselves: another model or
other pictures are another file, and a stale one is never read.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.dataset import Dataset
from models.errors import ModelsError
from models.evaluation.accuracy import classify
from models.pack import Pack, VariantEntry
from models.runtime import Classifier

Floats = npt.NDArray[np.float32]

CHUNK_PICTURES = 256
"""So many are classified between two writes: what the end of the process may cost."""

FLOAT_BYTES = 4


class CacheError(ModelsError):
    """The folder for what was measured cannot be used."""


def fingerprint(dataset: Dataset) -> str:
    """Return the SHA-256, in hex, of the pictures as they are read, their classes and labels."""
    digest = hashlib.sha256(repr((dataset.labels, dataset.pixels.shape)).encode())
    digest.update(np.ascontiguousarray(dataset.pixels).data)
    digest.update(np.ascontiguousarray(dataset.targets).data)
    return digest.hexdigest()


class ScoreCache:
    """Scores by model and pictures, below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def scores(
        self,
        pack: Pack,
        entry: VariantEntry,
        dataset: Dataset,
        data_fingerprint: str,
        *,
        threads: int = 1,
        on_progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> Floats:
        """Return the variant's scores (N, C) of the pictures; only rows not yet there are computed.

        Args:
            pack: holds the variant.
            entry: the variant.
            dataset: N pictures.
            data_fingerprint: of the same pictures, see `fingerprint`.
            threads: that the interpreter may use.
            on_progress: called with (pictures done, pictures in all).

        Raises:
            CacheError: the folder can't be read or written.
        """
        key = hashlib.sha256(
            repr((entry.sha256, entry.input_offset, data_fingerprint)).encode()
        ).hexdigest()
        file = self.folder / f"{pack.name}-{entry.name}-{key[:24]}.npy"
        shape = (len(dataset), len(pack.labels))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                partial = file.with_suffix(".partial")
                self._complete(partial, shape, pack, entry, dataset, threads, on_progress)
                scores = np.fromfile(partial, np.float32).reshape(shape)
                _write_array(file, scores)
                partial.unlink()
            found: Floats = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as exc:
            raise CacheError(
                f"{self.folder} can't keep what is measured ({exc}): free some space, delete the "
                "folder or name another with --cache"
            ) from exc
        on_progress(*((len(dataset),) * 2))
        return found

    def _complete(
        self,
        partial: Path,
        shape: tuple[int, int],
        pack: Pack,
        entry: VariantEntry,
        dataset: Dataset,
        threads: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        """Append the rows that the partial file lacks."""
        row_bytes = FLOAT_BYTES * shape[1]
        with partial.open("ab") as stream:
            done = stream.tell() // row_bytes
            stream.truncate(done * row_bytes)  # a row that was cut off
            classifier = Classifier(
                pack.model(entry.name), threads=threads, interface=entry.interface
            )
            for start in range(done, shape[0], CHUNK_PICTURES):
                pixels = dataset.pixels[start : start + CHUNK_PICTURES]
                rows = classify(
                    classifier,
                    pixels,
                    entry.input_offset,
                    on_progress=lambda n, _of, start=start: on_progress(start + n, shape[0]),  # type: ignore[misc]
                )
                stream.write(rows.tobytes())
                stream.flush()


def _write_array(file: Path, array: Floats) -> None:
    """Write an .npy file that is there completely or not at all."""
    beside = file.with_suffix(".writing")
    with beside.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
    os.replace(beside, file)
