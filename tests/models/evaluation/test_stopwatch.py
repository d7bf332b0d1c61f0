import os

import numpy as np
import pytest

from models.evaluation.stopwatch import CALLS_A_TURN, interleave, pinned


class Bench:
    """Calls that take a known time on a clock of their own, and the order they came in."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[str] = []

    def take(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now_s += seconds


def test_each_takes_its_own_time_whatever_the_others_take() -> None:
    bench = Bench()
    runs = {
        "fast": lambda: bench.take("fast", 0.001),
        "slow": lambda: bench.take("slow", 0.007),
    }
    rounds: list[int] = []
    samples_ms = interleave(
        runs, 20, np.random.default_rng(0), clock_s=lambda: bench.now_s, on_round=rounds.append
    )
    np.testing.assert_allclose(samples_ms["fast"], np.full(20, 1.0))
    np.testing.assert_allclose(samples_ms["slow"], np.full(20, 7.0))
    assert rounds == list(range(1, 21))


def test_every_round_has_all_of_them_in_changing_order() -> None:
    bench = Bench()
    names = ("a", "b", "c")
    runs = {name: lambda name=name: bench.take(name, 0.001) for name in names}
    interleave(runs, 20, np.random.default_rng(0), clock_s=lambda: bench.now_s)
    turns = bench.calls[:: CALLS_A_TURN + 1]
    orders = {tuple(turns[start : start + 3]) for start in range(0, 60, 3)}
    assert all(sorted(order) == list(names) for order in orders)
    assert len(orders) > 3


def test_the_slow_first_call_and_an_outlier_do_not_count() -> None:
    bench = Bench()
    seconds = iter([0.5, 0.001, 0.9, 0.001])
    samples_ms = interleave(
        {"cold": lambda: bench.take("cold", next(seconds))},
        1,
        np.random.default_rng(0),
        clock_s=lambda: bench.now_s,
    )
    assert samples_ms["cold"].tolist() == pytest.approx([1.0])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins threads")
def test_pinned_is_on_one_core_inside_and_on_all_after() -> None:
    before = os.sched_getaffinity(0)
    with pinned() as core:
        assert core in before
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(KeyboardInterrupt), pinned():
        raise KeyboardInterrupt
    assert os.sched_getaffinity(0) == before


def test_where_nothing_can_be_pinned_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pinned() as core:
        assert core is None
