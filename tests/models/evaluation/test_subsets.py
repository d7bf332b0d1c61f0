import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.outcomes import Outcome
from models.evaluation.subsets import (
    any_right,
    average_macs,
    ks_of,
    leave_one_out,
    margin,
    pareto_front,
    shared_errors,
    top_m_of,
)

points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


def outcome(right: str) -> Outcome:
    """Return an outcome from a string with a 1 for each picture that is right."""
    bools = np.array([mark == "1" for mark in right])
    return Outcome(("V",), bools, bools.astype(np.float64))


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 1)], [0]),
        ([(1, 1), (2, 2), (3, 1)], [0, 1]),
        ([(2, 2), (1, 2)], [1]),
        ([(1, 1), (1, 2)], [1]),
        ([(1, 1), (1, 1)], [0]),
    ],
)
def test_front(points: list[tuple[float, float]], front: list[int]) -> None:
    assert pareto_front(points) == front


@given(points)
def test_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    front = [points[index] for index in pareto_front(points)]
    beaten = {
        one
        for one in points
        for other in points
        if other != one and other[0] <= one[0] and other[1] >= one[1]
    }
    assert front == sorted(set(points) - beaten)


def test_leaving_out_costs_what_is_lost_more_than_won() -> None:
    everyone = outcome("1111100000")
    (cost,) = leave_one_out(everyone, {"A": outcome("1110000001")})
    assert cost.variant == "A"
    assert cost.points == pytest.approx(10.0)
    differences = np.array([0, 0, 0, 1, 1, 0, 0, 0, 0, -1])
    assert cost.margin == pytest.approx(196 * differences.std() / np.sqrt(10))


def test_nothing_lost_is_beyond_doubt() -> None:
    (cost,) = leave_one_out(outcome("110"), {"A": outcome("110")})
    assert (cost.points, cost.margin) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("one", "other", "share"), [("1100", "1010", 0.5), ("1100", "0000", 1.0), ("11", "00", 0.0)]
)
def test_shared_errors_are_of_the_first_ones(one: str, other: str, share: float) -> None:
    assert shared_errors(outcome(one), outcome(other)) == share


def test_any_right_is_the_union() -> None:
    assert any_right([outcome("1000"), outcome("0100")]) == 0.5


def test_margin_of_ten_thousand_pictures_is_half_a_point() -> None:
    assert margin(0.93, 10_000) == pytest.approx(0.0050, abs=1e-4)
    assert margin(1.0, 10) == 0.0


def test_average_work_is_of_the_subset_alone() -> None:
    assert average_macs(("A", "C"), {"A": 10, "B": 100, "C": 30}) == 20


@pytest.mark.parametrize(("classes", "m"), [(2, 2), (10, 2), (20, 4), (100, 5), (1000, 5)])
def test_m_grows_with_the_classes_up_to_five(classes: int, m: int) -> None:
    assert top_m_of(classes) == m


def test_few_classes_have_every_k_that_differs() -> None:
    assert ks_of(10) == [1, 2, 3, 4, 5, 6, 10]
    assert ks_of(2) == [1, 2]
    assert ks_of(3) == [1, 2, 3]


@given(st.integers(2, 2000))
def test_ks_are_in_range_and_not_too_many(classes: int) -> None:
    ks = ks_of(classes)
    assert ks == sorted(set(ks))
    assert (ks[0], ks[-1]) == (1, classes)
    assert len(ks) <= 36
