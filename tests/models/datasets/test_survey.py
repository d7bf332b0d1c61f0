from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.datasets import find
from models.datasets.survey import Repetition, middle_and_ends, survey
from models.errors import DatasetError
from tests.models.datasets import official


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Train of 12 cats and 3 dogs, test of 2 cats and 2 owls, all different, 8 px a side."""
    pixels = iter(official.pictures(19, side=8))
    root = tmp_path / "pets"
    for folder, count in (("train/cat", 12), ("train/dog", 3), ("test/cat", 2), ("test/owl", 2)):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(next(pixels)).save(root / folder / f"{index:02d}.png")
    return root


def test_pictures_are_counted_and_odd_classes_named(divided: Path) -> None:
    result = survey(find(divided))
    assert result.counts == {"train": {"cat": 12, "dog": 3}, "test": {"cat": 2, "owl": 2}}
    assert result.labels == ("cat", "dog", "owl")
    assert result.few() == {"dog": 3}
    assert result.missing("train") == ("owl",)
    assert result.missing("test") == ("dog",)
    assert (result.unreadable, result.duplicates) == ((), ())
    assert result.sizes == ((8, 8), (8, 8), (8, 8))


def test_unreadable_pictures_are_named_and_not_counted(divided: Path) -> None:
    (divided / "train" / "cat" / "05.png").write_bytes(b"x")
    result = survey(find(divided))
    (problem,) = result.unreadable
    assert problem.file == divided / "train" / "cat" / "05.png"
    assert problem.problem == "is no picture that can be recognised"
    assert result.counts["train"]["cat"] == 11


def test_the_same_pixels_are_found_whatever_the_file(divided: Path) -> None:
    with Image.open(divided / "train" / "cat" / "00.png") as image:
        image.save(divided / "test" / "cat" / "leak.bmp")
    with Image.open(divided / "train" / "cat" / "01.png") as image:
        image.save(divided / "train" / "dog" / "mislabelled.bmp")
    with Image.open(divided / "train" / "cat" / "02.png") as image:
        image.save(divided / "train" / "cat" / "again.png", compress_level=0)
        image.transpose(Image.Transpose.ROTATE_90).save(divided / "train" / "cat" / "other.png")
    result = survey(find(divided))
    assert [one.kind for one in result.duplicates] == list(Repetition)
    leak, conflict, again = result.duplicates
    assert {one.file.name for one in leak.pictures} == {"00.png", "leak.bmp"}
    assert {one.label for one in conflict.pictures} == {"cat", "dog"}
    assert {one.file.name for one in again.pictures} == {"02.png", "again.png"}


def test_the_same_bytes_in_another_shape_are_another_picture(tmp_path: Path) -> None:
    for label, size in (("tall", (4, 16)), ("wide", (16, 4))):
        (tmp_path / label).mkdir()
        Image.new("RGB", size, "grey").save(tmp_path / label / "a.png")
    assert survey(find(tmp_path)).duplicates == ()


def test_a_limit_looks_at_the_first_only(divided: Path) -> None:
    assert survey(find(divided), limit=1).counts["train"] == {"cat": 1, "dog": 1}


def test_arrays_are_surveyed_like_files(tmp_path: Path) -> None:
    pixels = official.pictures(20)
    official.write_cifar10(tmp_path / "c", pixels, pixels[:10], range(10))
    result = survey(find(tmp_path / "c"))
    assert result.format == "CIFAR-10"
    assert sum(result.counts["train"].values()) == 20
    assert len(result.repeated(Repetition.ACROSS_PARTS)) == 10


def test_one_class_or_nothing_to_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"holds 1 class \(cat\): at least two are needed"):
        survey(find(tmp_path))
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="holds no picture that can be read"):
        survey(find(tmp_path))


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1))
def test_the_median_lies_between_the_ends(sizes: list[tuple[int, int]]) -> None:
    smallest, median, largest = (width * height for width, height in middle_and_ends(sizes))
    assert smallest <= median <= largest
    areas = [width * height for width, height in sizes]
    assert 2 * sum(area <= median for area in areas) >= len(areas)
    assert 2 * sum(area >= median for area in areas) >= len(areas)
