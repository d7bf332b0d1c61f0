"""Reading a pack's files, from a directory or from a zip file, without trusting either."""

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from models.errors import PackError, PackFileError, PackFormatError, PackNotFoundError

MANIFEST_FILE = "pack.json"

# What loading reads and hashes in all; a zip file that is larger is not opened.
MAX_PACK_BYTES = 256 << 20


class PackFiles(Protocol):
    """Where a pack's files are read from."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return one file's bytes.

        Raises:
            PackFileError: it is missing, no plain file, or larger than max_bytes.
        """
        ...


def open_files(path: Path) -> PackFiles:
    """Return the files of the pack at that path; none of them is read yet.

    Raises:
        PackNotFoundError: there is no directory or file.
        PackFormatError: it is a file, but no zip file with a manifest.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as exc:  # ValueError: a null byte in the path
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise PackNotFoundError(path, f"cannot be opened: {reason}") from exc
    if stat.S_ISDIR(mode):
        return DirectoryFiles(path)
    if stat.S_ISREG(mode):
        return ZipFiles.of(path)
    raise PackNotFoundError(path, "is neither a directory nor a zip file")


@dataclass(frozen=True, slots=True)
class DirectoryFiles:
    """A pack's directory; what is no plain file (a link, a pipe) is refused."""

    path: Path

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `PackFiles.read`."""
        try:
            with open(self.path / name, "rb", opener=_open_no_link) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise PackFileError(self.path, name, "is not a plain file")
                content = file.read(max_bytes + 1)
        except FileNotFoundError:
            raise PackFileError(self.path, name, "is missing") from None
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise PackFileError(self.path, name, "is a link, not a plain file") from None
            raise PackFileError(self.path, name, f"cannot be read: {exc.strerror}") from exc
        return _bounded(self.path, name, content, max_bytes)


@dataclass(frozen=True, slots=True)
class MemoryFiles:
    """Files that are no files, by name."""

    path: Path
    contents: Mapping[str, bytes]

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `PackFiles.read`."""
        if name not in self.contents:
            raise PackFileError(self.path, name, "is missing")
        return _bounded(self.path, name, self.contents[name], max_bytes)


@dataclass(frozen=True, slots=True)
class ZipFiles:
    """A pack's zip file, whose entries may all lie in one folder, as file managers make it."""

    path: Path
    folder: str  # "" or "name/"

    @classmethod
    def of(cls, path: Path) -> "ZipFiles":
        """Return the entries beside the one manifest in the zip file."""
        if path.stat().st_size > MAX_PACK_BYTES:
            raise PackFormatError(path, f"is larger than {MAX_PACK_BYTES >> 20} MiB")
        with _opened_zip(path) as archive:
            manifests = [
                name
                for name in archive.namelist()
                if PurePosixPath(name).name == MANIFEST_FILE and name.count("/") <= 1
            ]
        if len(manifests) != 1:
            found = "more than one" if manifests else "no"
            raise PackFormatError(path, f"holds {found} {MANIFEST_FILE}")
        return cls(path, manifests[0].removesuffix(MANIFEST_FILE))

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `PackFiles.read`."""
        with _opened_zip(self.path) as archive:
            entries = [
                entry for entry in archive.infolist() if entry.filename == self.folder + name
            ]
            if len(entries) != 1:
                problem = "is there more than once" if entries else "is missing"
                raise PackFileError(self.path, name, problem)
            (entry,) = entries
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise PackFileError(self.path, name, "is a link, not a plain file")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise PackFileError(self.path, name, "is packed by a method other than deflate")
            if entry.file_size > max_bytes:
                raise PackFileError(self.path, name, f"is larger than {max_bytes} bytes")
            with archive.open(entry) as file:  # what it declares need not be true
                return _bounded(self.path, name, file.read(max_bytes + 1), max_bytes)


# What zipfile raises on damaged, encrypted (RuntimeError) and oddly packed files.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
)


@contextmanager
def _opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield the opened zip file; what zipfile raises on a broken or odd one becomes PackError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except PackError:
        raise
    except _ZIP_ERRORS as exc:
        problem = f"is neither a directory nor a sound zip file: {exc}"
        raise PackFormatError(path, problem) from exc


def _bounded(path: Path, name: str, content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise PackFileError(path, name, f"is larger than {max_bytes} bytes")
    return content


def _open_no_link(path: str, flags: int) -> int:
    """Open a path that is no link; a pipe opens without waiting for its other end."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
