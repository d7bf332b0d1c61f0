import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.datasets import TEST, TRAIN, find, read_dataset
from models.datasets.cifar import unpickle
from models.errors import DatasetError
from tests.models.datasets import official
from tests.models.datasets.official import CIFAR10_LABELS, batch, pictures, planes

TRAIN_PIXELS, TEST_PIXELS = pictures(50, seed=1), pictures(20, seed=2)


@pytest.fixture(params=["folder", "archive", "folder around the folder", "folder of the archive"])
def cifar10_files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """CIFAR-10 in each of the ways in which it lies on people's disks."""
    folder = tmp_path / "cifar-10-batches-py"
    official.write_cifar10(folder, TRAIN_PIXELS, TEST_PIXELS, range(10))
    match request.param:
        case "folder":
            return folder
        case "archive":
            return official.archived(folder, tmp_path / "any-name.tgz")
        case "folder around the folder":
            return tmp_path
    (tmp_path / "around").mkdir()
    official.archived(folder, tmp_path / "around" / "cifar-10-python.tar.gz")
    return tmp_path / "around"


def test_cifar10_is_read_bit_for_bit(cifar10_files: Path) -> None:
    found = find(cifar10_files)
    assert (found.format, found.parts) == ("CIFAR-10", (TRAIN, TEST))
    train = read_dataset(cifar10_files, TRAIN, 96)
    assert train.labels == tuple(CIFAR10_LABELS)
    assert train.targets.tolist() == list(range(10)) * 5
    np.testing.assert_array_equal(train.pixels, TRAIN_PIXELS.transpose(0, 3, 1, 2))
    assert len({file.name for file in train.files}) == 50
    test = read_dataset(cifar10_files, TEST, 96)
    np.testing.assert_array_equal(test.pixels, TEST_PIXELS.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("archived", [False, True])
def test_cifar100_takes_the_fine_labels(tmp_path: Path, archived: bool) -> None:
    path = tmp_path / "cifar-100-python"
    official.write_cifar100(path, TRAIN_PIXELS, TEST_PIXELS, ("apple", "bear", "cup"))
    if archived:
        path = official.archived(path, tmp_path / "x.tar.gz")
    assert find(path).format == "CIFAR-100"
    dataset = read_dataset(path, TEST, 96)
    assert dataset.labels == ("apple", "bear", "cup")
    assert dataset.targets[:5].tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(dataset.pixels, TEST_PIXELS.transpose(0, 3, 1, 2))


class Hostile:
    """Runs a command where it is unpickled without care."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps({"data": Hostile(mark)}, protocol)
    with pytest.raises(DatasetError, match=r"holds \w+\.system, which no CIFAR file does"):
        unpickle(content, Path("test_batch"))
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists(), "it would have run otherwise"


@pytest.mark.parametrize(
    "name", ["numpy\nload", "numpy.core.multiarray\nscalar", "builtins\neval", "numpy\nndarray.x"]
)
def test_only_the_three_names_of_arrays_are_known(name: str) -> None:
    with pytest.raises(DatasetError, match="it may be an attack"):
        unpickle(f"c{name}\n.".encode(), Path("test_batch"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}",
        b"\x80\x02].",
        b"K\x01.",
        b"cnumpy\nndarray\n}b.",  # sets the state of the class itself
        b"cnumpy\nndarray\n(tR.",
        b"\x80\x02cnumpy\ndtype\n)\x81.",
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)Rs.",  # without any state
        b"}r\xff\xff\xff\x7f.",  # a memo of 32 GB
        b"T\xff\xff\xff\x7f.",  # a text of 2 GB that is not there
        batch({"data": np.arange(4, dtype=np.int64)}),
        batch({"data": planes(pictures(2))})[:-900],
        batch({"data": planes(pictures(2))}).replace(b"\x00\x0c\x00\x00", b"\xff\xff\xff\x7f", 1),
    ],
)
def test_what_is_no_batch_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetError, match="CIFAR file"):
        unpickle(content, Path("test_batch"))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_a_damaged_pickle_is_refused_or_read_and_never_worse(noise: bytes, place: int) -> None:
    content = bytearray(batch({"labels": [1, 2], "data": planes(pictures(1))}))
    content[place : place + len(noise)] = noise
    with suppress(DatasetError):
        assert isinstance(unpickle(bytes(content), Path("test_batch")), dict)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("batches.meta", batch({"labels": [1]}), "names no classes"),
        ("data_batch_3", batch({"labels": [1]}), "not rows of 3,072 bytes"),
        ("data_batch_3", batch({"data": planes(pictures(2))}), "not one label for each"),
        ("data_batch_3", batch({"data": planes(pictures(1)), "labels": [10]}), "not 0 to 9"),
        ("data_batch_3", batch({"data": planes(pictures(1)), "labels": ["1"]}), "not 0 to 9"),
        ("data_batch_3", batch({"data": planes(pictures(1, 16)), "labels": [1]}), "3,072 bytes"),
        ("data_batch_3", None, "data_batch_3 is missing"),
    ],
)
def test_a_wrong_file_is_named_in_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    folder = tmp_path / "cifar"
    official.write_cifar10(folder, TRAIN_PIXELS, TEST_PIXELS, range(10))
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(DatasetError, match=sentence) as refused:
        read_dataset(folder, TRAIN, 96)
    assert str(folder / name) in str(refused.value)


def test_a_part_without_pictures_is_refused(tmp_path: Path) -> None:
    official.write_cifar10(tmp_path / "c", TRAIN_PIXELS, TEST_PIXELS[:0], range(10))
    with pytest.raises(DatasetError, match="holds no pictures in its test part"):
        read_dataset(tmp_path / "c", TEST, 96)


def test_truncated_and_foreign_archives_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    official.write_cifar10(folder, TRAIN_PIXELS, TEST_PIXELS, range(10))
    archive = official.archived(folder, tmp_path / "a.tar.gz")
    content = archive.read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) * 9 // 10):
        archive.write_bytes(content[:length])
        with pytest.raises(DatasetError, match=r"a\.tar\.gz (cannot be read|lacks|is not)"):
            read_dataset(archive, TRAIN, 96)
    archive.write_bytes(b"no archive at all" * 100)
    with pytest.raises(DatasetError, match="cannot be read"):
        find(archive)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(DatasetError, match="not the python version of CIFAR-10 or CIFAR-100"):
        find(official.archived(tmp_path / "other", archive))
