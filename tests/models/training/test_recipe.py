import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.recipe import (
    Order,
    Recipe,
    after_stagnation,
    draws_per_class,
    one_cycle,
    paper_recipe,
)


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [one_cycle(step, 200, 1.0) for step in range(200)]
    assert max(rates) == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_one_step_is_taken_at_the_peak_and_steps_beyond_the_end_at_zero() -> None:
    assert one_cycle(0, 1, 0.5) == 0.5
    assert one_cycle(300, 200, 1.0) == 0.0


@pytest.mark.parametrize(("accuracy", "expected"), [(0.81, 1e-3), (0.8, 0.98e-3), (0.79, 0.98e-3)])
def test_the_rate_falls_when_accuracy_stagnates(accuracy: float, expected: float) -> None:
    assert after_stagnation(1e-3, accuracy, best_accuracy=0.8) == pytest.approx(expected)


def test_the_papers_recipe_has_135_epochs_and_keeps_what_is_not_the_papers_to_say() -> None:
    recipe = paper_recipe(Recipe(("V1", "V2"), seed=3, pretrained="weights"))
    assert recipe.head_epochs + recipe.epochs == 135
    assert (recipe.head_batch_size, recipe.batch_size) == (128, 64)
    assert recipe.order is Order.TOGETHER
    assert (recipe.variants, recipe.seed, recipe.pretrained) == (("V1", "V2"), 3, "weights")


@pytest.mark.parametrize(
    ("counts", "balance", "expected"),
    [
        ([10, 30], 0.0, [10, 30]),
        ([10, 30], 1.0, [20, 20]),
        ([100, 400], 0.5, [167, 333]),
        ([0, 40], 1.0, [0, 40]),
    ],
)
def test_balance_moves_draws_from_common_to_scarce_classes(
    counts: list[int], balance: float, expected: list[int]
) -> None:
    assert draws_per_class(counts, balance) == expected


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.floats(0.0, 1.0, allow_nan=False)
)
def test_an_epoch_stays_as_long_as_the_data(counts: list[int], balance: float) -> None:
    draws = draws_per_class(counts, balance)
    assert abs(sum(draws) - sum(counts)) <= len(counts)
    ranks = sorted(range(len(counts)), key=counts.__getitem__)
    assert [draws[rank] for rank in ranks] == sorted(draws)
