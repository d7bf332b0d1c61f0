import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.cli import main
from models.datasets.composition import plan, write
from models.datasets.data_map import DataMap
from models.errors import DataMapError, DatasetError
from tests.models.datasets import official

Tree = Callable[[dict[str, int]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make folders of so many tiny pictures each, all different."""
    rng = np.random.default_rng(3)

    def make(counts: dict[str, int]) -> Path:
        for folder, count in counts.items():
            (tmp_path / "sets" / folder).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "sets" / folder / f"{index:02d}.png")
        return tmp_path / "sets"

    return make


def a_map(labels: dict[str, list[object]], left_out: tuple[str, ...] = ()) -> DataMap:
    return DataMap.model_validate({"name": "m", "labels": labels, "left_out": left_out})


def files(root: Path) -> list[str]:
    return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


PETS = {
    "pets/train/cat": 10,
    "pets/train/dog": 4,
    "pets/test/cat": 5,
    "pets/test/dog": 2,
}


def test_the_first_of_train_and_as_large_a_share_of_test_are_linked(
    tree: Tree, tmp_path: Path
) -> None:
    root, out = tree(PETS), tmp_path / "out"
    data_map = a_map({"feline": [{"pets/cat": 4}], "canine": ["pets/dog"]})
    write(plan(data_map, root, ("train", "test")), out)
    assert files(out) == sorted(
        [f"train/feline/pets-cat-{n:02d}.png" for n in range(4)]
        + [f"train/canine/pets-dog-{n:02d}.png" for n in range(4)]
        + [f"test/feline/pets-cat-{n:02d}.png" for n in range(2)]
        + [f"test/canine/pets-dog-{n:02d}.png" for n in range(2)]
    )
    linked = out / "train/feline/pets-cat-02.png"
    assert linked.samefile(root / "pets/train/cat/02.png")
    assert not (tmp_path / "out.partial").exists()


def test_a_small_share_of_test_is_still_one_picture(tree: Tree) -> None:
    placements = plan(a_map({"a": [{"pets/cat": 1}], "b": ["pets/dog"]}), tree(PETS), ("test",))
    assert [str(one.target) for one in placements[:2]] == [
        "test/a/pets-cat-00.png",
        "test/b/pets-dog-00.png",
    ]


def test_what_is_named_on_its_own_is_taken_out_of_ranges(tree: Tree) -> None:
    root = tree({f"photos/train/n0000000{n}_{n}": 1 for n in range(1, 7)})
    data_map = a_map(
        {
            "most": ["photos/n00000001..n00000006"],
            "some": ["photos/n00000002", "photos/n00000003_3"],
        },
        ("photos/n00000005",),
    )
    placements = plan(data_map, root, ("train",))
    assert [one.target.parts[1:] for one in placements] == [
        ("most", "photos-n00000001_1-00.png"),
        ("most", "photos-n00000004_4-00.png"),
        ("most", "photos-n00000006_6-00.png"),
        ("some", "photos-n00000002_2-00.png"),
        ("some", "photos-n00000003_3-00.png"),
    ]


def test_a_synset_finds_its_class_whatever_name_follows_it(tree: Tree) -> None:
    root = tree({"photos/train/n00000001": 1, "photos/train/n00000002_owl": 1})
    data_map = a_map({"a": ["photos/n00000001_wren"], "b": ["photos/n00000002"]})
    assert len(plan(data_map, root, ("train",))) == 2


def test_classes_of_official_files_become_pictures(tmp_path: Path) -> None:
    pixels = official.pictures(20)
    official.write_cifar10(tmp_path / "sets" / "cifar10", pixels, pixels, range(10))
    data_map = a_map({"pet": [{"cifar10/cat": 1}, "cifar10/dog"], "ship": ["cifar10/ship"]})
    out = tmp_path / "out"
    write(plan(data_map, tmp_path / "sets", ("train",)), out)
    assert files(out) == [
        "train/pet/cifar10-cat-00003.png",
        "train/pet/cifar10-dog-00005.png",
        "train/pet/cifar10-dog-00015.png",
        "train/ship/cifar10-ship-00008.png",
        "train/ship/cifar10-ship-00018.png",
    ]
    with Image.open(out / "train/pet/cifar10-dog-00015.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels[15])


def test_undivided_pictures_go_to_one_part_only(tree: Tree) -> None:
    root = tree({"pets/cat": 3, "pets/dog": 3})
    data_map = a_map({"a": [{"pets/cat": 2}], "b": ["pets/dog"]})
    assert len(plan(data_map, root, ("test",))) == 5
    with pytest.raises(DatasetError, match="would come into both: choose one with --split"):
        plan(data_map, root, ("train", "test"))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"a": ["birds/owl"], "b": ["pets/dog"]}, "birds is missing, .* takes birds/owl; .*pets"),
        ({"a": ["pets/catt"], "b": ["pets/dog"]}, "no class 'catt'; did you mean cat"),
        ({"a": ["pets/xyz"], "b": ["pets/dog"]}, "no class 'xyz'; it has cat, dog"),
        (
            {"a": ["pets/n00000001..n00000002"], "b": ["pets/dog"]},
            "no class within n00000001..n00000002",
        ),
    ],
)
def test_what_is_missing_is_named(
    tree: Tree, labels: dict[str, list[object]], sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        plan(a_map(labels), tree(PETS), ("train",))


def test_one_class_under_two_names_or_in_two_ranges_is_refused(tree: Tree) -> None:
    root = tree({"photos/n00000001_a": 1, "photos/n00000002_b": 1})
    twice = a_map({"a": ["photos/n00000001"], "b": ["photos/n00000001_a"]})
    with pytest.raises(DataMapError, match="are the same class"):
        plan(twice, root, ("train",))
    overlap = a_map({"a": ["photos/n00000001..n00000002"], "b": ["photos/n00000002..n00000003"]})
    with pytest.raises(DataMapError, match="are the same class"):
        plan(overlap, root, ("train",))


def test_a_stopped_run_goes_on_and_what_another_map_left_is_removed(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = tree(PETS), tmp_path / "out"
    placements = plan(a_map({"a": ["pets/cat"], "b": ["pets/dog"]}), root, ("train",))
    other = plan(a_map({"x": ["pets/cat"], "b": ["pets/dog"]}), root, ("train",))

    linked: list[Path] = []

    def stop_after_12(source: Path, target: Path) -> None:
        if len(linked) == 12:
            raise KeyboardInterrupt
        linked.append(target)
        link(source, target)

    link = os.link
    monkeypatch.setattr(os, "link", stop_after_12)
    with pytest.raises(KeyboardInterrupt):
        write(other, out)
    assert not out.exists()
    assert len(files(tmp_path / "out.partial")) == 12
    linked.clear()
    write(placements, out)
    assert len(linked) == 12, "ten of the other map's are gone, two dogs were there"
    assert {name.split("/")[1] for name in files(out)} == {"a", "b"}


def test_where_links_fail_pictures_are_copied(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    root = tree(PETS)
    placements = plan(a_map({"a": ["pets/cat"], "b": ["pets/dog"]}), root, ("train",))
    write(placements, tmp_path / "out")
    copy, original = tmp_path / "out/train/a/pets-cat-00.png", root / "pets/train/cat/00.png"
    assert copy.read_bytes() == original.read_bytes()
    assert not copy.samefile(original)


def test_an_existing_folder_is_left_alone(tree: Tree, tmp_path: Path) -> None:
    placements = plan(a_map({"a": ["pets/cat"], "b": ["pets/dog"]}), tree(PETS), ("train",))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="out exists: remove it first"):
        write(placements, tmp_path / "out")
    assert files(tmp_path / "out") == ["mine.txt"]


def test_a_full_disk_is_one_sentence(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: object, _target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copy2", refuse)
    placements = plan(a_map({"a": ["pets/cat"], "b": ["pets/dog"]}), tree(PETS), ("train",))
    with pytest.raises(DatasetError, match=r"cannot be written .No space left on device."):
        write(placements, tmp_path / "out")


def test_compose_says_what_each_label_got(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tree(PETS), tmp_path / "out"
    (tmp_path / "map.yaml").write_text("name: m\nlabels: {a: [pets/cat], b: [pets/dog: 2]}\n")
    arguments = ["compose", str(tmp_path / "map.yaml"), "--root", str(root), "--out", str(out)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["a", "10", "5"]
    assert lines[2].split() == ["b", "2", "1"]
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
