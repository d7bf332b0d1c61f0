"""Model files that came over the air, kept on the disk for the next start.

A file is named by its SHA-256 and is there completely or not at all: it is written beside its
place, brought to the disk and renamed. What is read is hashed again, so a damaged file is as good
as none. The disk is a convenience: where it is full or read-only, a model is fetched at each start.
"""

import hashlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Final

from models.manifest import MAX_MODEL_BYTES

logger = logging.getLogger(__name__)

SUFFIX: Final = ".tflite"
_PARTIAL: Final = ".partial"


class ModelStore:
    """The folder of one node; no other process writes there."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Remember where; nothing is read or made yet.

        Args:
            folder: of this node alone.
            max_bytes: of all files together; those that were not used for longest go first.
        """
        self.folder = folder
        self._max_bytes = max_bytes

    @staticmethod
    def file_name(sha256: str) -> str:
        """Return the name of a model's file."""
        return f"{sha256}{SUFFIX}"

    def has(self, sha256: str) -> bool:
        """Return whether the model is here and sound; it then counts as used just now.

        One that is damaged is removed.
        """
        file = self.folder / self.file_name(sha256)
        try:
            with file.open("rb") as stream:
                content = stream.read(MAX_MODEL_BYTES + 1)
        except FileNotFoundError:
            return False
        except OSError as exc:
            logger.warning("the model file %s cannot be read: %s", file, exc.strerror)
            return False
        if hashlib.sha256(content).hexdigest() != sha256:
            logger.warning("the model file %s is damaged: it is fetched again", file)
            _remove(file)
            return False
        _touch(file)
        return True

    def keep(self, sha256: str, model: bytes) -> bool:
        """Keep a model, and return whether that was possible; others may have to go for it."""
        if len(model) > self._max_bytes:
            return False
        file = self.folder / self.file_name(sha256)
        partial = file.with_name(f".{sha256[:16]}-{secrets.token_hex(4)}{_PARTIAL}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_room(self._max_bytes - len(model))
            try:
                with partial.open("wb") as stream:
                    stream.write(model)
                    stream.flush()
                    os.fsync(stream.fileno())
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
            _sync_folder(self.folder)
        except OSError as exc:
            logger.warning(
                "the model is not kept in %s (%s): it is fetched at each start",
                self.folder,
                exc.strerror,
            )
            return False
        return True

    def _make_room(self, room_bytes: int) -> None:
        """Remove what a power cut left half written, and old models until the rest fits."""
        for left_over in self.folder.glob(f".*{_PARTIAL}"):
            _remove(left_over)
        found = [(file.stat(), file) for file in self.folder.glob(f"*{SUFFIX}")]
        used_bytes = sum(status.st_size for status, _ in found)
        for status, file in sorted(found, key=lambda pair: pair[0].st_mtime_ns):
            if used_bytes <= room_bytes:
                return
            logger.info("the model file %s makes room for another", file)
            _remove(file)
            used_bytes -= status.st_size


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as exc:
        logger.warning("the file %s cannot be removed: %s", file, exc.strerror)


def _touch(file: Path) -> None:
    try:
        os.utime(file, ns=(time.time_ns(), time.time_ns()))
    except OSError as exc:  # a read-only disk: the order of use is lost, nothing else
        logger.debug("the file %s keeps its old date: %s", file, exc.strerror)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
