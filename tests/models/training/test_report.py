import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from models.dataset import Dataset
from models.datasets import TRAIN, read_dataset
from models.specs import spec_of
from models.training.inspection import Suspect
from models.training.network import Variant
from models.training.recipe import Recipe
from models.training.report import Report, inspect, show
from models.training.run import Trained


@pytest.fixture
def dataset(striped_folders: Path) -> Dataset:
    return read_dataset(striped_folders, TRAIN, 96)


def test_the_family_is_inspected_on_what_was_held_out(dataset: Dataset) -> None:
    torch.manual_seed(0)
    trained = [
        Trained(Variant(spec_of(name), 3).eval(), dataset.labels, 0.25, 1.0, "random, for a test")
        for name in ("V1", "V2")
    ]
    recipe = Recipe(("V1", "V2"), validation_share=0.2)
    report = inspect(trained, dataset, recipe, None, lambda _: None)
    assert report.accuracy == {"V1": 0.25, "V2": 0.25}
    assert report.held_out == 12 == report.matrix.sum()
    assert report.together == pytest.approx(np.trace(report.matrix) / 12)
    assert report.suspects is None, "without pretrained weights there is nobody to ask"


def test_what_is_shown_names_accuracy_confusions_and_suspects(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = np.array([[4, 0, 0], [3, 1, 0], [0, 0, 4]])
    report = Report({"V1": 0.75}, 0.75, 12, matrix, [Suspect(7, 0, 2, 0.93)])
    show(report, dataset, tmp_path)
    out = capsys.readouterr().out
    assert "75.0%" in out
    assert "green for blue (3)" in out
    assert "blue/07.png: red (93%)" in out
    with (tmp_path / "suspects.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["file"] == str(dataset.files[7])
    assert (row["folder"], row["probably"]) == ("blue", "red")
