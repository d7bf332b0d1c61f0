from node_agent.inference_waits import VALID_S, InferenceWaits
from node_agent.readings import InferenceWait


def test_one_inference_that_waits_is_no_news() -> None:
    waits = InferenceWaits()
    assert waits.read(0.0) is None
    waits.add(50.0, 5.0, 0.0)
    assert waits.read(0.0) is None
    waits.add(5.0, 5.0, 0.1)
    assert waits.read(0.1) == InferenceWait(1.0, 0.0)


def test_two_in_a_row_are() -> None:
    waits = InferenceWaits()
    waits.add(100.0, 10.0, 0.0)
    waits.add(40.0, 10.0, 0.1)
    assert waits.read(0.2) == InferenceWait(4.0, 30.0)


def test_they_say_nothing_of_later() -> None:
    waits = InferenceWaits()
    waits.add(100.0, 10.0, 0.0)
    waits.add(100.0, 10.0, 0.5)
    assert waits.read(0.5 + VALID_S) is not None
    assert waits.read(0.6 + VALID_S) is None
    waits.add(100.0, 10.0, 60.0)
    assert waits.read(60.0) is None  # the one before it is a minute old


def test_several_threads_use_more_time_than_passes() -> None:
    waits = InferenceWaits()
    for now_s in (0.0, 0.1):
        waits.add(10.0, 38.0, now_s)
    assert waits.read(0.1) == InferenceWait(1.0, 0.0)


def test_a_clock_without_grain_divides_nothing_by_zero() -> None:
    waits = InferenceWaits()
    for now_s in (0.0, 0.1):
        waits.add(10.0, 0.0, now_s)
    assert waits.read(0.1) == InferenceWait(1.0, 10.0)
