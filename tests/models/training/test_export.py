import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from models.dataset import Dataset
from models.datasets import TRAIN, read_dataset
from models.evaluation.accuracy import subset_accuracies
from models.evaluation.rules import Choice, Figures, best
from models.pack import write_pack
from models.rules import Rule
from models.runtime import Classifier
from models.specs import VARIANTS
from models.training import export as exporting
from models.training.errors import ExportError
from models.training.export import export, manifest_of
from models.training.network import DeployedVariant, Variant
from models.training.run import Trained


@pytest.fixture
def dataset(striped_folders: Path) -> Dataset:
    return read_dataset(striped_folders, TRAIN, 96)


@pytest.fixture
def trained(dataset: Dataset) -> Trained:
    torch.manual_seed(0)
    network = Variant(VARIANTS["V1"], len(dataset.labels)).eval()
    return Trained(network, dataset.labels, 0.5, 1.7, "random weights, for a test")


def test_the_file_does_what_the_network_does(
    trained: Trained, dataset: Dataset, tmp_path: Path
) -> None:
    exported = export(trained, dataset)
    assert exported.largest_difference < 1e-5
    classifier = Classifier(exported.model)
    assert (classifier.resolution, classifier.class_count) == (96, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, (96, 96, 3)).astype(np.float32)
    deployed = DeployedVariant(trained.network, 1.7)
    with torch.no_grad():
        expected = deployed(torch.from_numpy(pixels)[None])[0].numpy()
    np.testing.assert_allclose(classifier.classify(pixels), expected, atol=1e-5)

    figures: list[Figures] = []
    manifest = manifest_of(
        [exported],
        dataset,
        name="stripes",
        version="1",
        description="",
        sources="",
        licence="",
        k=2,
        on_figures=figures.append,
    )
    pack = write_pack(tmp_path / "pack", manifest, {"V1": exported.model})
    assert pack.labels == ("blue", "green", "red")
    assert {one.rule for one in figures} == set(get_args(Rule))
    assert pack.manifest.rule == best(figures).rule
    entry = json.loads((tmp_path / "pack" / "pack.json").read_text())["variants"][0]
    assert entry["macs"] > 9_000_000
    assert entry["weight"] == 1.0
    assert manifest.ensembles == ()  # one variant: its own accuracy says it


def test_every_set_of_a_small_family_is_measured_and_the_pairs_of_a_large_one(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    scores = {
        f"V{number}": rng.dirichlet(np.ones(3), len(dataset)).astype(np.float32)
        for number in (1, 2, 3)
    }
    choice = Choice("paper", (1.0, 1.0, 1.0), 0.5)
    found = exporting.ensembles_of(scores, choice, dataset, k=2)
    assert [one.variants for one in found] == [
        ("V1", "V2"), ("V1", "V3"), ("V2", "V3"), ("V1", "V2", "V3"),
    ]  # fmt: skip
    weights = dict.fromkeys(scores, 1.0)
    measured = subset_accuracies(scores, weights, dataset.targets, 2, "paper")
    assert [one.accuracy for one in found] == [one.top_1 for one in measured[3:]]
    monkeypatch.setattr(exporting, "EVERY_SET_UP_TO", 2)
    pairs = exporting.ensembles_of(scores, choice, dataset, k=2)
    assert pairs == found[:3]


def test_a_file_with_limited_detail_does_what_its_network_does(dataset: Dataset) -> None:
    torch.manual_seed(0)
    network = Variant(VARIANTS["V1"], len(dataset.labels), detail=32).eval()
    exported = export(Trained(network, dataset.labels, 0.5, 1.0, "random, for a test"), dataset)
    assert exported.largest_difference < 1e-5


def test_a_file_that_differs_from_its_network_is_not_handed_on(
    trained: Trained, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    other = DeployedVariant(Variant(VARIANTS["V1"], 3).eval())
    wrong = exporting.convert(other, 96)
    monkeypatch.setattr(exporting, "convert", lambda *_: wrong)
    with pytest.raises(ExportError, match="V1's file differs from its network"):
        export(trained, dataset)
