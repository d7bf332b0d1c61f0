from typing import get_args

import numpy as np
import pytest

from models.ensemble import Answer, combine, compress
from models.evaluation import ballots as module
from models.evaluation.outcomes import every_subset, outcomes
from models.rules import Rule

NAMES = ("A", "B", "C")
WEIGHTS = {"A": 0.6, "B": 0.8, "C": 1.0}


@pytest.fixture
def scores() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.dirichlet(np.full(6, 0.4), 200).astype(np.float32) for name in NAMES}


TARGETS = np.random.default_rng(4).integers(0, 6, 200)


@pytest.mark.parametrize("rule", get_args(Rule))
@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_every_subset_decides_as_the_gateway_does_picture_by_picture(
    scores: dict[str, np.ndarray], k: int, rule: Rule
) -> None:
    found = outcomes(scores, WEIGHTS, TARGETS, every_subset(NAMES), k=k, rule=rule, m=2)
    assert [one.variants for one in found] == every_subset(NAMES)
    for outcome in found:
        for picture, target in enumerate(TARGETS):
            answers = [
                Answer(*compress(scores[name][picture], k), WEIGHTS[name])
                for name in outcome.variants
            ]
            winner = combine(answers, 6, rule).argmax()
            assert outcome.right[picture] == (winner == target)


def test_chunks_change_nothing(
    scores: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = outcomes(scores, WEIGHTS, TARGETS, [NAMES], k=2, rule="residual", m=2)[0]
    monkeypatch.setattr(module, "CHUNK_SCORES", 50)
    parts = outcomes(scores, WEIGHTS, TARGETS, [NAMES], k=2, rule="residual", m=2)[0]
    np.testing.assert_array_equal(whole.right, parts.right)
    np.testing.assert_array_equal(whole.in_top_m, parts.in_top_m)


@pytest.mark.parametrize(
    ("target", "m", "chance"),
    [(1, 1, 1.0), (3, 1, 0.0), (3, 2, 1.0), (0, 3, 1 / 3), (0, 4, 2 / 3), (0, 5, 1.0)],
)
def test_classes_that_tie_share_the_places_left(target: int, m: int, chance: float) -> None:
    # Classes 0, 2 and 4 are named by nobody.
    scores = {"A": np.array([[0, 0.6, 0, 0.4, 0]], np.float32)}
    (outcome,) = outcomes(
        scores, {"A": 1.0}, np.array([target]), [("A",)], k=2, rule="residual", m=m
    )
    assert outcome.top_m == pytest.approx(chance)


def test_all_classes_hold_the_right_one(scores: dict[str, np.ndarray]) -> None:
    (outcome,) = outcomes(scores, WEIGHTS, TARGETS, [NAMES], k=1, rule="paper", m=6)
    assert outcome.top_m == 1.0


@pytest.mark.parametrize("m", [0, 7])
def test_m_is_among_the_classes(scores: dict[str, np.ndarray], m: int) -> None:
    with pytest.raises(ValueError, match=r"m must be in \[1, 6\]"):
        outcomes(scores, WEIGHTS, TARGETS, [NAMES], k=2, rule="paper", m=m)


def test_subsets_are_all_there_small_ones_first() -> None:
    assert every_subset("ab") == [("a",), ("b",), ("a", "b")]
    assert len(set(every_subset("abcde"))) == 31
