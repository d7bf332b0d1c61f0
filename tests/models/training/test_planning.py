import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.errors import TrainingError
from models.training.planning import MAX_EPOCHS, TRAINING_SHARE, costs, expected_s, within
from models.training.recipe import Order, Recipe

THREE = Recipe(("V1", "V2", "V3"))


def test_only_the_first_variant_in_ascending_order_begins_afresh() -> None:
    assert [part.continues for part in costs(THREE, 100, [50, 20, 10])] == [False, True, True]
    together = Recipe(THREE.variants, order=Order.TOGETHER)
    assert not any(part.continues for part in costs(together, 100, [50, 20, 10]))
    assert [part.epoch_s for part in costs(THREE, 100, [50, 20, 10])] == [2, 5, 10]


def test_expected_time_counts_the_features_and_every_variants_own_epochs() -> None:
    parts = costs(Recipe(("V1", "V2")), 100, [50, 20])
    recipe = Recipe(("V1", "V2"), epochs=4, further_epochs=2)
    assert expected_s(recipe, parts) == pytest.approx(2 * 4.35 + 5 * 2.35)


@given(st.floats(3.0, 600.0), st.integers(50, 2_000))
def test_what_is_planned_fits_and_one_epoch_more_would_not(minutes: float, pictures: int) -> None:
    parts = costs(THREE, pictures, [400.0, 250.0, 150.0])
    planned = within(THREE, parts, minutes)
    budget_s = TRAINING_SHARE * (minutes * 60 - 60)
    assert expected_s(planned, parts) <= budget_s
    assert planned.further_epochs == max(1, round(planned.epochs / 3))
    if planned.epochs < MAX_EPOCHS:
        more = within(THREE, parts, minutes * 2 + 10)
        assert more.epochs > planned.epochs


def test_too_little_time_is_refused_with_what_is_needed() -> None:
    with pytest.raises(TrainingError, match=r"3 minutes are too few for V1, V2, V3.*about \d+:"):
        within(THREE, costs(THREE, 50_000, [400.0, 250.0, 150.0]), 3)
