import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.governor import ForeignCpu, Governor, Limits, Readings
from node_agent.settings import GovernorSettings

LIMITS = Limits(start_share=0.25, stop_share=0.5, hold_off_s=5.0, jitter=0.4)


def governor(*, always: bool = False) -> Governor:
    return Governor(LIMITS, random.Random(1), always=always)


def cpu(fast: float | None, slow: float | None = None) -> Readings:
    return Readings(ForeignCpu(fast, fast if slow is None else slow))


def test_defaults_are_those_of_the_design() -> None:
    assert GovernorSettings().limits == LIMITS


@pytest.mark.parametrize(
    ("readings", "allowed", "words"),
    [
        (Readings(None), True, "cannot be read"),
        (cpu(0.0), True, "nobody else"),
        (cpu(0.25), True, "nobody else"),
        (cpu(0.26), False, "at most 25%"),
        (cpu(0.1, 0.3), False, "at most 25%"),
        (cpu(0.9, 0.2), False, "at most 25%"),
        (cpu(None), False, "measuring"),
        (Readings(ForeignCpu(0.1, None)), False, "measuring"),
    ],
)
def test_first_decision(readings: Readings, allowed: bool, words: str) -> None:
    decision = governor().decide(readings, 0.0)
    assert decision.allowed is allowed
    assert words in decision.reason


def test_between_the_limits_it_goes_on_but_does_not_start() -> None:
    guest = governor()
    assert not guest.decide(cpu(0.4), 0.0).allowed
    assert guest.decide(cpu(0.1), 1.0).allowed
    assert guest.decide(cpu(0.5), 2.0).allowed


def test_stops_at_once_and_says_the_share() -> None:
    guest = governor()
    guest.decide(cpu(0.0), 0.0)
    decision = guest.decide(cpu(0.63, 0.1), 0.1)
    assert not decision.allowed
    assert decision.reason == "other programs use 63% of the processor, more than 50%"


def test_starts_again_only_after_the_hold_off() -> None:
    guest = governor()
    guest.decide(cpu(0.0), 0.0)
    guest.decide(cpu(0.9), 10.0)
    held = guest.decide(cpu(0.0), 14.99)
    assert not held.allowed
    assert "holding off" in held.reason
    assert guest.decide(cpu(0.0), 10.0 + 5.0 * 1.4).allowed


def test_a_load_that_lasts_keeps_the_reason_of_the_stop() -> None:
    guest = governor()
    guest.decide(cpu(0.0), 0.0)
    first = guest.decide(cpu(0.9), 1.0)
    assert guest.decide(cpu(0.95), 2.0) == first


def test_a_signal_that_vanishes_no_longer_objects() -> None:
    guest = governor()
    guest.decide(cpu(0.9), 0.0)
    assert guest.decide(Readings(None), 1.0).allowed


def test_always_runs_under_any_load() -> None:
    decision = governor(always=True).decide(cpu(1.0), 0.0)
    assert decision.allowed
    assert "always" in decision.reason


shares = st.none() | st.floats(0, 1)
readings = st.one_of(
    st.just(Readings(None)), st.builds(lambda f, s: Readings(ForeignCpu(f, s)), shares, shares)
)


@given(
    steps=st.lists(st.tuples(st.floats(0, 3), readings), max_size=60),
    seed=st.integers(0, 2**32),
    limits=st.builds(
        Limits,
        start_share=st.floats(0, 0.5),
        stop_share=st.floats(0.5, 1),
        hold_off_s=st.floats(0.1, 10),
        jitter=st.floats(0, 2),
    ),
)
def test_never_flaps_faster_than_the_hold_off_and_always_says_why(
    steps: list[tuple[float, Readings]], seed: int, limits: Limits
) -> None:
    guest = Governor(limits, random.Random(seed))
    now_s, allowed, stopped_s = 0.0, False, None
    for wait_s, reading in steps:
        now_s += wait_s
        decision = guest.decide(reading, now_s)
        assert decision.reason
        if allowed and not decision.allowed:
            stopped_s = now_s
        if decision.allowed and not allowed and stopped_s is not None:
            assert now_s >= stopped_s + limits.hold_off_s
        allowed = decision.allowed


@given(seed=st.integers(0, 2**32))
def test_every_hold_off_ends(seed: int) -> None:
    guest = Governor(LIMITS, random.Random(seed))
    guest.decide(cpu(0.0), 0.0)
    guest.decide(cpu(1.0), 1.0)
    assert guest.decide(cpu(0.0), 1.0 + LIMITS.hold_off_s * (1 + LIMITS.jitter)).allowed
