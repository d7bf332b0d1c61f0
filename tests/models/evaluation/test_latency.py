import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.latency import ratio_of_medians, spread


def test_spread_is_median_and_quartiles() -> None:
    found = spread(np.array([5.0, 1, 2, 3, 4]))
    assert (found.lower_quartile_ms, found.median_ms, found.upper_quartile_ms) == (2, 3, 4)


def test_ratio_that_never_varies_leaves_no_doubt() -> None:
    rng = np.random.default_rng(0)
    ratio = ratio_of_medians(np.full(30, 6.0), np.full(30, 0.5), rng)
    assert (ratio.value, ratio.low, ratio.high) == (12, 12, 12)


def test_what_slows_a_round_as_a_whole_cancels_out() -> None:
    slowed = np.random.default_rng(1).uniform(1, 5, 41)
    rng = np.random.default_rng(2)
    together = ratio_of_medians(10 * slowed, slowed, rng)
    assert together.low == pytest.approx(10)
    assert together.high == pytest.approx(10)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        slower = rng.lognormal(np.log(8), 0.1, 60)
        faster = rng.lognormal(np.log(2), 0.1, 60)
        ratio = ratio_of_medians(slower, faster, rng, resamples=300)
        covered += ratio.low <= 4 <= ratio.high
    assert 0.88 <= covered / 200 <= 1.0


@given(st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.1, 50)), min_size=1, max_size=30))
def test_interval_holds_no_ratio_that_no_draw_can_have(pairs: list[tuple[float, float]]) -> None:
    slower, faster = np.array(pairs).T
    ratio = ratio_of_medians(slower, faster, np.random.default_rng(0), resamples=50)
    assert slower.min() / faster.max() * (1 - 1e-9) <= ratio.low
    assert ratio.low <= ratio.high <= slower.max() / faster.min() * (1 + 1e-9)


@pytest.mark.parametrize(("rounds", "others"), [(0, 0), (3, 4)])
def test_samples_of_other_rounds_are_refused(rounds: int, others: int) -> None:
    with pytest.raises(ValueError, match="must be one"):
        ratio_of_medians(np.ones(rounds), np.ones(others), np.random.default_rng(0))
