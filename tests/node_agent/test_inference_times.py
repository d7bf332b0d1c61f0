import pytest

from node_agent.inference_times import WINDOW, InferenceTimes


def test_no_percentile_before_the_first_time() -> None:
    assert InferenceTimes().percentile(0.5) is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.0, 1.0), (1.0, 100)])
def test_nearest_rank_percentile(share: float, expected: float) -> None:
    times = InferenceTimes()
    for time_ms in reversed(range(1, 101)):
        times.add(float(time_ms))
    assert times.percentile(share) == expected


def test_only_the_last_times_count() -> None:
    times = InferenceTimes()
    for time_ms in [1000.0] * 10 + [1.0] * WINDOW:
        times.add(time_ms)
    assert times.percentile(1.0) == 1.0


def test_another_variant_begins_anew() -> None:
    times = InferenceTimes()
    times.add(1.0)
    times.clear()
    assert times.percentile(0.5) is None
