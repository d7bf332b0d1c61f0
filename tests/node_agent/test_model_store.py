import hashlib
import os
from pathlib import Path

import pytest

from node_agent.model_store import ModelStore


def model(number: int, size: int = 100) -> tuple[str, bytes]:
    content = bytes([number]) * size
    return hashlib.sha256(content).hexdigest(), content


def used(store: ModelStore, number: int) -> str:
    """Keep a model that was last used at that moment of a clock of the test's own."""
    sha256, content = model(number)
    assert store.keep(sha256, content)
    os.utime(store.folder / store.file_name(sha256), ns=(number, number))
    return sha256


def test_what_was_kept_is_there_in_the_next_process(tmp_path: Path) -> None:
    sha256, content = model(1)
    assert not ModelStore(tmp_path / "a", 1000).has(sha256)
    assert ModelStore(tmp_path / "a", 1000).keep(sha256, content)
    assert ModelStore(tmp_path / "a", 1000).has(sha256)
    assert (tmp_path / "a" / f"{sha256}.tflite").read_bytes() == content
    assert os.listdir(tmp_path / "a") == [f"{sha256}.tflite"]


@pytest.mark.parametrize("damaged", [b"", b"\x01" * 99, b"\x01" * 101, b"\x02" * 100])
def test_a_damaged_file_is_none_and_is_removed(tmp_path: Path, damaged: bytes) -> None:
    store = ModelStore(tmp_path, 1000)
    sha256, content = model(1)
    store.keep(sha256, content)
    (tmp_path / f"{sha256}.tflite").write_bytes(damaged)
    assert not store.has(sha256)
    assert os.listdir(tmp_path) == []


def test_those_not_used_for_longest_make_room(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, 300)
    first, second, third = (used(store, number) for number in (1, 2, 3))
    assert store.has(first)  # used just now
    fourth = used(store, 4)
    assert [store.has(one) for one in (first, second, third, fourth)] == [True, False, True, True]


def test_what_exceeds_the_bound_alone_is_not_kept_and_evicts_nothing(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, 300)
    first = used(store, 1)
    assert not store.keep(*model(2, size=301))
    assert store.has(first)


def test_nothing_is_kept_where_nothing_may(tmp_path: Path) -> None:
    assert not ModelStore(tmp_path / "a", 0).keep(*model(1))
    assert not (tmp_path / "a").exists()


def test_what_a_power_cut_left_half_written_goes(tmp_path: Path) -> None:
    (tmp_path / ".0123-ab.partial").write_bytes(b"half")
    sha256 = used(ModelStore(tmp_path, 300), 1)
    assert os.listdir(tmp_path) == [f"{sha256}.tflite"]


def test_a_disk_that_takes_nothing_is_said_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    store = ModelStore(tmp_path / "file", 300)
    assert not store.keep(*model(1))
    assert "it is fetched at each start" in caplog.text
    assert not store.has(model(1)[0])


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(tmp_path, 300)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not store.keep(*model(1))
    assert os.listdir(tmp_path) == []
