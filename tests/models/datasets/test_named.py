from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.datasets.found import TEST
from models.datasets.named import match, read_labelled
from models.errors import DatasetError

LABELS = ("background", "crane", "Cardigan, Cardigan Welsh corgi", "cardigan", "crane", "hen")


def matched(*names: str) -> dict[str, int]:
    return {file.stem: target for file, target in match(map(Path, names), LABELS).items()}


def test_a_label_fits_whatever_stands_between_its_words() -> None:
    labels = ("great white shark, white shark", "jack-o'-lantern")
    files = [Path("n01484850_great_white_shark.jpg"), Path("n03590841_Jack-O'-lantern.png")]
    assert list(match(files, labels).values()) == [0, 1]


def test_classes_of_one_label_come_in_the_order_of_their_synsets() -> None:
    assert matched("n03126707_crane.jpg", "n02012849_crane.jpg") == {
        "n02012849_crane": 1,
        "n03126707_crane": 4,
    }
    assert matched("n02963159_cardigan.jpg", "n02113186_Cardigan.jpg") == {
        "n02113186_Cardigan": 2,
        "n02963159_cardigan": 3,
    }


def test_a_picture_of_one_of_two_classes_of_that_label_is_left_out() -> None:
    assert matched("n02012849_crane.jpg", "n01514859_hen.jpg") == {"n01514859_hen": 5}


def test_several_pictures_of_a_class_are_of_that_class() -> None:
    (first, second) = (Path("a/n01514859_hen.jpg"), Path("b/n01514859_hen.jpg"))
    assert match([first, second], LABELS) == {first: 5, second: 5}


@pytest.mark.parametrize(
    "name", ["hen.jpg", "n0151_hen.jpg", "n01514859_.jpg", "n01514859_cat.jpg"]
)
def test_other_names_fit_no_label(name: str) -> None:
    assert matched(name) == {}


def save(file: Path, level: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (level, level, level)).save(file)


def test_pictures_are_read_with_their_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "n01514859_hen.png", 200)
    save(tmp_path / "n01440764_tench.png")
    dataset = read_labelled(tmp_path, TEST, 32, LABELS)
    assert dataset.targets.tolist() == [5]
    assert dataset.pixels.shape == (1, 3, 30, 30)
    assert np.unique(dataset.pixels).tolist() == [200]
    assert "left out 1 pictures that no label fits, such as n01440764_tench.png" in caplog.text


def test_class_folders_are_read_as_such(tmp_path: Path) -> None:
    for label in ("hen", "background"):
        save(tmp_path / label / "1.png")
    assert read_labelled(tmp_path, TEST, 32, LABELS).targets.tolist() == [0, 5]


def test_pictures_of_other_things_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "n01440764_tench.png")
    with pytest.raises(DatasetError, match="none of the 1 pictures"):
        read_labelled(tmp_path, TEST, 32, LABELS)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        read_labelled(tmp_path / "nowhere", TEST, 32, LABELS)
