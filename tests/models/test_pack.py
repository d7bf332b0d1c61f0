import errno
import hashlib
import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models import pack as pack_module
from models.errors import (
    PackError,
    PackFileError,
    PackFormatError,
    PackNotFoundError,
    PackWriteError,
    PrecisionNotFoundError,
    VariantNotFoundError,
)
from models.interface import Interface
from models.manifest import FORMAT_2_FIELDS, MAX_MODEL_BYTES
from models.pack import (
    MANIFEST_FILE,
    Pack,
    PackManifest,
    load_pack,
    loose_pack,
    pack_in_memory,
    shipped_packs,
    write_pack,
    zip_pack,
)
from models.pack_files import MAX_PACK_BYTES

MODELS = {"V1": b"the model of V1" * 50, "V2": b"the model of V2" * 70}
INT8 = b"V1 in int8" * 20
LABELS = ["cat", "dog", "bird"]


def entry(name: str, resolution: int) -> dict[str, Any]:
    return {
        "name": name,
        "file": f"{name}.tflite",
        "sha256": hashlib.sha256(MODELS[name]).hexdigest(),
        "precision": "float32",
        "resolution": resolution,
        "width": 0.35,
        "weight": resolution / 128,
        "parameters": 320_000,
        "macs": 10_000_000,
    }


def int8(**changes: Any) -> dict[str, Any]:
    """V1 in another precision, as an entry of its alternatives."""
    return {
        "file": "V1-int8.tflite",
        "sha256": hashlib.sha256(INT8).hexdigest(),
        "precision": "int8",
    } | changes


def content() -> dict[str, Any]:
    """What a valid pack.json holds."""
    return {
        "format": 1,
        "name": "animals",
        "version": "1.0",
        "labels": list(LABELS),
        "rule": "paper",
        "k": 2,
        "alpha": 1.0,
        "variants": [entry("V1", 96), entry("V2", 128)],
    }


def manifest(**changes: Any) -> PackManifest:
    return PackManifest.model_validate(content() | changes)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sound pack as a directory."""
    path = tmp_path / "animals"
    write_pack(path, manifest(), MODELS)
    return path


def several(**changes: Any) -> PackManifest:
    """The manifest of a pack whose V1 comes in two precisions."""
    first = entry("V1", 96) | {"size_bytes": len(MODELS["V1"]), "latency_ms": 0.4}
    other = int8(size_bytes=len(INT8), latency_ms=0.25, validation_accuracy=0.89) | changes
    return manifest(format=2, variants=[first | {"alternatives": [other]}, entry("V2", 128)])


@pytest.fixture
def two_precisions(tmp_path: Path) -> Path:
    """A pack as a directory, V1 in float32 and int8."""
    path = tmp_path / "several"
    write_pack(path, several(), MODELS, alternatives={"V1-int8.tflite": INT8})
    return path


@pytest.fixture
def archive(tmp_path: Path, directory: Path) -> Path:
    """The same pack as a zip file."""
    path = tmp_path / "animals.zip"
    zip_pack(load_pack(directory), path)
    return path


def rewrite(archive: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Unpack a zip file's entries, change them, pack them again."""
    with zipfile.ZipFile(archive) as old:
        files = {name: old.read(name) for name in old.namelist()}
    change(files)
    with zipfile.ZipFile(archive, "w") as new:
        for name, data in files.items():
            new.writestr(name, data)


def remove(archive: Path, name: str) -> None:
    """Remove one entry of a zip file."""

    def change(files: dict[str, bytes]) -> None:
        del files[name]

    rewrite(archive, change)


@pytest.mark.parametrize("form", ["directory", "archive"])
def test_pack_is_what_was_written(form: str, request: pytest.FixtureRequest) -> None:
    pack = load_pack(request.getfixturevalue(form))
    assert pack.manifest == manifest()
    assert pack.name == "animals"
    assert pack.labels == ("cat", "dog", "bird")
    assert pack.largest_resolution == 128
    assert {name: pack.model(name) for name in MODELS} == MODELS
    assert pack.variant("V2").resolution == 128
    assert pack.variant("V2").input_offset == (0.0, 0.0)


def test_path_may_be_a_string(directory: Path) -> None:
    assert load_pack(str(directory)).name == "animals"


def test_model_id_is_the_hashs_first_four_bytes_little_endian(directory: Path) -> None:
    pack = load_pack(directory)
    variant = pack.variant("V1")
    (expected,) = struct.unpack("<I", hashlib.sha256(MODELS["V1"]).digest()[:4])
    assert variant.model_id == expected
    assert pack.by_model_id(expected) == variant
    assert pack.by_model_id(expected ^ 1) is None


def test_unknown_variant_is_refused_with_those_there_are(directory: Path) -> None:
    with pytest.raises(VariantNotFoundError, match="no variant 'V9', it offers V1, V2") as caught:
        load_pack(directory).variant("V9")
    assert caught.value.available == ("V1", "V2")


def test_no_path_is_the_pack_that_ships_with_idlesight(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_pack(tmp_path / "packs" / pack_module.DEFAULT_PACK, manifest(), MODELS)
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    assert load_pack(None).name == "animals"


def test_a_shipped_pack_is_found_by_its_name_unless_something_here_has_it(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_pack("cifar10").path == shipped_packs()["cifar10"]
    assert load_pack().path in shipped_packs().values()
    directory.rename(tmp_path / "cifar10")
    assert load_pack("cifar10").name == "animals"
    with pytest.raises(PackNotFoundError):
        load_pack("nothing")


def test_a_manifest_may_be_elsewhere_than_its_files(directory: Path) -> None:
    (directory / MANIFEST_FILE).unlink()
    pack = loose_pack(directory, manifest())
    assert pack.model("V2") == MODELS["V2"]
    (directory / "V2.tflite").write_bytes(MODELS["V1"])
    with pytest.raises(PackFileError, match="is not the file that was packed"):
        pack.model("V2")


def test_files_may_be_in_memory_and_are_trusted_no_more() -> None:
    pack = pack_in_memory(manifest(), {"V1.tflite": MODELS["V1"], "V2.tflite": MODELS["V1"]})
    assert pack.model("V1") == MODELS["V1"]
    with pytest.raises(PackFileError, match="is not the file that was packed"):
        pack.model("V2")
    with pytest.raises(PackFileError, match=r"V1\.tflite is missing"):
        pack_in_memory(manifest(), {}).model("V1")


def test_zip_of_the_same_pack_is_the_same_file(directory: Path, tmp_path: Path) -> None:
    files = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for file in files:
        zip_pack(load_pack(directory), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_zip_of_a_folder_is_a_pack_too(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "folder.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in directory.iterdir():
            archive.write(path, f"animals/{path.name}")
    assert load_pack(file).model("V1") == MODELS["V1"]


# Several precisions, and other people's models


def test_a_variant_comes_in_several_precisions(two_precisions: Path, tmp_path: Path) -> None:
    archive = tmp_path / "several.zip"
    zip_pack(load_pack(two_precisions), archive)
    for path in (two_precisions, archive):
        pack = load_pack(path)
        assert pack.manifest == several()
        assert pack.variant("V1").precisions == ("float32", "int8")
        assert pack.model("V1") == pack.model("V1", "float32") == MODELS["V1"]
        assert pack.model("V1", "int8") == INT8
        assert pack.file("V1").latency_ms == 0.4
        assert pack.file("V1", "int8").validation_accuracy == 0.89


def test_any_of_a_variants_files_names_it(two_precisions: Path) -> None:
    pack = load_pack(two_precisions)
    first, second = pack.variant("V1").files
    assert first.model_id != second.model_id
    assert pack.by_model_id(first.model_id) == pack.by_model_id(second.model_id)
    assert pack.by_model_id(second.model_id) == pack.variant("V1")
    assert pack.variant("V1").model_id == first.model_id


def test_a_precision_that_is_not_there_is_refused_with_those_there_are(
    two_precisions: Path,
) -> None:
    sentence = "V1 does not come in float16, but in float32, int8"
    with pytest.raises(PrecisionNotFoundError, match=sentence) as caught:
        load_pack(two_precisions).model("V1", "float16")
    assert caught.value.available == ("float32", "int8")


def test_packs_of_format_1_stay_what_they_were(directory: Path, tmp_path: Path) -> None:
    (variant, _) = load_pack(directory).manifest.variants
    assert variant.precisions == ("float32",)
    assert variant.interface == Interface((0.0, 255.0), "probabilities")
    assert (variant.size_bytes, variant.latency_ms) == (None, None)
    write_pack(tmp_path / "again", load_pack(directory).manifest, MODELS)
    written = json.loads((tmp_path / "again" / MANIFEST_FILE).read_text())
    assert written["format"] == 1
    assert not FORMAT_2_FIELDS & set(written["variants"][0])


def test_what_a_model_takes_and_returns_is_kept(tmp_path: Path) -> None:
    theirs = {"input_range": [-1, 1], "output": "logits"}
    described = manifest(format=2, variants=[entry("V1", 96) | {"interface": theirs}])
    pack = write_pack(tmp_path / "theirs", described, {"V1": MODELS["V1"]})
    assert pack.variant("V1").interface == Interface((-1.0, 1.0), "logits")


def test_the_pack_that_ships_loads() -> None:
    assert all(entry.precisions[0] == "float32" for entry in load_pack().manifest.variants)


def test_altered_alternative_is_found(two_precisions: Path) -> None:
    (two_precisions / "V1-int8.tflite").write_bytes(INT8[:-1] + b"?")
    with pytest.raises(PackFileError, match=r"V1-int8\.tflite is not the file that was packed"):
        load_pack(two_precisions)


def test_missing_alternative_is_named(two_precisions: Path) -> None:
    (two_precisions / "V1-int8.tflite").unlink()
    with pytest.raises(PackFileError, match=r"V1-int8\.tflite is missing"):
        load_pack(two_precisions)


def test_alternative_that_is_a_link_is_refused(two_precisions: Path, tmp_path: Path) -> None:
    target = (two_precisions / "V1-int8.tflite").rename(tmp_path / "elsewhere")
    (two_precisions / "V1-int8.tflite").symlink_to(target)
    with pytest.raises(PackFileError, match="is a link"):
        load_pack(two_precisions)


def test_no_more_is_read_than_the_manifest_says(two_precisions: Path) -> None:
    os.truncate(two_precisions / "V1-int8.tflite", 1 << 40)  # sparse
    with pytest.raises(PackFileError, match=f"is larger than {len(INT8)} bytes"):
        load_pack(two_precisions)


def test_a_manifest_that_is_wrong_about_a_size_is_refused(two_precisions: Path) -> None:
    described = json.loads((two_precisions / MANIFEST_FILE).read_text())
    described["variants"][0]["alternatives"][0]["size_bytes"] = len(INT8) + 1
    (two_precisions / MANIFEST_FILE).write_text(json.dumps(described))
    with pytest.raises(PackFileError, match=f"has {len(INT8)} bytes, pack.json says"):
        load_pack(two_precisions)


def test_alternatives_count_towards_the_packs_size(
    two_precisions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(map(len, MODELS.values())) + len(INT8)
    monkeypatch.setattr(pack_module, "MAX_PACK_BYTES", total)
    load_pack(two_precisions)
    monkeypatch.setattr(pack_module, "MAX_PACK_BYTES", total - 1)
    with pytest.raises(PackFileError, match="makes it larger than"):
        load_pack(two_precisions)


def test_bomb_in_an_alternative_is_refused(two_precisions: Path, tmp_path: Path) -> None:
    archive = tmp_path / "several.zip"
    zip_pack(load_pack(two_precisions), archive)
    bomb(archive, "V1-int8.tflite", (64 << 20) + 1)
    with pytest.raises(PackFileError, match=r"V1-int8\.tflite is larger than"):
        load_pack(archive)


@pytest.mark.parametrize(
    "alternatives",
    [
        {},
        {"V1-int8.tflite": b"other"},
        {"V1-int8.tflite": INT8, "V2-int8.tflite": INT8},
        {"V1-int8.tflite": INT8, "V1.tflite": INT8},
        {"V1-int8": INT8},
    ],
)
def test_alternatives_that_are_not_the_manifests_are_a_mistake(
    tmp_path: Path, alternatives: dict[str, bytes]
) -> None:
    with pytest.raises(ValueError, match="model"):
        write_pack(tmp_path / "several", several(), MODELS, alternatives=alternatives)
    with pytest.raises(ValueError, match="another size"):
        write_pack(
            tmp_path / "several",
            several(size_bytes=1),
            MODELS,
            alternatives={"V1-int8.tflite": INT8},
        )
    assert names(tmp_path) == set()


# What is not there, or is no pack


@pytest.mark.parametrize("name", ["absent", "absent.zip", "null\0byte"])
def test_missing_pack_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackNotFoundError, match="cannot be opened: "):
        load_pack(tmp_path / name)


def test_pipe_is_no_pack(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(PackNotFoundError, match="neither a directory nor a zip file"):
        load_pack(tmp_path / "pipe.zip")


def test_empty_directory_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(PackFileError, match=r"pack\.json is missing"):
        load_pack(tmp_path)


def test_half_written_directory_is_no_pack(directory: Path) -> None:
    (directory / MANIFEST_FILE).unlink()
    with pytest.raises(PackFileError, match=r"pack\.json is missing"):
        load_pack(directory)


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"no zip file" * 100])
def test_other_file_is_no_pack(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pack.zip").write_bytes(data)
    with pytest.raises(PackFormatError, match="neither a directory nor a sound zip file"):
        load_pack(tmp_path / "pack.zip")


# Files that are damaged or unsafe


@pytest.mark.parametrize("place", [0, 100, -1])
def test_flipped_byte_is_found(directory: Path, place: int) -> None:
    model = bytearray(MODELS["V2"])
    model[place] ^= 1
    (directory / "V2.tflite").write_bytes(model)
    with pytest.raises(PackFileError, match=r"V2\.tflite is not the file that was packed"):
        load_pack(directory)


def test_byte_flipped_after_loading_is_found(directory: Path) -> None:
    pack = load_pack(directory)
    (directory / "V1.tflite").write_bytes(MODELS["V2"])
    assert pack.model("V2") == MODELS["V2"]
    with pytest.raises(PackFileError, match="not the file that was packed"):
        pack.model("V1")


def test_truncated_model_is_found(directory: Path) -> None:
    os.truncate(directory / "V1.tflite", 10)
    with pytest.raises(PackFileError, match="not the file that was packed"):
        load_pack(directory)


def test_missing_model_is_named(directory: Path) -> None:
    (directory / "V2.tflite").unlink()
    with pytest.raises(PackFileError, match=r"V2\.tflite is missing") as caught:
        load_pack(directory)
    assert (caught.value.path, caught.value.file) == (directory, "V2.tflite")


@pytest.mark.parametrize("name", ["V1.tflite", MANIFEST_FILE])
def test_link_is_refused(directory: Path, tmp_path: Path, name: str) -> None:
    target = (directory / name).rename(tmp_path / "elsewhere")
    (directory / name).symlink_to(target)
    with pytest.raises(PackFileError, match="is a link"):
        load_pack(directory)


def test_pipe_in_place_of_a_model_is_refused_without_waiting(directory: Path) -> None:
    (directory / "V1.tflite").unlink()
    os.mkfifo(directory / "V1.tflite")
    with pytest.raises(PackFileError, match="not a plain file"):
        load_pack(directory)


def test_directory_in_place_of_a_model_is_refused(directory: Path) -> None:
    (directory / "V1.tflite").unlink()
    (directory / "V1.tflite").mkdir()
    with pytest.raises(PackFileError, match=r"V1\.tflite"):
        load_pack(directory)


def test_huge_manifest_is_not_read(directory: Path) -> None:
    os.truncate(directory / MANIFEST_FILE, 1 << 40)  # sparse
    with pytest.raises(PackFileError, match="larger than 1048576 bytes"):
        load_pack(directory)


def test_huge_model_is_not_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "MAX_MODEL_BYTES", len(MODELS["V2"]) - 1)
    with pytest.raises(PackFileError, match=r"V2\.tflite is larger than"):
        load_pack(directory)


def test_too_many_large_models_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "MAX_PACK_BYTES", len(MODELS["V1"]) + 1)
    with pytest.raises(PackFileError, match="makes it larger than"):
        load_pack(directory)


# Zip files that are damaged or unsafe


def test_flipped_byte_in_a_zip_is_found(archive: Path) -> None:
    whole = archive.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        archive.write_bytes(damaged)
        try:
            pack = load_pack(archive)
        except PackError:
            refused += 1
        else:  # a date or an attribute
            assert {name: pack.model(name) for name in MODELS} == MODELS
    assert refused > len(whole) // 6


def test_truncated_zip_is_refused(archive: Path) -> None:
    whole = archive.read_bytes()
    for length in range(0, len(whole), 50):
        archive.write_bytes(whole[:length])
        with pytest.raises(PackFormatError):
            load_pack(archive)


def test_model_missing_from_a_zip_is_named(archive: Path) -> None:
    remove(archive, "V1.tflite")
    with pytest.raises(PackFileError, match=r"V1\.tflite is missing"):
        load_pack(archive)


def test_zip_without_manifest_is_no_pack(archive: Path) -> None:
    remove(archive, MANIFEST_FILE)
    with pytest.raises(PackFormatError, match=r"holds no pack\.json"):
        load_pack(archive)


def test_zip_with_two_manifests_is_refused(archive: Path) -> None:
    rewrite(archive, lambda files: files.update({"other/pack.json": b"{}"}))
    with pytest.raises(PackFormatError, match=r"more than one pack\.json"):
        load_pack(archive)


def test_zip_with_a_file_twice_is_refused(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("V1.tflite", MODELS["V1"])
    with pytest.raises(PackFileError, match="more than once"):
        load_pack(archive)


def test_link_in_a_zip_is_refused(archive: Path) -> None:
    remove(archive, "V1.tflite")
    link = zipfile.ZipInfo("V1.tflite")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(PackFileError, match="is a link"):
        load_pack(archive)


def test_nothing_is_unpacked_outside_a_zip(archive: Path, tmp_path: Path) -> None:
    rewrite(archive, lambda files: files.update({"../evil": b"x", "/tmp/evil": b"x"}))
    before = sorted(tmp_path.rglob("*"))
    load_pack(archive)
    assert sorted(tmp_path.rglob("*")) == before


def bomb(archive: Path, name: str, size: int) -> int:
    """Replace an entry by as many zeros; return where its declared size stands in the file."""
    remove(archive, name)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr(name, bytes(size))
    return archive.read_bytes().rindex(b"PK\1\2") + 24


@pytest.mark.parametrize("name", [MANIFEST_FILE, "V1.tflite"])
def test_zip_bomb_is_refused_by_its_declared_size(archive: Path, name: str) -> None:
    bomb(archive, name, (64 << 20) + 1)
    assert archive.stat().st_size < 1 << 20
    with pytest.raises(PackFileError, match=f"{name} is larger than"):
        load_pack(archive)


def test_zip_bomb_that_declares_a_small_size_is_refused(archive: Path) -> None:
    place = bomb(archive, "V1.tflite", 8 << 20)
    data = bytearray(archive.read_bytes())
    data[place : place + 4] = struct.pack("<I", 750)
    archive.write_bytes(data)
    with pytest.raises(PackError):
        load_pack(archive)


def test_encrypted_zip_is_refused(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = data.index(signature) + flags
        data[place] |= 1
    archive.write_bytes(data)
    with pytest.raises(PackFormatError, match="encrypted"):
        load_pack(archive)


def test_zip_packed_by_another_method_is_refused(archive: Path) -> None:
    remove(archive, "V1.tflite")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("V1.tflite", MODELS["V1"], zipfile.ZIP_LZMA)
    with pytest.raises(PackFileError, match="other than deflate"):
        load_pack(archive)


def test_huge_zip_is_not_opened(archive: Path) -> None:
    os.truncate(archive, MAX_PACK_BYTES + 1)
    with pytest.raises(PackFormatError, match="larger than 256 MiB"):
        load_pack(archive)


# Manifests that are not valid


def with_variant(**changes: Any) -> dict[str, Any]:
    return {"variants": [entry("V1", 96) | changes, entry("V2", 128)]}


def newer(**changes: Any) -> dict[str, Any]:
    return with_variant(**changes) | {"format": 2}


def together(*ensembles: tuple[str, ...], accuracy: float = 0.9, **changes: Any) -> dict[str, Any]:
    """Return changes by which the manifest says what sets of variants get right."""
    entries = [{"variants": list(names), "accuracy": accuracy} for names in ensembles]
    return {"format": 2, "ensembles": entries} | changes


BAD_MANIFESTS = [
    ({"format": 3}, "format 3 is not 1 or 2"),
    ({"format": "one"}, "format 'one' is not 1 or 2"),
    ({"surprise": 1}, "surprise: Extra inputs"),
    ({"labels": ["cat", "dog", "cat"]}, "labels: 'cat' is there twice"),
    ({"labels": [*map(str, range(50_000)), "49999"]}, "labels: '49999' is there twice"),
    ({"labels": ["cat"]}, "labels: .*at least 2"),
    ({"labels": ["cat", ""]}, "labels.1: .*at least 1"),
    ({"labels": ["cat", "do\ng"]}, "labels.1: a label is printable"),
    ({"labels": ["cat", " dog"]}, "labels.1: a label is printable"),
    ({"labels": "cat"}, "labels: "),
    ({"labels": [f"class {i}" for i in range(65_536)]}, "labels: .*at most 65535"),
    ({"k": 0}, "k: "),
    ({"k": 4}, "k is 4, but there are only 3 labels"),
    ({"rule": "mean"}, "rule: .*'paper', 'residual' or 'product'"),
    ({"alpha": float("nan")}, "alpha: .*finite"),
    ({"name": "../animals"}, "name: "),
    ({"variants": []}, "variants: .*at least 1"),
    ({"variants": [entry("V1", 96)] * 2}, "'V1' is there twice"),
    (with_variant(file="V2.tflite"), r"'V2\.tflite' is there twice"),
    (with_variant(sha256=entry("V2", 128)["sha256"]), "two files are the same model"),
    (with_variant(name="V 1"), r"variants\.0\.name: "),
    (with_variant(file="../V1.tflite"), r"variants\.0\.file: "),
    (with_variant(file="/etc/V1.tflite"), r"variants\.0\.file: "),
    (with_variant(file="a/V1.tflite"), r"variants\.0\.file: "),
    (with_variant(file="a\\V1.tflite"), r"variants\.0\.file: "),
    (with_variant(file="C:V1.tflite"), r"variants\.0\.file: "),
    (with_variant(file="V1.tflite\n"), r"variants\.0\.file: "),
    (with_variant(file="V1\0.tflite"), r"variants\.0\.file: "),
    (with_variant(file=".tflite"), r"variants\.0\.file: "),
    (with_variant(file="..tflite"), r"variants\.0\.file: "),
    (with_variant(file=MANIFEST_FILE), r"variants\.0\.file: "),
    (with_variant(file=""), r"variants\.0\.file: "),
    (with_variant(sha256="0" * 63), r"variants\.0\.sha256: "),
    (with_variant(sha256="G" * 64), r"variants\.0\.sha256: "),
    (with_variant(precision="float64"), r"variants\.0\.precision: "),
    (with_variant(resolution=0), r"variants\.0\.resolution: "),
    (with_variant(resolution=10**9), r"variants\.0\.resolution: "),
    (with_variant(width=0), r"variants\.0\.width: "),
    (with_variant(weight=0), r"variants\.0\.weight: .*greater than 0"),
    (with_variant(weight=-1), r"variants\.0\.weight: .*greater than 0"),
    (with_variant(weight=float("nan")), r"variants\.0\.weight: .*finite"),
    (with_variant(weight=float("inf")), r"variants\.0\.weight: .*finite"),
    (with_variant(weight="heavy"), r"variants\.0\.weight: "),
    (with_variant(input_offset=[0.3, 0]), r"variants\.0\.input_offset\.0: "),
    (with_variant(input_offset=[0]), r"variants\.0\.input_offset"),
    (with_variant(validation_accuracy=91.5), r"variants\.0\.validation_accuracy: "),
    (with_variant(validation_accuracy=float("nan")), r"variants\.0\.validation_accuracy: "),
    (with_variant(parameters=-1), r"variants\.0\.parameters: "),
    (with_variant(size_bytes=750), r"size_bytes of V1 needs format 2"),
    (with_variant(alternatives=[]), r"alternatives of V1 needs format 2"),
    (with_variant(interface={"output": "logits"}), r"interface of V1 needs format 2"),
    (newer(size_bytes=0), r"variants\.0\.size_bytes: "),
    (newer(size_bytes=MAX_MODEL_BYTES + 1), r"variants\.0\.size_bytes: "),
    (newer(size_bytes=10**30), r"variants\.0\.size_bytes: "),
    (newer(latency_ms=0), r"variants\.0\.latency_ms: "),
    (newer(latency_ms=float("inf")), r"variants\.0\.latency_ms: "),
    (newer(interface={"input_range": [1, 0]}), r"variants\.0\.interface.*lower number to a higher"),
    (newer(interface={"input_range": [0, 1e30]}), r"variants\.0\.interface.*lies within"),
    (newer(interface={"input_range": [0]}), r"variants\.0\.interface\.input_range"),
    (newer(interface={"output": "embedding"}), r"variants\.0\.interface\.output: "),
    (newer(interface={"mean": [0, 0, 0]}), r"variants\.0\.interface\.mean: "),
    (newer(interface=None), r"variants\.0\.interface: "),
    (newer(alternatives=[int8(precision="float32")]), r"variants\.0: 'float32' is there twice"),
    (newer(alternatives=[int8(), int8(file="x.tflite")]), r"variants\.0: 'int8' is there twice"),
    (newer(alternatives=[int8(file="V1.tflite")]), r"'V1\.tflite' is there twice"),
    (newer(alternatives=[int8(file="V2.tflite")]), r"'V2\.tflite' is there twice"),
    (newer(alternatives=[int8(file="../V1.tflite")]), r"alternatives\.0\.file: "),
    (newer(alternatives=[int8(file="/etc/V1.tflite")]), r"alternatives\.0\.file: "),
    (newer(alternatives=[int8(file=MANIFEST_FILE)]), r"alternatives\.0\.file: "),
    (newer(alternatives=[int8(sha256="0" * 63)]), r"alternatives\.0\.sha256: "),
    (newer(alternatives=[int8(sha256=entry("V1", 96)["sha256"])]), "are the same model"),
    (newer(alternatives=[int8(sha256=entry("V2", 96)["sha256"])]), "are the same model"),
    (newer(alternatives=[int8(precision="int4")]), r"alternatives\.0\.precision: "),
    (newer(alternatives=[int8(size_bytes=-1)]), r"alternatives\.0\.size_bytes: "),
    (newer(alternatives=[int8(validation_accuracy=2)]), r"alternatives\.0\.validation_accuracy: "),
    (newer(alternatives=[int8(name="V3")]), r"alternatives\.0\.name: Extra inputs"),
    (newer(alternatives=[int8(alternatives=[])]), r"alternatives\.0\.alternatives: Extra inputs"),
    (newer(alternatives=[int8()] * 1_000), r"'int8' is there twice"),
    (together(("V1", "V2"), format=1), "ensembles need format 2"),
    (together(("V1", "V9")), "an ensemble names V9, which is none of the variants"),
    (together(("V1", "V2"), ("V2", "V1")), r"the ensemble V2 \+ V1 is there twice"),
    (together(("V1", "V1")), r"ensembles\.0\.variants: 'V1' is there twice"),
    (together(()), r"ensembles\.0\.variants: "),
    (together(("V1", "V2"), accuracy=93.2), r"ensembles\.0\.accuracy: "),
]


def test_a_pack_tells_what_its_variants_get_right_together(directory: Path, tmp_path: Path) -> None:
    (directory / MANIFEST_FILE).write_text(json.dumps(content() | together(("V2", "V1"))))
    pack = load_pack(directory)
    models = {name: pack.model(name) for name in ("V1", "V2")}
    again = write_pack(tmp_path / "again", pack.manifest, models)
    assert [one.variants for one in again.manifest.ensembles] == [("V2", "V1")]
    assert again.manifest.ensembles[0].accuracy == 0.9


@pytest.mark.parametrize(("changes", "reason"), BAD_MANIFESTS, ids=lambda x: str(x)[:60])
def test_bad_manifest_is_refused_in_one_sentence(
    directory: Path, changes: dict[str, Any], reason: str
) -> None:
    (directory / MANIFEST_FILE).write_text(json.dumps(content() | changes))
    with pytest.raises(PackFormatError, match=reason) as caught:
        load_pack(directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["name", "labels", "rule", "k", "variants"])
def test_missing_field_is_named(directory: Path, missing: str) -> None:
    fields = content()
    del fields[missing]
    (directory / MANIFEST_FILE).write_text(json.dumps(fields))
    with pytest.raises(PackFormatError, match=f"{missing}: Field required"):
        load_pack(directory)


@pytest.mark.parametrize(
    "data",
    [b"", b"not JSON", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 100_000, b"[" * 100_000],
    ids=lambda data: repr(data[:10]),
)
def test_what_is_not_a_json_object_is_refused(directory: Path, data: bytes) -> None:
    (directory / MANIFEST_FILE).write_bytes(data)
    with pytest.raises(PackFormatError) as caught:
        load_pack(directory)
    assert "\n" not in str(caught.value)


def test_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        manifest().k = 3  # type: ignore[misc]


# Writing


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_written_directory_holds_the_pack_and_nothing_else(directory: Path) -> None:
    assert names(directory) == {MANIFEST_FILE, "V1.tflite", "V2.tflite"}
    assert names(directory.parent) == {"animals"}


def test_parents_are_made(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "a" / "b", manifest(), MODELS)
    assert pack.path == tmp_path / "a" / "b"


def test_writing_again_replaces_the_pack_and_keeps_a_readme(directory: Path) -> None:
    (directory / "README.md").write_text("About it.")
    only_v1 = manifest(variants=[entry("V1", 96)], version="2")
    pack = write_pack(directory, only_v1, {"V1": MODELS["V1"]})
    assert pack.manifest.version == "2"
    assert names(directory) == {MANIFEST_FILE, "V1.tflite", "README.md"}
    assert names(directory.parent) == {"animals"}


def test_directory_that_is_no_pack_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(PackWriteError, match="is not a pack"):
        write_pack(tmp_path, manifest(), MODELS)
    assert names(tmp_path) == {"diary.txt"}


def test_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PackWriteError):
        write_pack(tmp_path / "file", manifest(), MODELS)
    with pytest.raises(PackWriteError):
        write_pack(tmp_path / "file" / "below", manifest(), MODELS)
    assert (tmp_path / "file").read_text() == "mine"


def test_failed_write_leaves_the_old_pack_and_no_rest(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_rename = Path.rename

    def rename(source: Path, target: Path) -> Path:
        if ".partial-" in source.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_rename(source, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PackWriteError, match="No space left"):
        write_pack(directory, manifest(version="2"), MODELS)
    assert load_pack(directory).manifest.version == "1.0"
    assert names(directory.parent) == {"animals"}


@pytest.mark.parametrize(
    "models", [{}, {"V1": MODELS["V1"]}, MODELS | {"V3": b""}, MODELS | {"V1": b"other"}]
)
def test_models_that_are_not_the_manifests_are_a_mistake(
    tmp_path: Path, models: dict[str, bytes]
) -> None:
    with pytest.raises(ValueError, match="model"):
        write_pack(tmp_path / "animals", manifest(), models)
    assert names(tmp_path) == set()


def test_manifest_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    labels = [f"{number:0>30}" for number in range(40_000)]
    with pytest.raises(ValueError, match="larger than 1048576 bytes"):
        write_pack(tmp_path / "animals", manifest(labels=labels), MODELS)
    assert names(tmp_path) == set()


def test_zip_into_a_place_that_cannot_be_written_is_refused(
    directory: Path, tmp_path: Path
) -> None:
    pack: Pack = load_pack(directory)
    with pytest.raises(PackWriteError):
        zip_pack(pack, directory / MANIFEST_FILE / "animals.zip")
    assert names(tmp_path) == {"animals"}


def test_zip_holds_only_deflated_plain_files(archive: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as file:
        assert file.testzip() is None
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_DEFLATED}
