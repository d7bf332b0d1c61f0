from pathlib import Path

import numpy as np
import pytest

from models.datasets import TEST, read_dataset
from models.evaluation.accuracy import scores_of, subset_accuracies
from models.evaluation.score_cache import ScoreCache
from models.evaluation.study import LARGEST_FAMILY, family_of, read_study
from models.manifest import VariantEntry
from models.pack import Pack


def entry(name: str, precision: str = "float32") -> VariantEntry:
    return VariantEntry.model_validate(
        {
            "name": name, "file": f"{name}.tflite", "sha256": "0" * 64, "precision": precision,
            "resolution": 96, "width": 0.35, "weight": 1, "parameters": 1, "macs": 1,
        }
    )  # fmt: skip


def test_a_study_is_as_accurate_as_its_pack(
    tiny_pack: Pack, labelled_pictures: Path, tmp_path: Path
) -> None:
    study = read_study(tiny_pack, labelled_pictures, ScoreCache(tmp_path / "cache"))
    dataset = read_dataset(labelled_pictures, TEST, 32, labels=tiny_pack.labels)
    expected = subset_accuracies(
        scores_of(tiny_pack, dataset), {"V1": 0.6, "V2": 1.0}, dataset.targets, 2, "residual"
    )
    assert [one.top_1 for one in study.subsets.values()] == [one.top_1 for one in expected]
    assert (study.title, study.variants, study.m) == ("CIFAR-10", ("V1", "V2"), 2)
    assert set(map(tuple, map(sorted, study.subsets))) == {("V1",), ("V2",), ("V1", "V2")}
    again = study.together(k=2, rule="residual")
    np.testing.assert_array_equal(again.right, study.everyone.right)


@pytest.mark.parametrize(
    ("entries", "names", "left_out"),
    [
        ([entry("V1")], "V1", ""),
        ([entry("V1"), entry("V1q", "int8"), entry("V2")], "V1 V2", "V1q"),
        ([entry("A", "int8"), entry("B")], "A", "B"),
        (
            [entry(f"S{index}") for index in range(LARGEST_FAMILY + 2)],
            "S0 S1 S2 S3 S4 S5 S6 S7",
            "S8 S9",
        ),
    ],
)
def test_a_family_is_of_one_precision_and_not_too_large(
    entries: list[VariantEntry], names: str, left_out: str
) -> None:
    family, others = family_of(entries)
    assert [one.name for one in family] == names.split()
    assert list(others) == left_out.split()


def test_a_limit_takes_the_first_pictures_of_each_class(
    tiny_pack: Pack, labelled_pictures: Path, tmp_path: Path
) -> None:
    study = read_study(tiny_pack, labelled_pictures, ScoreCache(tmp_path / "cache"), limit=3)
    assert np.bincount(study.targets).tolist() == [3] * 10
