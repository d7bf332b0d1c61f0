"""Packs: a family of trained variants as one directory, or one zip file of it.

A pack holds `pack.json` (a `PackManifest`) and one .tflite file per variant. Packs come from
other people, so nothing in one is trusted: names are plain file names, sizes are bounded before
anything is read, and every file's SHA-256 is that of the manifest before its bytes are used.
"""

import errno
import hashlib
import importlib.resources
import os
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from models.ensemble import Rule
from models.errors import (
    PackError,
    PackFileError,
    PackFormatError,
    PackNotFoundError,
    PackWriteError,
    VariantNotFoundError,
)

DEFAULT_PACK = "cifar10"
MANIFEST_FILE = "pack.json"

# 65,535 labels of ten letters are under 1 MiB.
MAX_MANIFEST_BYTES = 1 << 20
# The paper's largest variant (Vim7) is 8 MB in float32; a full MobileNetV2 1.0 is 14 MB.
MAX_MODEL_BYTES = 64 << 20
# What loading reads and hashes in all; a zip file that is larger is not opened.
MAX_PACK_BYTES = 256 << 20
# A prediction names its class in at most two bytes.
MAX_CLASSES = 65_535
MAX_VARIANTS = 64
# Each variant sees at least three quarters of the picture's width and height.
MAX_INPUT_OFFSET = 0.25


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{repeated!r} is there twice")
    return names


def _printable(label: str) -> str:
    if not label.isprintable() or label != label.strip():
        raise ValueError("a label is printable text without spaces around it")
    return label


Finite = Annotated[float, Field(allow_inf_nan=False)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ModelFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}\.tflite$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[Finite, Field(ge=-MAX_INPUT_OFFSET, le=MAX_INPUT_OFFSET)]
Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Prose = Annotated[str, Field(max_length=4000)]


class VariantEntry(BaseModel):
    """One variant as the manifest describes it.

    Attributes:
        name: V1 … V7, Vim1 … or any identifier.
        file: its .tflite file's name within the pack.
        sha256: that file's hash, in hex.
        precision: of its weights.
        resolution: ρ, the side of the square input in pixels.
        width: d, the width factor.
        input_offset: (dx, dy), how far its view is shifted, in fractions of the picture.
        weight: its factor of Eq. 1.
        parameters: how many it has; 0 where that is not known.
        macs: multiply-accumulates per inference; 0 where that is not known.
        validation_accuracy: top-1 share on data it was not trained on.
        provenance: where its weights come from and how they were trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Identifier
    file: ModelFile
    sha256: Sha256
    precision: Literal["float32", "float16", "int8"]
    resolution: Annotated[int, Field(ge=8, le=2048)]
    width: Annotated[Finite, Field(gt=0, le=16)]
    input_offset: tuple[Offset, Offset] = (0.0, 0.0)
    weight: Annotated[Finite, Field(gt=0, le=1e6)]
    parameters: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]
    validation_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    provenance: Prose = ""

    @property
    def model_id(self) -> int:
        """The first four bytes of the file's SHA-256, little-endian: what predictions carry."""
        return int.from_bytes(bytes.fromhex(self.sha256[:8]), "little")


class PackManifest(BaseModel):
    """What `pack.json` holds.

    Attributes:
        format: the version of this format.
        name: of the pack.
        version: of the pack, in its maker's own counting.
        labels: the C classes in the order of the models' scores.
        rule: how answers combine, see `models.ensemble.combine`.
        k: how many scores a variant sends.
        alpha: α of Eq. 1, by which the weights were computed.
        variants: by rising cost.
        description: what it recognises and how well.
        sources: the data and weights it was made from.
        licence: under which the files may be used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: Identifier
    version: Annotated[str, Field(min_length=1, max_length=40)]
    labels: Annotated[
        tuple[Label, ...],
        Field(min_length=2, max_length=MAX_CLASSES),
        AfterValidator(_distinct),
    ]
    rule: Rule
    k: Annotated[int, Field(ge=1)]
    alpha: Finite
    variants: Annotated[tuple[VariantEntry, ...], Field(min_length=1, max_length=MAX_VARIANTS)]
    description: Prose = ""
    sources: Prose = ""
    licence: Prose = ""

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.k > len(self.labels):
            raise ValueError(f"k is {self.k}, but there are only {len(self.labels)} labels")
        _distinct(tuple(variant.name for variant in self.variants))
        _distinct(tuple(variant.file for variant in self.variants))
        if len({variant.model_id for variant in self.variants}) != len(self.variants):
            raise ValueError("two variants are the same model, a prediction could not tell them")
        return self


class _Files(Protocol):
    """Where a pack's files are read from."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return one file's bytes.

        Raises:
            PackFileError: it is missing, no plain file, or larger than max_bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack whose manifest is valid; its models are read when asked for.

    Attributes:
        path: its directory or zip file.
        manifest: what its pack.json holds.
    """

    path: Path
    manifest: PackManifest
    _files: _Files

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
        """Return the variant that a prediction's model id names, if it is of this pack."""
        for variant in self.manifest.variants:
            if variant.model_id == model_id:
                return variant
        return None

    def model(self, name: str) -> bytes:
        """Return a variant's .tflite file, which is exactly the one the manifest names.

        Raises:
            VariantNotFoundError: there is no variant of that name.
            PackFileError: the file is missing, unsafe, too large or altered.
        """
        variant = self.variant(name)
        model = self._files.read(variant.file, MAX_MODEL_BYTES)
        if hashlib.sha256(model).hexdigest() != variant.sha256:
            raise PackFileError(
                self.path, variant.file, "is not the file that was packed, copy the pack again"
            )
        return model


def load_pack(path: Path | str | None = None) -> Pack:
    """Return the pack at that path, all its files checked.

    Args:
        path: its directory or .zip file; None is the pack that ships with idlesight.

    Raises:
        PackError: in one of its kinds, when there is no sound pack.
    """
    if path is None:
        path = Path(str(importlib.resources.files("models"))) / "packs" / DEFAULT_PACK
    path = Path(path)
    files = _open_files(path)
    pack = Pack(path, _parse_manifest(path, files.read(MANIFEST_FILE, MAX_MANIFEST_BYTES)), files)
    total_bytes = 0
    for variant in pack.manifest.variants:
        total_bytes += len(pack.model(variant.name))
        if total_bytes > MAX_PACK_BYTES:
            raise PackFileError(
                path, variant.file, f"makes it larger than {MAX_PACK_BYTES >> 20} MiB"
            )
    return pack


def write_pack(directory: Path, manifest: PackManifest, models: Mapping[str, bytes]) -> Pack:
    """Write a pack and return it; the directory is there completely or not at all.

    A pack that is there already is replaced; other files beside its own (a README) stay.

    Args:
        directory: the pack's directory to be; its parents are made.
        manifest: the pack's manifest.
        models: the .tflite file of each variant, by the variant's name.

    Raises:
        ValueError: the models are not those of the manifest.
        PackWriteError: the directory cannot be written, or is there and holds no pack.
    """
    _check_models(manifest, models)
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
            for variant in manifest.variants:
                _write_synced(partial / variant.file, models[variant.name])
            json = manifest.model_dump_json(indent=2) + "\n"
            _write_synced(partial / MANIFEST_FILE, json.encode())
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
    manifest_json = pack.manifest.model_dump_json(indent=2) + "\n"
    contents = {MANIFEST_FILE: manifest_json.encode()} | {
        variant.file: pack.model(variant.name) for variant in pack.manifest.variants
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


@dataclass(frozen=True, slots=True)
class _DirectoryFiles:
    """A pack's directory; what is no plain file (a link, a pipe) is refused."""

    path: Path

    def read(self, name: str, max_bytes: int) -> bytes:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with open(os.open(self.path / name, flags), "rb") as file:
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
class _ZipFiles:
    """A pack's zip file, whose entries may all lie in one folder, as file managers make it."""

    path: Path
    folder: str  # "" or "name/"

    @classmethod
    def of(cls, path: Path) -> "_ZipFiles":
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


def _open_files(path: Path) -> _Files:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as exc:  # ValueError: a null byte in the path
        raise PackNotFoundError(path, f"cannot be opened: {_reason(exc)}") from exc
    if stat.S_ISDIR(mode):
        return _DirectoryFiles(path)
    if stat.S_ISREG(mode):
        return _ZipFiles.of(path)
    raise PackNotFoundError(path, "is neither a directory nor a zip file")


def _bounded(path: Path, name: str, content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise PackFileError(path, name, f"is larger than {max_bytes} bytes")
    return content


def _parse_manifest(path: Path, content: bytes) -> PackManifest:
    try:
        return PackManifest.model_validate_json(content)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "format":
            problem = f"format {first['input']!r:.40} is not 1, the only one this version reads"
        else:
            message = first["msg"].removeprefix("Value error, ")
            problem = f"{where}: {message}" if where else message
        raise PackFormatError(path, f"{MANIFEST_FILE}: {problem}") from exc


def _check_models(manifest: PackManifest, models: Mapping[str, bytes]) -> None:
    if set(models) != {variant.name for variant in manifest.variants}:
        raise ValueError("the models must be exactly those of the manifest's variants")
    for variant in manifest.variants:
        if hashlib.sha256(models[variant.name]).hexdigest() != variant.sha256:
            raise ValueError(f"the model of {variant.name} has another hash than the manifest")


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
