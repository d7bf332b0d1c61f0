from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.availability import Availability, needing_every_machine, under_failures

shares = st.floats(0, 1)


@st.composite
def families(draw: st.DrawFn) -> tuple[dict[frozenset[str], float], dict[str, float]]:
    names = "abcd"[: draw(st.integers(1, 4))]
    subsets = [
        frozenset(subset)
        for size in range(1, len(names) + 1)
        for subset in combinations(names, size)
    ]
    return {subset: draw(shares) for subset in subsets}, {name: draw(shares) for name in names}


ACCURACY = {frozenset("a"): 0.8, frozenset("b"): 0.9, frozenset("ab"): 0.95}


@pytest.mark.parametrize(
    ("failing", "answered", "right"),
    [
        ({"a": 0.0, "b": 0.0}, 1.0, 0.95),
        ({"a": 1.0, "b": 1.0}, 0.0, 0.0),
        ({"a": 1.0, "b": 0.0}, 1.0, 0.9),
        ({"a": 0.5, "b": 0.5}, 0.75, 0.25 * (0.8 + 0.9 + 0.95)),
        ({"a": 0.1, "b": 0.2}, 0.98, 0.9 * 0.2 * 0.8 + 0.1 * 0.8 * 0.9 + 0.9 * 0.8 * 0.95),
    ],
)
def test_what_is_left(failing: dict[str, float], answered: float, right: float) -> None:
    found = under_failures(ACCURACY, failing)
    assert found.answered == pytest.approx(answered)
    assert found.right == pytest.approx(right)


@given(families())
def test_accuracy_of_what_is_answered_is_that_of_some_subset(
    family: tuple[dict[frozenset[str], float], dict[str, float]],
) -> None:
    accuracy, failing = family
    found = under_failures(accuracy, failing)
    assert 0 <= found.right <= found.answered + 1e-12
    if found.answered > 1e-6:
        low, high = min(accuracy.values()), max(accuracy.values())
        assert low - 1e-9 <= found.right_if_answered <= high + 1e-9


def test_exact_figures_are_those_of_many_throws() -> None:
    failing = {"a": 0.3, "b": 0.4}
    rng = np.random.default_rng(5)
    up = {name: rng.random(200_000) >= p for name, p in failing.items()}
    both, a, b = up["a"] & up["b"], up["a"] & ~up["b"], up["b"] & ~up["a"]
    thrown = 0.95 * both.mean() + 0.8 * a.mean() + 0.9 * b.mean()
    assert under_failures(ACCURACY, failing).right == pytest.approx(thrown, abs=0.005)


def test_where_all_machines_are_needed_each_one_counts() -> None:
    found = needing_every_machine(0.9, 5, 0.1)
    assert found.answered == pytest.approx(0.9**5)
    assert found.right == pytest.approx(0.9**6)
    assert needing_every_machine(0.9, 5, 0.0).right == 0.9


@given(st.floats(0, 1), st.integers(1, 8))
def test_one_answer_is_enough_never_answers_less_than_all_needed(p: float, nodes: int) -> None:
    names = "abcdefgh"[:nodes]
    accuracy = {
        frozenset(subset): 0.9
        for size in range(1, nodes + 1)
        for subset in combinations(names, size)
    }
    ours = under_failures(accuracy, dict.fromkeys(names, p))
    assert ours.answered >= needing_every_machine(0.9, nodes, p).answered - 1e-12


def test_nothing_answered_has_no_accuracy() -> None:
    assert Availability(0.0, 0.0).right_if_answered == 0.0


@pytest.mark.parametrize(
    ("failing", "sentence"),
    [({"a": 1.5, "b": 0.0}, "a probability"), ({"a": 0.5}, "1 variants have 1 subsets, not 3")],
)
def test_what_makes_no_sense_is_refused(failing: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        under_failures(ACCURACY, failing)
