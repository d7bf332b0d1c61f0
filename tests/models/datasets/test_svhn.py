from pathlib import Path

import numpy as np
import pytest
import scipy.io

from models.datasets import TEST, TRAIN, find, read_dataset
from models.datasets.svhn import read_svhn
from models.errors import DatasetError
from tests.models.datasets import official

PIXELS = official.pictures(12, seed=5)
DIGITS = [1, 9, 2, 0, 0, 5, 7, 3, 4, 6, 8, 1]


def test_svhn_is_read_bit_for_bit_and_ten_is_zero(tmp_path: Path) -> None:
    official.write_svhn(tmp_path / "train_32x32.mat", PIXELS, DIGITS)
    official.write_svhn(tmp_path / "test_32x32.mat", PIXELS[:4], DIGITS[:4])
    found = find(tmp_path)
    assert (found.format, found.parts) == ("SVHN", (TRAIN, TEST))
    dataset = read_dataset(tmp_path, TRAIN, 96)
    assert dataset.labels == tuple("0123456789")
    assert dataset.targets.tolist() == DIGITS
    np.testing.assert_array_equal(dataset.pixels, PIXELS.transpose(0, 3, 1, 2))
    assert len(read_dataset(tmp_path, TEST, 96)) == 4


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "train_32x32.mat"
    official.write_svhn(file, PIXELS, DIGITS)
    whole = file.read_bytes()
    for length in (0, 3, 130, 200, len(whole) // 2, len(whole) - 50):
        file.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r"train_32x32\.mat is no"):
            read_svhn(file)
    file.write_bytes(b"not a matrix" * 100)
    with pytest.raises(DatasetError, match=r"train_32x32\.mat is no"):
        read_svhn(file)


@pytest.mark.parametrize(
    "held",
    [
        {"X": PIXELS},
        {"X": PIXELS.transpose(1, 2, 3, 0), "y": np.ones((5, 1), np.uint8)},
        {"X": PIXELS.transpose(1, 2, 3, 0).astype(float), "y": np.ones((12, 1), np.uint8)},
        {"X": PIXELS.transpose(1, 2, 3, 0), "y": np.full((12, 1), 11, np.uint8)},
        {"z": np.ones(3)},
    ],
)
def test_other_matrices_are_refused(tmp_path: Path, held: dict[str, np.ndarray]) -> None:
    scipy.io.savemat(tmp_path / "train_32x32.mat", held)
    with pytest.raises(DatasetError, match=r"is no SVHN file|not one digit"):
        read_svhn(tmp_path / "train_32x32.mat")
