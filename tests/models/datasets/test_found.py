import shutil
from pathlib import Path

import numpy as np
import pytest

from models.datasets import TEST, TRAIN, WHOLE, find, read_dataset
from models.errors import DatasetError
from tests.models.datasets import official

SYNSETS = ("n01440764", "n02012849", "n03126707")


def test_an_image_folder_is_one_whole_that_serves_as_either_part(striped_folders: Path) -> None:
    found = find(striped_folders)
    assert (found.format, found.parts) == ("image folder", (WHOLE,))
    assert len(found.part(TRAIN)) == len(found.part(TEST)) == 60


@pytest.mark.parametrize("test_folder", ["test", "val", "validation", "valid"])
def test_train_and_test_folders_are_parts(
    striped_folders: Path, tmp_path: Path, test_folder: str
) -> None:
    root = tmp_path / "divided"
    shutil.copytree(striped_folders, root / "train")
    shutil.copytree(striped_folders, root / test_folder)
    (root / test_folder / "red" / "00.png").unlink()
    (root / "train" / ".thumbnails").mkdir()
    (root / "train" / "red" / "._00.png").write_bytes(b"a file system's own notes")
    (root / "README.txt").write_text("hello")
    found = find(root)
    assert (found.format, found.parts) == ("image folders", (TRAIN, TEST))
    assert found.part(TRAIN).counts().tolist() == [20, 20, 20]
    assert found.part(TEST).counts().tolist() == [20, 20, 19]


def test_a_train_part_alone_is_not_taken_for_a_test(striped_folders: Path, tmp_path: Path) -> None:
    striped_folders.rename(tmp_path / "train")
    found = find(tmp_path)
    assert len(found.part(TRAIN)) == 60
    with pytest.raises(DatasetError, match="has a train part and no test part: add test/"):
        found.part(TEST)


def test_a_class_called_train_is_a_class(striped_folders: Path) -> None:
    (striped_folders / "red").rename(striped_folders / "train")
    found = find(striped_folders)
    assert found.part(TRAIN).labels == ("blue", "green", "train")


def test_food_101_is_divided_by_its_lists(tmp_path: Path) -> None:
    official.write_food101(tmp_path / "food-101", ("apple_pie", "waffles"), per_class=6, test=2)
    for path in (tmp_path, tmp_path / "food-101"):
        found = find(path)
        assert (found.format, found.parts) == ("Food-101", (TRAIN, TEST))
        assert found.part(TRAIN).counts().tolist() == [4, 4]
        assert found.part(TEST).counts().tolist() == [2, 2]
    train, test = read_dataset(tmp_path, TRAIN, 96), read_dataset(tmp_path, TEST, 96)
    assert train.labels == ("apple_pie", "waffles")
    assert not set(train.files) & set(test.files)


@pytest.mark.parametrize("line", ["../../etc/passwd", "apple_pie/../x", "/etc/passwd", "apple_pie"])
def test_a_list_that_leads_elsewhere_is_refused(tmp_path: Path, line: str) -> None:
    official.write_food101(tmp_path, ("apple_pie", "waffles"), per_class=3, test=1)
    with (tmp_path / "meta" / "test.txt").open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(DatasetError, match=r"test\.txt, line 3: .* is not <class>/<number>"):
        find(tmp_path).part(TEST)


def test_imagenet_folders_are_named_by_their_synsets(tmp_path: Path) -> None:
    official.write_imagenet(tmp_path, SYNSETS, per_class=3, parts=("train", "val"))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "ILSVRC2012_test_00000001.JPEG").write_bytes(b"has no class")
    found = find(tmp_path)
    assert (found.format, found.parts) == ("ImageNet folders", (TRAIN, TEST))
    assert found.part(TEST).labels == SYNSETS
    assert len(read_dataset(tmp_path, TEST, 96)) == 9


def test_kaggles_imagenet_has_names_and_a_listed_validation_part(tmp_path: Path) -> None:
    base = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    official.write_imagenet(base, SYNSETS, per_class=3, parts=("train",))
    (tmp_path / "LOC_synset_mapping.txt").write_text(
        "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n"
    )
    (base / "val").mkdir()
    rows = ["ImageId,PredictionString"]
    for number, synset in enumerate((SYNSETS[2], SYNSETS[0])):
        name = f"ILSVRC2012_val_0000000{number}"
        picture = official.pictures(1, 48, number)[0]
        official.save_jpeg(picture, base / "val" / f"{name}.JPEG")
        rows.append(f"{name},{synset} 85 1 499 272 {synset} 1 1 2 2 ")
    listing = tmp_path / "LOC_val_solution.csv"
    listing.write_text("\n".join(rows) + "\n")
    found = find(tmp_path)
    assert (found.format, found.parts) == ("ImageNet folders", (TRAIN, TEST))
    train, test = found.part(TRAIN), found.part(TEST)
    assert train.labels == ("tench", "crane (n02012849)", "crane (n03126707)")
    assert train.keys == SYNSETS
    assert test.targets.tolist() == [2, 0]
    assert test.labels == train.labels
    listing.write_text("ImageId,PredictionString\nx,n99999999 1 2 3 4\n")
    with pytest.raises(DatasetError, match="is no picture and class of train/"):
        found.part(TEST)
    (tmp_path / "LOC_synset_mapping.txt").write_text("tench\n")
    with pytest.raises(DatasetError, match="line 1: 'tench' is not a synset and its names"):
        find(tmp_path)


def test_tiny_imagenet_has_its_own_layout(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    for place, synset in enumerate(SYNSETS):
        (root / "train" / synset / "images").mkdir(parents=True)
        for index, picture in enumerate(official.pictures(3, 64, place)):
            official.save_jpeg(picture, root / "train" / synset / "images" / f"{index}.JPEG")
        (root / "train" / synset / f"{synset}_boxes.txt").write_text("0.JPEG\t0\t0\t63\t63\n")
    (root / "val" / "images").mkdir(parents=True)
    for index, picture in enumerate(official.pictures(2, 64, 9)):
        official.save_jpeg(picture, root / "val" / "images" / f"val_{index}.JPEG")
    listing = root / "val" / "val_annotations.txt"
    listing.write_text(
        f"val_0.JPEG\t{SYNSETS[2]}\t0\t32\t44\t62\nval_1.JPEG\t{SYNSETS[0]}\t1\t2\t3\t4\n"
    )
    words = "n00001740\tentity\nn01440764\ttench, Tinca tinca\nn02012849\tcrane\nn03126707\tcrane\n"
    (root / "words.txt").write_text(words)
    for path in (tmp_path, root):
        found = find(path)
        assert (found.format, found.parts) == ("Tiny ImageNet", (TRAIN, TEST))
        assert found.part(TRAIN).labels == ("tench", "crane (n02012849)", "crane (n03126707)")
        assert found.part(TEST).targets.tolist() == [2, 0]
        assert len(read_dataset(path, TRAIN, 96)) == 9
        assert len(read_dataset(path, TEST, 96)) == 2
    listing.write_text("../../x.JPEG\tn01440764\n")
    with pytest.raises(DatasetError, match="is no picture and class of train/"):
        find(root).part(TEST)


def test_one_folder_of_pictures_named_by_synset(tmp_path: Path) -> None:
    for name in ("n01440764_tench", "n01440764_2", "n02012849_crane"):
        official.save_jpeg(official.pictures(1, 48)[0], tmp_path / f"{name}.jpg")
    (tmp_path / "notes.txt").write_text("x")
    found = find(tmp_path)
    assert (found.format, found.parts) == ("ImageNet pictures", (WHOLE,))
    assert found.part(TEST).labels == ("n01440764", "n02012849")
    assert found.part(TEST).targets.tolist() == [0, 0, 1]


def test_a_folder_of_several_data_sets_is_refused(tmp_path: Path) -> None:
    pixels = official.pictures(10)
    official.write_cifar10(tmp_path / "cifar-10-batches-py", pixels, pixels, range(10))
    official.write_cifar100(tmp_path / "cifar-100-python", pixels, pixels, ("a", "b"))
    with pytest.raises(DatasetError, match="holds CIFAR-10 and CIFAR-100: give the folder of one"):
        find(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file.txt", "file.tar.gz"])
def test_what_is_no_data_set_is_refused(tmp_path: Path, name: str) -> None:
    if name != "missing":
        (tmp_path / name).write_text("x")
    with pytest.raises(DatasetError, match=f"{name} (is not a folder|cannot be read)"):
        find(tmp_path / name)


def test_the_first_of_each_class_are_the_first(striped_folders: Path) -> None:
    part = find(striped_folders).part(TRAIN).first_of_each_class(2)
    assert [file.name for file in part.files] == ["00.png", "01.png"] * 3
    np.testing.assert_array_equal(part.targets, [0, 0, 1, 1, 2, 2])
