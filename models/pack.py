"""Packs: a family of trained variants as one directory, or one zip file of it.

A pack holds `pack.json` (a `PackManifest`) and for each variant a .tflite file in one precision or
in several; `PACKS.md` describes it. Packs come from other people, so nothing in one is trusted:
names are plain file names, sizes are bounded before anything is read, and every file's SHA-256 is
that of the manifest before its bytes are used.
"""

import hashlib
import importlib.resources
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from models.errors import (
    PackFileError,
    PackFormatError,
    PackWriteError,
    PrecisionNotFoundError,
    VariantNotFoundError,
)
from models.manifest import (
    FORMAT_2_FIELDS,
    MAX_MODEL_BYTES,
    FileEntry,
    PackManifest,
    Precision,
    VariantEntry,
)
from models.pack_files import (
    MANIFEST_FILE,
    MAX_PACK_BYTES,
    DirectoryFiles,
    MemoryFiles,
    PackFiles,
    open_files,
)

__all__ = [
    "DEFAULT_PACK",
    "MANIFEST_FILE",
    "FileEntry",
    "Pack",
    "PackManifest",
    "Precision",
    "VariantEntry",
    "load_pack",
    "loose_pack",
    "pack_in_memory",
    "shipped_packs",
    "write_pack",
    "zip_pack",
]

DEFAULT_PACK = "home"

# Room for the 21,841 labels of the whole ImageNet, each on a line of its own.
MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack whose manifest is valid; its models are read when asked for.

    Attributes:
        path: its directory or zip file.
        manifest: what its pack.json holds.
    """

    path: Path
    manifest: PackManifest
    _files: PackFiles

    @property
    def name(self) -> str:
        """The pack's name."""
        return self.manifest.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The C classes in the order of the models' scores."""
        return self.manifest.labels

    @property
    def largest_resolution(self) -> int:
        """The largest ρ of its variants: what a picture for all of them must be scaled to."""
        return max(variant.resolution for variant in self.manifest.variants)

    def variant(self, name: str) -> VariantEntry:
        """Return the variant of that name.

        Raises:
            VariantNotFoundError: there is none.
        """
        for variant in self.manifest.variants:
            if variant.name == name:
                return variant
        names = [variant.name for variant in self.manifest.variants]
        raise VariantNotFoundError(self.path, name, names)

    def by_model_id(self, model_id: int) -> VariantEntry | None:
        """Return the variant that a prediction's model id names, whichever its precision."""
        for variant in self.manifest.variants:
            if any(file.model_id == model_id for file in variant.files):
                return variant
        return None

    def file(self, name: str, precision: Precision | None = None) -> FileEntry:
        """Return the entry of a variant's file; None is its default precision.

        Raises:
            VariantNotFoundError: there is no variant of that name.
            PrecisionNotFoundError: it does not come in that precision.
        """
        variant = self.variant(name)
        for file in variant.files:
            if precision in (None, file.precision):
                return file
        raise PrecisionNotFoundError(self.path, name, str(precision), variant.precisions)

    def model(self, name: str, precision: Precision | None = None) -> bytes:
        """Return a variant's .tflite file, which is exactly the one the manifest names.

        Args:
            name: the variant's.
            precision: None is its default one.

        Raises:
            VariantNotFoundError: there is no variant of that name.
            PrecisionNotFoundError: it does not come in that precision.
            PackFileError: the file is missing, unsafe, too large or altered.
        """
        return self._read(self.file(name, precision))

    def _read(self, entry: FileEntry) -> bytes:
        bound = MAX_MODEL_BYTES if entry.size_bytes is None else entry.size_bytes
        model = self._files.read(entry.file, bound)
        if hashlib.sha256(model).hexdigest() != entry.sha256:
            raise PackFileError(
                self.path, entry.file, "is not the file that was packed, copy the pack again"
            )
        if entry.size_bytes not in (None, len(model)):
            problem = f"has {len(model)} bytes, {MANIFEST_FILE} says {entry.size_bytes}"
            raise PackFileError(self.path, entry.file, problem)
        return model


def shipped_packs() -> dict[str, Path]:
    """Return the packs that come with idlesight, by name."""
    manifests = sorted(_shipped_folder().glob(f"*/{MANIFEST_FILE}"))
    return {file.parent.name: file.parent for file in manifests}


def load_pack(path: Path | str | None = None) -> Pack:
    """Return the pack at that path, all its files checked.

    Args:
        path: its directory or .zip file, or the bare name of a pack that ships with idlesight,
            unless something of that name is here; None is the one for the home.

    Raises:
        PackError: in one of its kinds, when there is no sound pack.
    """
    path = _shipped_folder() / DEFAULT_PACK if path is None else Path(path)
    if not path.exists():
        path = shipped_packs().get(str(path), path)
    files = open_files(path)
    pack = Pack(path, _parse_manifest(path, files.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)), files)
    total_bytes = 0
    for entry in _entries(pack.manifest):
        total_bytes += len(pack._read(entry))
        if total_bytes > MAX_PACK_BYTES:
            raise PackFileError(
                path, entry.file, f"makes it larger than {MAX_PACK_BYTES >> 20} MiB"
            )
    return pack


def loose_pack(directory: Path, manifest: PackManifest) -> Pack:
    """Return a pack whose files are in a directory and whose manifest is not; none is read yet."""
    return Pack(directory, manifest, DirectoryFiles(directory))


def pack_in_memory(manifest: PackManifest, contents: Mapping[str, bytes]) -> Pack:
    """Return a pack whose files are here, by their names."""
    path = Path(manifest.name)
    return Pack(path, manifest, MemoryFiles(path, contents))


def write_pack(
    directory: Path,
    manifest: PackManifest,
    models: Mapping[str, bytes],
    *,
    alternatives: Mapping[str, bytes] = MappingProxyType({}),
) -> Pack:
    """Write a pack and return it; the directory is there completely or not at all.

    A pack that is there already is replaced; other files beside its own (a README) stay.

    Args:
        directory: the pack's directory to be; its parents are made.
        manifest: the pack's manifest.
        models: the default .tflite file of each variant, by the variant's name.
        alternatives: the files of their further precisions, by file name.

    Raises:
        ValueError: the models are not those of the manifest, or that is too large.
        PackWriteError: the directory cannot be written, or is there and holds no pack.
    """
    contents = _contents(manifest, models, alternatives)
    manifest_json = _to_json(manifest)
    directory = Path(directory).resolve()
    token = secrets.token_hex(4)
    partial = directory.with_name(f".{directory.name}.partial-{token}")
    replaced = directory.with_name(f".{directory.name}.replaced-{token}")
    with _writing(directory):
        kept = _files_to_keep(directory)
        try:
            partial.mkdir(parents=True)
            for file in kept:
                shutil.copy2(file, partial)
            for name, content in contents.items():
                _write_synced(partial / name, content)
            _write_synced(partial / MANIFEST_FILE, manifest_json)
            if directory.exists():
                directory.rename(replaced)
            partial.rename(directory)
        finally:
            if replaced.exists() and not directory.exists():
                replaced.rename(directory)
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)
    return load_pack(directory)


def zip_pack(pack: Pack, file: Path) -> None:
    """Write the pack as one zip file, the same bytes for the same pack.

    Raises:
        PackFileError: one of the pack's files is no longer sound.
        PackWriteError: the file cannot be written.
    """
    file = Path(file)
    contents = {MANIFEST_FILE: _to_json(pack.manifest)} | {
        entry.file: pack._read(entry) for entry in _entries(pack.manifest)
    }
    partial = file.with_name(f".{file.name}.partial-{secrets.token_hex(4)}")
    with _writing(file):
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(partial, "w") as archive:
                for name, content in contents.items():
                    entry = zipfile.ZipInfo(name)  # dated 1980: no clock in the bytes
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def _shipped_folder() -> Path:
    return Path(str(importlib.resources.files("models"))) / "packs"


def _parse_manifest(path: Path, content: bytes) -> PackManifest:
    try:
        return PackManifest.model_validate_json(content)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "format":
            problem = f"format {first['input']!r:.40} is not 1 or 2, which this version reads"
        else:
            message = first["msg"].removeprefix("Value error, ")
            problem = f"{where}: {message}" if where else message
        raise PackFormatError(path, f"{MANIFEST_FILE}: {problem}") from exc


def _to_json(manifest: PackManifest) -> bytes:
    newer: dict[str, Any] = {"ensembles": True, "variants": {"__all__": set(FORMAT_2_FIELDS)}}
    exclude = newer if manifest.format == 1 else {}
    content = f"{manifest.model_dump_json(indent=2, exclude=exclude)}\n".encode()
    if len(content) > MAX_MANIFEST_BYTES:
        raise ValueError(f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    return content


def _entries(manifest: PackManifest) -> list[FileEntry]:
    """Return all files of all variants."""
    return [entry for variant in manifest.variants for entry in variant.files]


def _contents(
    manifest: PackManifest, models: Mapping[str, bytes], alternatives: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return every .tflite file by its name, exactly those of the manifest."""
    if set(models) != {variant.name for variant in manifest.variants}:
        raise ValueError("the models must be exactly those of the manifest's variants")
    contents = {variant.file: models[variant.name] for variant in manifest.variants}
    contents |= alternatives
    entries = _entries(manifest)
    if set(contents) != {entry.file for entry in entries}:
        raise ValueError("the alternative models must be exactly those of the manifest")
    for entry in entries:
        if hashlib.sha256(contents[entry.file]).hexdigest() != entry.sha256:
            raise ValueError(f"the model in {entry.file} has another hash than the manifest")
        if entry.size_bytes not in (None, len(contents[entry.file])):
            raise ValueError(f"the model in {entry.file} has another size than the manifest says")
    return contents


def _files_to_keep(directory: Path) -> list[Path]:
    """Return the files that are not the pack's own; refuse what is not a pack."""
    if not directory.exists():
        return []
    if not directory.is_dir() or (
        any(directory.iterdir()) and not (directory / MANIFEST_FILE).is_file()
    ):
        raise PackWriteError(directory, "is there already and is not a pack, choose another name")
    return [
        file
        for file in directory.iterdir()
        if file.is_file() and file.name != MANIFEST_FILE and file.suffix != ".tflite"
    ]


def _write_synced(file: Path, content: bytes) -> None:
    """Write a file that survives a power cut once this returns."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise PackWriteError(path, f"cannot be written: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
