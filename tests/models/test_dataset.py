import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.dataset import split_validation
from models.datasets import TRAIN, read_dataset
from models.errors import DatasetError


def test_folder_names_are_the_labels_and_pictures_keep_their_size(striped_folders: Path) -> None:
    dataset = read_dataset(striped_folders, TRAIN, largest_side=96)
    assert dataset.labels == ("blue", "green", "red")
    assert dataset.pixels.shape == (60, 3, 32, 32)
    assert np.bincount(dataset.targets).tolist() == [20, 20, 20]
    brightest = dataset.pixels.mean((2, 3)).argmax(1)
    assert (brightest == 2 - dataset.targets).all()


def test_large_pictures_shrink_to_the_largest_side_from_their_centre(tmp_path: Path) -> None:
    for label, value in (("dark", 10), ("light", 240)):
        (tmp_path / label).mkdir()
        picture = np.zeros((100, 300, 3), np.uint8)
        picture[:, 100:200] = value  # the centre; the sides stay black
        Image.fromarray(picture).save(tmp_path / label / "a.png")
    dataset = read_dataset(tmp_path, TRAIN, largest_side=64)
    assert dataset.pixels.shape == (2, 3, 64, 64)
    assert dataset.pixels.min((1, 2, 3)).tolist() == [10, 240]


def test_a_phones_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side: turn it by 90° clockwise
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        picture = Image.new("RGB", (40, 40), "black")
        picture.paste("white", (0, 0, 20, 40))  # the left half
        picture.save(tmp_path / label / "a.jpg", exif=exif)
    upright = read_dataset(tmp_path, TRAIN, 96).pixels[0].mean(0)
    assert upright[:15].min() > 200 > 50 > upright[25:].max(), "what was left is now on top"


def test_unreadable_pictures_are_named_and_left_out(
    striped_folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (striped_folders / "red" / "broken.png").write_bytes(b"\x89PNG and no more")
    with caplog.at_level(logging.WARNING):
        dataset = read_dataset(striped_folders, TRAIN, largest_side=96)
    assert len(dataset) == 60
    assert "broken.png" in caplog.text


def test_given_labels_fix_the_order_and_foreign_folders_are_refused(striped_folders: Path) -> None:
    labels = ("red", "green", "blue", "black")
    assert read_dataset(striped_folders, TRAIN, 96, labels=labels).targets.tolist() == (
        [2] * 20 + [1] * 20 + [0] * 20
    )
    with pytest.raises(DatasetError, match="classes that the model lacks: blue, green"):
        read_dataset(striped_folders, TRAIN, 96, labels=("red",))


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (None, "is not a folder"),
        ([], "holds 0 class folders"),
        (["one"], "holds 1 class folders"),
        (["one", "two"], "holds no pictures"),
    ],
)
def test_unusable_folders_are_refused_in_one_sentence(
    tmp_path: Path, folders: list[str] | None, sentence: str
) -> None:
    root = tmp_path / "root"
    for name in folders or []:
        (root / name).mkdir(parents=True)
    if folders == []:
        root.mkdir()
    with pytest.raises(DatasetError, match=sentence):
        read_dataset(root, TRAIN, 96)


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
