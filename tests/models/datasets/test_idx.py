import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from models.datasets import TEST, TRAIN, find, read_dataset
from models.datasets.idx import FASHION, FASHION_BEGINS, read_idx
from models.errors import DatasetError
from tests.models.datasets import official

TRAIN_GREY = official.pictures(30, side=28, seed=1)[..., 0]
TEST_GREY = official.pictures(20, side=28, seed=2)[..., 0]
DIGITS = {"train": [5, 0, 4, 1, 9, 2] * 5, "test": [7, 2, 1, 0] * 5}


@pytest.mark.parametrize("gz", [False, True])
def test_mnist_is_read_bit_for_bit_and_grey_becomes_rgb(tmp_path: Path, gz: bool) -> None:
    official.write_idx(tmp_path / "MNIST" / "raw", TRAIN_GREY, TEST_GREY, DIGITS, gz)
    found = find(tmp_path)
    assert (found.format, found.parts) == ("MNIST", (TRAIN, TEST))
    dataset = read_dataset(tmp_path, TEST, 96)
    assert dataset.labels == tuple("0123456789")
    assert dataset.targets.tolist() == DIGITS["test"]
    np.testing.assert_array_equal(dataset.pixels, TEST_GREY[:, None].repeat(3, axis=1))


def test_fashion_mnist_is_told_by_its_labels_since_its_files_have_the_same_names(
    tmp_path: Path,
) -> None:
    labels = {part: [*begin, *begin] for part, begin in FASHION_BEGINS.items()}
    official.write_idx(tmp_path / "x", TRAIN_GREY[:20], TEST_GREY, labels, gz=True)
    assert find(tmp_path / "x").format == "Fashion-MNIST"
    part = find(tmp_path / "x").part(TRAIN)
    assert part.labels == FASHION
    assert part.keys[0] == "T-shirt-top"


def test_mirrors_write_a_point_for_the_dash(tmp_path: Path) -> None:
    official.write_idx(tmp_path / "x", TRAIN_GREY, TEST_GREY, DIGITS, gz=False)
    for file in (tmp_path / "x").iterdir():
        file.rename(file.with_name(file.name.replace("-idx", ".idx")))
    assert len(read_dataset(tmp_path / "x", TRAIN, 96)) == 30


def test_one_part_alone_is_enough_for_what_needs_it(tmp_path: Path) -> None:
    official.write_idx(tmp_path / "x", TRAIN_GREY, TEST_GREY, DIGITS, gz=False)
    for file in (tmp_path / "x").glob("train-*"):
        file.unlink()
    assert len(read_dataset(tmp_path / "x", TEST, 96)) == 20
    with pytest.raises(DatasetError, match="has a test part and no train part"):
        read_dataset(tmp_path / "x", TRAIN, 96)


HEADER = struct.pack(">4B3I", 0, 0, 8, 3, 2, 4, 4)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no IDX file of 3 dimensions"),
        (HEADER[:-1], "no IDX file of 3 dimensions"),
        (b"\0\0\x0d\x03" + HEADER[4:], "no IDX file of 3 dimensions"),
        (b"\0\0\x08\x01" + HEADER[4:], "no IDX file of 3 dimensions"),
        (HEADER + bytes(31), "ends too early, with 31 of 32 bytes"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 999, 999), "declares .* bytes"),
    ],
)
@pytest.mark.parametrize("gz", [False, True])
def test_a_damaged_file_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, sentence: str, gz: bool
) -> None:
    file = tmp_path / ("images.gz" if gz else "images")
    file.write_bytes(gzip.compress(content) if gz else content)
    with pytest.raises(DatasetError, match=sentence):
        read_idx(file, 3)


def test_a_truncated_or_foreign_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(HEADER + official.pictures(1, 4)[..., 0].tobytes() * 2)
    for content in (whole[:-20], b"\x1f\x8b" + bytes(30), b"plain"):
        (tmp_path / "images.gz").write_bytes(content)
        with pytest.raises(DatasetError, match=r"images\.gz cannot be read \(.+\): download"):
            read_idx(tmp_path / "images.gz", 3)


def test_pictures_and_labels_must_agree(tmp_path: Path) -> None:
    official.write_idx(tmp_path / "x", TRAIN_GREY, TEST_GREY, DIGITS, gz=False)
    file = tmp_path / "x" / "train-labels-idx1-ubyte"
    file.write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes(3))
    with pytest.raises(DatasetError, match=r"holds 30 pictures and .* 3 labels"):
        read_dataset(tmp_path / "x", TRAIN, 96)
