from dataclasses import replace
from typing import Any

import pytest

from node_agent.governor_settings import GovernorSettings
from node_agent.objections import (
    Limits,
    first_objection,
    first_objection_to_always,
    parts_with_limits,
)
from node_agent.readings import Battery, ForeignCpu, InferenceWait, Pressure, Readings, Zone

LIMITS = GovernorSettings().limits
FREE = ForeignCpu(0.0, 0.0, 0.0, 0.0)


def cause(readings: Readings, limits: Limits = LIMITS, *, running: bool) -> str | None:
    objection = first_objection(readings, limits, running=running)
    return None if objection is None else objection.cause


@pytest.mark.parametrize(
    ("fields", "stops", "starts"),
    [
        ({}, None, None),
        ({"foreign_cpu": ForeignCpu(0.51, 0.0)}, "cpu", "cpu"),
        ({"foreign_cpu": ForeignCpu(0.50, 0.26)}, None, "cpu"),
        ({"foreign_cpu": ForeignCpu(0.50, 0.25)}, None, None),
        ({"foreign_cpu": ForeignCpu(0.0, 0.0, 0.91, 0.0)}, "core", "core"),
        ({"foreign_cpu": ForeignCpu(0.0, 0.0, 0.90, 0.61)}, None, "core"),
        ({"foreign_cpu": ForeignCpu(0.0, 0.0, 0.90, 0.60)}, None, None),
        ({"pressure": Pressure(0.26)}, None, "pressure"),
        ({"pressure": Pressure(0.25, 0.11)}, None, "pressure"),
        ({"pressure": Pressure(0.25, 0.10)}, None, None),
        ({"wait": InferenceWait(3.1, 10.0)}, "wait", None),
        ({"wait": InferenceWait(3.0, 100.0)}, None, None),
        ({"wait": InferenceWait(50.0, 9.9)}, None, None),  # within the scheduler's grain
        ({"memory_available_mib": 127.0}, "memory", "memory"),
        ({"memory_available_mib": 128.0}, None, "memory"),
        ({"memory_available_mib": 160.0}, None, None),
        ({"zones": (Zone("cpu", 75.0, trip_c=80.0),)}, "temperature", "temperature"),
        ({"zones": (Zone("cpu", 74.9, trip_c=80.0),)}, None, "temperature"),
        ({"zones": (Zone("cpu", 70.0, trip_c=80.0),)}, None, None),
        ({"zones": (Zone("cpu", 99.0),)}, None, None),  # nobody says what is too warm
        ({"zones": (Zone("battery", 40.0, is_battery=True),)}, "temperature", "temperature"),
        ({"battery": Battery(False, 0.9, 40.0)}, "temperature", "temperature"),
        ({"battery": Battery(False, 0.9, 35.1)}, None, "temperature"),
        ({"battery": Battery(False, 0.9, 35.0)}, None, None),
        ({"battery": Battery(True, 0.9)}, "battery", "battery"),
        ({"battery": Battery(False, 0.19)}, "battery", "battery"),
        ({"battery": Battery(False, 0.20)}, None, "battery"),
        ({"battery": Battery(False, 0.25)}, None, None),
        ({"battery": Battery(False, None)}, None, None),
        ({"user_active": True}, None, None),
        ({"quiet": "22:00-07:00"}, "quiet_hours", "quiet_hours"),
        ({"pause": "until it is resumed"}, "pause", "pause"),
    ],
)
def test_what_stops_and_what_may_not_start(
    fields: dict[str, Any], stops: str | None, starts: str | None
) -> None:
    readings = replace(Readings(foreign_cpu=FREE), **fields)
    assert cause(readings, running=True) == stops
    assert cause(readings, running=False) == starts


@pytest.mark.parametrize(
    ("limits", "fields", "stops"),
    [
        ({"on_battery": True}, {"battery": Battery(True, 0.9)}, None),
        ({"on_battery": True}, {"battery": Battery(True, 0.1)}, "battery"),
        ({"min_battery": 0.0}, {"battery": Battery(False, 0.0)}, None),
        ({"while_user_active": False}, {"user_active": True}, "user"),
        ({"while_user_active": False}, {"user_active": None}, None),
        ({"core_stop_share": 1.0}, {"foreign_cpu": ForeignCpu(0.4, 0.2, 1.0, 1.0)}, None),
        ({"max_temperature_c": 60.0}, {"zones": (Zone("cpu", 60.0),)}, "temperature"),
        ({"max_temperature_c": 60.0}, {"zones": (Zone("cpu", 59.0, 100.0),)}, None),
        ({"max_temperature_c": 90.0}, {"zones": (Zone("cpu", 80.0, 80.0),)}, "temperature"),
        ({"min_memory_mib": 0.0}, {"memory_available_mib": 0.0}, None),
    ],
)
def test_the_owner_may_decide_otherwise(
    limits: dict[str, Any], fields: dict[str, Any], stops: str | None
) -> None:
    readings = replace(Readings(foreign_cpu=FREE), **fields)
    assert cause(readings, replace(LIMITS, **limits), running=True) == stops


def test_a_full_battery_meets_a_limit_of_one() -> None:
    limits = replace(LIMITS, min_battery=1.0)
    assert cause(Readings(battery=Battery(False, 1.0)), limits, running=False) is None


def test_what_the_owner_can_change_is_named_first() -> None:
    everything = Readings(
        foreign_cpu=ForeignCpu(1.0, 1.0), pause="until it is resumed", quiet="22:00-07:00"
    )
    assert cause(everything, running=True) == "pause"
    assert cause(replace(everything, pause=None), running=True) == "quiet_hours"


def test_a_guest_that_runs_always_knows_two_rules() -> None:
    busy = Readings(foreign_cpu=ForeignCpu(1.0, 1.0), quiet="22:00-07:00")
    assert first_objection_to_always(busy, LIMITS, running=True) is None
    hot = replace(busy, battery=Battery(False, 1.0, 45.0))
    objection = first_objection_to_always(hot, LIMITS, running=True)
    assert objection is not None
    assert objection.reason == "battery is at 45 °C, 40 °C is too warm"


def test_a_part_has_the_lowest_of_its_limits() -> None:
    readings = Readings(zones=(Zone("bat", 30.0, 70.0, is_battery=True), Zone("wifi", 50.0)))
    assert parts_with_limits(readings, LIMITS) == [("bat", 30.0, 40.0)]
