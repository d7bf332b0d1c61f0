import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pacing import Pacer, Thinner


def test_thinner_takes_two_of_thirty_frames_a_second() -> None:
    thinner = Thinner(fps=2)
    taken = [number for number in range(90) if thinner.take(number / 30)]
    assert taken == [0, 15, 30, 45, 60, 75]


def test_thinner_takes_all_of_a_slower_stream() -> None:
    thinner = Thinner(fps=10)
    assert all(thinner.take(number) for number in range(5))


def test_thinner_does_not_catch_up_after_silence() -> None:
    thinner = Thinner(fps=1)
    assert thinner.take(0)
    assert [thinner.take(at_s) for at_s in (100.0, 100.1, 100.5, 100.99, 101.0)] == [
        True,
        False,
        False,
        False,
        True,
    ]


@given(
    st.floats(min_value=0.1, max_value=60),
    st.lists(st.floats(min_value=0, max_value=5), max_size=50),
)
def test_thinner_never_takes_more_than_it_should(fps: float, gaps_s: list[float]) -> None:
    thinner, at_s, taken = Thinner(fps), 0.0, 0
    for gap_s in gaps_s:
        at_s += gap_s
        taken += thinner.take(at_s)
    assert taken <= at_s * fps * 1.01 + 2


def test_pacer_plays_in_real_time() -> None:
    pacer = Pacer(fps=2)
    assert pacer.wait_s(0.0, now_s=100.0) == 0
    assert pacer.wait_s(0.5, now_s=100.1) == pytest.approx(0.4)
    assert pacer.wait_s(1.0, now_s=100.5) == pytest.approx(0.5)


def test_pacer_goes_on_from_where_a_late_one_is() -> None:
    pacer = Pacer(fps=2)
    pacer.wait_s(0.0, now_s=100.0)
    assert pacer.wait_s(0.5, now_s=110.0) == 0
    assert pacer.wait_s(1.0, now_s=110.0) == pytest.approx(0.5)


def test_pacer_makes_up_for_a_small_delay() -> None:
    pacer = Pacer(fps=2)
    pacer.wait_s(0.0, now_s=100.0)
    assert pacer.wait_s(0.5, now_s=100.7) == 0
    assert pacer.wait_s(1.0, now_s=100.7) == pytest.approx(0.3)
