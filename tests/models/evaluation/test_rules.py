import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from models.certainty import outlook
from models.cli import main
from models.ensemble import Answer, compress, softmax
from models.evaluation.ballots import CHUNK_SCORES, COMPARED_RULES, ComparedRule, Ints, Scores
from models.evaluation.rules import (
    LEAST_WEIGHT,
    Figures,
    Weighting,
    accuracies_of,
    best,
    calibration_error,
    choose,
    compare,
    distinct,
    weightings,
)
from models.pack import load_pack
from models.rules import Rule
from models.specs import VARIANTS

EVEN = Weighting("even", (1.0, 1.0))


@dataclass(frozen=True)
class Shape:
    resolution: int
    width: float


def seen(
    strengths: list[float], count: int = 3000, class_count: int = 5
) -> tuple[list[Scores], Ints]:
    """Scores of variants that see the right class the more clearly the greater their strength."""
    rng = np.random.default_rng(7)
    targets = rng.integers(0, class_count, count)
    scores: list[Scores] = []
    for strength in strengths:
        logits = rng.normal(0, 1, (count, class_count))
        logits[np.arange(count), targets] += strength
        scores.append(softmax(logits).astype(np.float32))
    return scores, targets


def test_equal_widths_leave_alpha_without_effect_and_so_one_weighting_by_eq_1() -> None:
    variants = [VARIANTS[name] for name in ("V1", "V2", "V3")]
    names = [one.name for one in weightings(variants, [0.8, 0.9, 0.95], 10)]
    assert names == ["Eq. 1, α = 1", "equal", "accuracy"]


def test_alpha_is_swept_where_widths_differ() -> None:
    variants = [VARIANTS["V1"], VARIANTS["Vim1"]]
    found = {one.name: one for one in weightings(variants, [0.8, 0.9], 10)}
    assert [one.alpha for one in found.values()] == [1.0, 0.0, 0.5, 2.0, 4.0, None]
    assert found["Eq. 1, α = 2"].weights == pytest.approx((1.0, (0.5 / 0.35) ** 2))
    assert "equal" not in found  # both have one resolution, which α = 0 makes equal


def test_weights_by_accuracy_are_the_odds_against_chance() -> None:
    by_accuracy = weightings([Shape(96, 0.35), Shape(128, 0.5)], [0.5, 0.9], 10)[-1]
    expected = math.log(0.5 * 9 / 0.5) / math.log(0.9 * 9 / 0.1)
    assert by_accuracy.weights == pytest.approx((expected, 1.0))


@pytest.mark.parametrize("accuracies", [(0.1, 0.9), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0)])
def test_weights_by_accuracy_stay_positive_and_finite(accuracies: tuple[float, float]) -> None:
    for one in weightings([Shape(96, 0.35), Shape(128, 0.5)], accuracies, 10):
        assert all(LEAST_WEIGHT <= weight < math.inf for weight in one.weights)


def test_multiples_of_a_weighting_are_the_same_weighting() -> None:
    kept = distinct([EVEN, Weighting("twice", (2.0, 2.0)), Weighting("other", (1.0, 2.0))])
    assert [one.name for one in kept] == ["even", "other"]


def test_figures_are_the_hand_computed_ones() -> None:
    # Two pictures of classes 0 and 1, dense answers, even weights: the means are
    #   (0.7, 0.3) right, confidence 0.7, −ln 0.7; (0.55, 0.45) wrong, confidence 0.55, −ln 0.45.
    scores = [np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([[0.5, 0.5], [0.3, 0.7]])]
    (found,) = compare(scores, np.array([0, 1]), [EVEN], 2, rules=["residual"])
    assert found.top_1 == found.subsets_top_1 == 0.5
    expected = -(math.log(0.7) + math.log(0.45)) / 2
    assert found.negative_log_likelihood == pytest.approx(expected)
    assert found.calibration_error == pytest.approx((0.3 + 0.55) / 2)


def test_subsets_of_two_or_more_count_alike_and_single_variants_do_not() -> None:
    sure, wrong = np.array([[0.9, 0.1]]), np.array([[0.45, 0.55]])
    even = Weighting("even", (1.0, 1.0, 1.0))
    # Right: the pairs with the sure one and all three; wrong: the pair without it.
    (found,) = compare([sure, wrong, wrong], np.array([0]), [even], 2, rules=["residual"])
    assert (found.top_1, found.subsets_top_1) == (1.0, 0.75)


def test_many_pictures_are_measured_in_parts_and_progress_is_told() -> None:
    size = CHUNK_SCORES // 5
    scores, targets = seen([2.0, 1.0], count=size + 100)
    done: list[tuple[int, int]] = []
    whole = compare(scores, targets, [EVEN], 2, on_progress=lambda n, of: done.append((n, of)))
    assert [one.rule for one in whole] == list(COMPARED_RULES)
    assert done == [(size, size + 100), (size + 100, size + 100)]
    last = compare([one[size:] for one in scores], targets[size:], [EVEN], 2)
    for one, part in zip(whole, last, strict=True):
        np.testing.assert_array_equal(one.right[size:], part.right)


@pytest.mark.parametrize("rule", get_args(Rule))
def test_early_is_how_often_the_outlook_without_one_answer_is_certain(rule: Rule) -> None:
    scores, targets = seen([4.0, 4.0, 4.0], count=200)
    weights = (0.6, 0.8, 1.0)
    (found,) = compare(scores, targets, [Weighting("w", weights)], 2, rules=[rule])
    certain = 0
    for picture in range(200):
        answers = [
            Answer(*compress(of_one[picture], 2), weight)
            for of_one, weight in zip(scores, weights, strict=True)
        ]
        for late in range(3):
            came = [answer for index, answer in enumerate(answers) if index != late]
            certain += outlook(came, [weights[late]], 5, rule) is not None
    assert 0 < certain < 600
    assert found.early == pytest.approx(certain / 600)


def test_calibration_error_is_the_mean_gap_between_accuracy_and_confidence() -> None:
    right = np.array([True, True, True, False] * 5)
    assert calibration_error(np.full(20, 0.75), right) == pytest.approx(0)
    assert calibration_error(np.full(20, 1.0), right) == pytest.approx(0.25)
    halves = np.array([0.2] * 10 + [0.9] * 10)
    assert calibration_error(halves, np.array([True] * 10 + [False] * 10)) == pytest.approx(0.85)


def figures(rule: ComparedRule, right: list[float], likelihood: float) -> Figures:
    shares = np.array(right)
    mean = float(shares.mean())
    return Figures(rule, EVEN, mean, mean, likelihood, 0.0, 0.0, shares)


def test_the_more_accurate_wins_and_of_hardly_different_ones_the_better_calibrated() -> None:
    accurate = figures("paper", [1.0] * 98 + [0.0] * 2, 0.9)
    worse = figures("residual", [0.0] * 10 + [1.0] * 90, 0.1)
    hardly = figures("product", [0.0] * 3 + [1.0] * 97, 0.2)
    assert best([worse, accurate]) is accurate
    assert best([worse, accurate, hardly]) is hardly


def test_of_equals_the_rule_that_states_its_own_probability_wins() -> None:
    paper, residual = figures("paper", [1.0, 0.0], 0.3), figures("residual", [1.0, 0.0], 0.3)
    assert best([paper, residual]) is residual


def test_a_rule_that_no_pack_can_name_is_never_best() -> None:
    unnameable, able = figures("logits", [1.0] * 9, 0.1), figures("paper", [0.5] * 9, 2.0)
    assert best([unnameable, able]) is able


def test_choice_weighs_by_what_each_variant_is_worth() -> None:
    # The smaller picture's variant is by far the better one, which Eq. 1 has the wrong way round.
    scores, targets = seen([5.0, 0.3])
    told: list[Figures] = []
    choice = choose(scores, targets, [Shape(96, 0.35), Shape(320, 0.35)], 2, on_figures=told.append)
    assert choice.alpha is None
    assert choice.weights[0] > choice.weights[1]
    assert {one.rule for one in told} == {"paper", "residual", "product"}
    assert {one.weighting.name for one in told} == {"Eq. 1, α = 1", "equal", "accuracy"}
    assert max(one.top_1 for one in told) >= max(accuracies_of(scores, targets)) - 0.002


def test_alpha_that_is_asked_for_is_kept() -> None:
    scores, targets = seen([5.0, 0.3])
    choice = choose(scores, targets, [Shape(96, 0.35), Shape(320, 0.7)], 2, alpha=3.0)
    assert choice.alpha == 3.0
    assert choice.weights == pytest.approx((0.3, 8.0))


def test_one_variant_alone_can_be_chosen_for() -> None:
    scores, targets = seen([2.0])
    assert choose(scores, targets, [Shape(96, 0.35)], 2).weights == (1.0,)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in load_pack().labels[:2]:
        (tmp_path / label).mkdir()
        for index in range(3):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{index}.png")
    return tmp_path


def test_command_reports_every_combination_and_marks_one(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rules", str(labelled), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pictures"], report["k"]) == (6, 2)
    rows = report["combinations"]
    assert {row["rule"] for row in rows} == set(COMPARED_RULES)
    (chosen,) = [row for row in rows if row["chosen"]]
    assert chosen["rule"] != "logits"
    assert all(0 <= row["top_1"] <= 1 for row in rows)

    assert main(["rules", str(labelled), "--limit", "2"]) == 0
    shown = capsys.readouterr().out
    assert "4 pictures, k = 2" in shown
    assert shown.count("◀") == 2  # the row and the caption
