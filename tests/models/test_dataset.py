from pathlib import Path

import numpy as np
import pytest

from models.dataset import split_validation
from models.datasets import TRAIN, read_dataset
from models.errors import DatasetError


def test_validation_takes_its_share_of_every_class_and_nothing_is_in_both(
    striped_folders: Path,
) -> None:
    dataset = read_dataset(striped_folders, TRAIN, 96)
    training, validation = split_validation(dataset, share=0.1, seed=3)
    assert np.bincount(validation.targets).tolist() == [2, 2, 2]
    assert not set(training.files) & set(validation.files)
    assert len(training) + len(validation) == len(dataset)
    again = split_validation(dataset, share=0.1, seed=3)[1]
    assert again.files == validation.files


def test_a_class_with_too_few_pictures_is_refused(striped_folders: Path) -> None:
    for file in sorted((striped_folders / "red").iterdir())[9:]:
        file.unlink()
    with pytest.raises(DatasetError, match="class 'red' has 9 readable pictures"):
        split_validation(read_dataset(striped_folders, TRAIN, 96), share=0.1, seed=0)


def test_a_class_of_which_nothing_can_be_read_is_refused(striped_folders: Path) -> None:
    for file in (striped_folders / "red").iterdir():
        file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DatasetError, match="class 'red' has 0 readable pictures"):
        split_validation(read_dataset(striped_folders, TRAIN, 96), share=0.1, seed=0)
