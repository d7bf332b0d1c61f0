import pytest

from models.training.recipe import learning_rate


def test_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, 200, 1.0) for step in range(200)]
    assert max(rates) == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_one_step_is_taken_at_the_peak_and_steps_beyond_the_end_at_zero() -> None:
    assert learning_rate(0, 1, 0.5) == 0.5
    assert learning_rate(300, 200, 1.0) == 0.0
