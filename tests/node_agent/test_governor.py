import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.governor import Governor
from node_agent.governor_settings import GovernorSettings
from node_agent.objections import Limits, first_objection
from node_agent.readings import Battery, ForeignCpu, InferenceWait, Pressure, Readings, Zone

LIMITS = GovernorSettings().limits


def governor(*, always: bool = False) -> Governor:
    return Governor(LIMITS, random.Random(1), always=always)


def cpu(fast: float | None, slow: float | None = None) -> Readings:
    return Readings(ForeignCpu(fast, fast if slow is None else slow))


def test_defaults_are_those_of_the_design() -> None:
    assert (LIMITS.start_share, LIMITS.stop_share) == (0.25, 0.5)
    assert (LIMITS.hold_off_s, LIMITS.jitter) == (5.0, 0.4)
    assert (LIMITS.max_battery_c, LIMITS.on_battery) == (40.0, False)


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


def test_a_pause_that_its_owner_changes_is_said_in_the_new_words() -> None:
    guest = governor()
    guest.decide(cpu(0.0), 0.0)
    guest.decide(replace(cpu(0.0), pause="until noon"), 1.0)
    longer = guest.decide(replace(cpu(0.0), pause="until it is resumed"), 2.0)
    assert longer.reason == "paused by hand until it is resumed"


HOT = Readings(zones=(Zone("cpu", 90.0, trip_c=80.0),))


def test_a_new_cause_while_it_rests_takes_over_the_reason() -> None:
    guest = governor()
    guest.decide(cpu(0.0), 0.0)
    assert guest.decide(cpu(0.9), 1.0).cause == "cpu"
    unplugged = replace(cpu(0.0), battery=Battery(discharging=True))
    assert guest.decide(unplugged, 2.0).reason == "the device runs on its battery"
    assert guest.decide(cpu(0.0), 3.0).cause == "hold_off"


def test_what_runs_always_still_obeys_its_owner_and_the_heat() -> None:
    guest = governor(always=True)
    assert guest.decide(replace(cpu(1.0), quiet="22:00-07:00"), 0.0).allowed
    assert guest.decide(Readings(pause="until it is resumed"), 1.0).cause == "pause"
    assert guest.decide(HOT, 20.0).cause == "temperature"
    assert guest.decide(cpu(1.0), 40.0).allowed


def test_the_cause_is_absent_while_it_runs() -> None:
    assert governor().decide(cpu(0.0), 0.0).cause is None


shares = st.none() | st.floats(0, 1)
celsius = st.floats(1, 150)
readings = st.builds(
    Readings,
    foreign_cpu=st.none() | st.builds(ForeignCpu, shares, shares, shares, shares),
    pressure=st.none() | st.builds(Pressure, st.floats(0, 1), shares),
    wait=st.none() | st.builds(InferenceWait, st.floats(1, 50), st.floats(0, 1e4)),
    memory_available_mib=st.none() | st.floats(0, 1e4),
    zones=st.lists(
        st.builds(Zone, st.just("cpu"), celsius, st.none() | celsius, st.booleans()), max_size=3
    ).map(tuple),
    battery=st.none() | st.builds(Battery, st.booleans(), shares, st.none() | celsius),
    user_active=st.none() | st.booleans(),
    quiet=st.none() | st.just("22:00-07:00"),
    pause=st.none() | st.just("until it is resumed"),
)
limits = st.builds(
    replace,
    st.sampled_from(("generous", "polite", "strict")).map(
        lambda preset: GovernorSettings(preset=preset).limits
    ),
    start_share=st.floats(0, 0.5),
    stop_share=st.floats(0.5, 1),
    hold_off_s=st.floats(0.1, 10),
    jitter=st.floats(0, 2),
)


@given(
    steps=st.lists(st.tuples(st.floats(0, 3), readings), max_size=60),
    seed=st.integers(0, 2**32),
    limits=limits,
    always=st.booleans(),
)
def test_never_flaps_faster_than_the_hold_off_and_always_says_why(
    steps: list[tuple[float, Readings]], seed: int, limits: Limits, always: bool
) -> None:
    guest = Governor(limits, random.Random(seed), always=always)
    now_s, allowed, stopped_s = 0.0, False, None
    for wait_s, reading in steps:
        now_s += wait_s
        decision = guest.decide(reading, now_s)
        assert decision.reason
        assert (decision.cause is None) is decision.allowed
        if allowed and not decision.allowed:
            stopped_s = now_s
        if decision.allowed and not allowed and stopped_s is not None:
            assert now_s >= stopped_s + limits.hold_off_s
        allowed = decision.allowed


@given(reading=readings, limits=limits)
def test_what_may_start_need_not_stop(reading: Readings, limits: Limits) -> None:
    starts = first_objection(reading, limits, running=False) is None
    reading = replace(reading, wait=None)  # the guest's own inferences: none while it rests
    assert not starts or first_objection(reading, limits, running=True) is None


@given(seed=st.integers(0, 2**32))
def test_every_hold_off_ends(seed: int) -> None:
    guest = Governor(LIMITS, random.Random(seed))
    guest.decide(cpu(0.0), 0.0)
    guest.decide(cpu(1.0), 1.0)
    assert guest.decide(cpu(0.0), 1.0 + LIMITS.hold_off_s * (1 + LIMITS.jitter)).allowed
