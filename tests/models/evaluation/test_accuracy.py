import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from models.cli import main
from models.datasets import TEST, read_dataset
from models.evaluation.accuracy import (
    Floats,
    SubsetAccuracy,
    recalls,
    scores_of,
    subset_accuracies,
    winners,
)
from models.pack import load_pack
from models.rules import Rule

# Two variants on four pictures of classes 0 0 1 2: each is right where the other is not sure.
SCORES = {
    "A": np.array([[0.9, 0.1, 0], [0.4, 0.6, 0], [0.2, 0.8, 0], [0.4, 0.3, 0.3]], np.float32),
    "B": np.array([[0.6, 0.4, 0], [0.9, 0.1, 0], [0.6, 0.4, 0], [0.1, 0.1, 0.8]], np.float32),
}
TARGETS = np.array([0, 0, 1, 2])
WEIGHTS = {"A": 1.0, "B": 1.0}


def together(
    scores: dict[str, Floats], weights: dict[str, float], k: int, rule: Rule
) -> SubsetAccuracy:
    return subset_accuracies(scores, weights, TARGETS, k, rule)[-1]


def test_subsets_are_measured_alone_and_together() -> None:
    subsets = subset_accuracies(SCORES, WEIGHTS, TARGETS, k=3, rule="residual")
    assert {"+".join(one.variants): one.top_1 for one in subsets} == {
        "A": 0.5,
        "B": 0.75,
        "A+B": 1.0,
    }


def test_confidence_is_the_winners_mean_score() -> None:
    alone = together({"A": SCORES["A"]}, WEIGHTS, k=3, rule="residual")
    assert alone.confidence == pytest.approx((0.9 + 0.6 + 0.8 + 0.4) / 4)


def test_confidence_of_the_papers_rule_is_what_a_gateway_states_of_its_winner() -> None:
    alone = together({"A": SCORES["A"]}, WEIGHTS, k=3, rule="paper")
    assert alone.confidence == pytest.approx((0.9 + 0.6 + 0.8 + 0.4) / 4)


def test_one_score_an_answer_sends_the_index_alone() -> None:
    # The heavier vote wins wherever they differ: only B's fourth picture outvotes A's.
    weights = {"A": 2.0, "B": 1.0}
    voted = together(SCORES, weights, k=1, rule="paper")
    assert voted.top_1 == 0.5
    assert together(SCORES, {"A": 1.0, "B": 2.0}, k=1, rule="paper").top_1 == 0.75


def test_evaluate_reports_what_the_files_of_the_shipped_pack_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = load_pack()
    rng = np.random.default_rng(0)
    from PIL import Image

    for label in pack.labels[:2]:
        (tmp_path / label).mkdir()
        for index in range(4):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{index}.png")
    assert main(["evaluate", str(tmp_path), "--limit", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 6
    dataset = read_dataset(tmp_path, TEST, pack.largest_resolution, labels=pack.labels)
    dataset = dataset.subset(np.array([0, 1, 2, 4, 5, 6]))
    scores = scores_of(pack, dataset)
    right = {name: float((one.argmax(1) == dataset.targets).mean()) for name, one in scores.items()}
    reported = {
        one["variants"][0]: one["top_1"] for one in report["subsets"] if len(one["variants"]) == 1
    }
    assert reported == right
    weights = {entry.name: entry.weight for entry in pack.manifest.variants}
    together = winners(scores, weights, pack.manifest.k, pack.manifest.rule)
    shares = recalls(together, dataset.targets, len(pack.labels))
    assert report["recall"][pack.labels[0]] == shares[0]
    assert report["recall"][pack.labels[5]] is None, "no picture of it, so nothing is known"


def test_recall_is_the_share_of_each_class_that_was_recognised() -> None:
    found = recalls(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), 4)
    np.testing.assert_array_equal(found, [1.0, 0.5, 1.0, np.nan])


@pytest.mark.parametrize("rule", get_args(Rule))
def test_winners_are_those_whose_share_the_whole_family_gets_right(rule: Rule) -> None:
    rng = np.random.default_rng(3)
    scores = {name: rng.dirichlet(np.ones(6), 40).astype(np.float32) for name in ("V1", "V2")}
    weights, targets = {"V1": 0.6, "V2": 1.0}, rng.integers(0, 6, 40)
    together = subset_accuracies(scores, weights, targets, 2, rule)[-1]
    right = winners(scores, weights, 2, rule) == targets
    assert together.top_1 == float(right.mean())
