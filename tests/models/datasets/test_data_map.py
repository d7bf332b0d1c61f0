from collections import Counter
from pathlib import Path

import pytest

from models.datasets import find
from models.datasets.composition import plan
from models.datasets.data_map import MAPS, Source, load_map
from models.errors import DataMapError

VALID = """
name: mine
labels:
  cat: [pets/cat, pets/lion: 20]
  dog: [photos/n02085620..n02113978]
left_out: [photos/n02113624]
"""


def test_a_map_says_which_classes_make_up_a_label(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(VALID)
    data_map = load_map(tmp_path / "map.yaml")
    assert data_map.parts == ("train", "test")
    assert data_map.labels["cat"] == (Source("pets", "cat"), Source("pets", "lion", 20))
    assert data_map.labels["dog"][0].bounds == ("n02085620", "n02113978")
    assert data_map.left_out[0].bounds is None


@pytest.mark.parametrize("name", sorted(file.stem for file in MAPS.glob("*.yaml")))
def test_every_shipped_map_is_found_by_its_name(name: str) -> None:
    assert load_map(Path(name)).name == name


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name: mine\n", "", "name is missing; add it"),
        ("name: mine", "name: ../mine", "name: string should match"),
        ("name: mine", "name: mine\ncolour: red", "colour is unknown; known are name, parts"),
        ("name: mine", "name: mine\nparts: [val]", "parts.0: input should be 'train' or 'test'"),
        ("  dog: [photos/n02085620..n02113978]", "", "labels: dictionary should have at least 2"),
        ("[pets/cat, pets/lion: 20]", "[]", "labels.cat: tuple should have at least 1"),
        ("[pets/cat, pets/lion: 20]", "pets/cat", "labels.cat: input should be a valid tuple"),
        ("pets/cat,", "cat,", "labels.cat.0 is 'cat'; write dataset/class"),
        ("pets/cat,", "../cat,", "labels.cat.0 is '../cat'"),
        ("pets/cat,", "pets/..,", "labels.cat.0 is 'pets/..'"),
        ("lion: 20", "lion: 0", "labels.cat.1 takes 0 pictures; write a whole number"),
        ("lion: 20", "lion: yes", "labels.cat.1 takes True pictures"),
        ("lion: 20", "lion: many", "labels.cat.1 takes 'many' pictures"),
        ("n02085620..n02113978", "n02113978..n02085620", "a range that ends before it begins"),
        ("  cat:", "  a/b:", "labels has 'a/b', which is no usable label"),
        ("  cat:", "  no:", "labels has False, which is no usable label"),
        ("  cat:", "  dog:", "line 5, column 3: 'dog' stands there twice"),
        ("pets/lion: 20", "pets/cat: 20", "pets/cat stands under cat and again under cat"),
        ("photos/n02113624", "pets/cat", "pets/cat stands under cat and again under left_out"),
        ("name: mine", "name: [", "line 4, column 6"),
        (VALID, "just words", "holds no data map"),
        (VALID, "\x00", "is not YAML"),
    ],
)
def test_a_wrong_map_is_refused_in_one_sentence_with_the_place(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    file = tmp_path / "map.yaml"
    assert old in VALID
    file.write_text(VALID.replace(old, new))
    with pytest.raises(DataMapError) as refused:
        load_map(file)
    assert sentence in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_a_missing_or_huge_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMapError, match=r"no such file; shipped maps: .*home"):
        load_map(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * 1_048_577)
    with pytest.raises(DataMapError, match="larger than 1 MiB"):
        load_map(tmp_path / "huge.yaml")
    with pytest.raises(DataMapError, match="cannot be read"):
        load_map(tmp_path)


@pytest.mark.shared
def test_photos_give_each_of_imagenets_classes_to_one_label_or_leave_it_out(shared: Path) -> None:
    photos = load_map(Path("photos"))
    everything = find(shared / "data" / "imagenet-samples").part("all").keys
    assert len(everything) == 1000
    placed = [
        (one.part.keys[one.part.targets[one.index]], one.target.parts[1])
        for one in plan(photos, shared / "data", ("test",))
    ]
    left_out = {source.name for source in photos.left_out}
    assert sorted([synset for synset, _ in placed] + list(left_out)) == sorted(everything)
    counts = Counter(label for _, label in placed)
    assert (counts["dog"], counts["bird"], counts["cat"]) == (118, 59, 5)
    home = load_map(Path("home"))
    assert set(counts) == set(photos.labels) == set(home.labels)


def test_home_takes_nothing_that_the_photographs_measure() -> None:
    datasets = {
        name: {one.dataset for sources in load_map(Path(name)).labels.values() for one in sources}
        for name in ("home", "photos")
    }
    assert not datasets["home"] & datasets["photos"]
