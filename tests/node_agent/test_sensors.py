from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from node_agent.governor_settings import GovernorSettings
from node_agent.pause import PauseClock, PauseKeeper
from node_agent.readings import Battery, Pressure, Zone
from node_agent.sensors import Device, Sensors
from tests.node_agent.readers.trees import plant


def sensors(tmp_path: Path, device: Device, **governor: object) -> Sensors:
    pause = PauseKeeper(tmp_path / "state", PauseClock.of_this_device())
    return Sensors(device, GovernorSettings.model_validate(governor), pause)


def full_device(tmp_path: Path) -> Device:
    plant(tmp_path / "sys/class/thermal/thermal_zone0", {"type": "cpu", "temp": 50000})
    plant(tmp_path / "sys/class/power_supply/BAT0", {"type": "Battery", "status": "Charging"})
    plant(
        tmp_path / "proc",
        {
            "meminfo": "MemTotal: 2048 kB\nMemAvailable: 1024 kB",
            "pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=7",
        },
    )
    return Device(read_cpu=lambda _: None, root=tmp_path)


async def test_slow_readings_are_those_of_the_last_refresh(tmp_path: Path) -> None:
    found = sensors(tmp_path, full_device(tmp_path))
    before = found.read((), 0.0, resting=True)
    assert (before.zones, before.battery, before.memory_available_mib) == ((), None, None)
    await found.refresh()
    after = found.read((), 1.0, resting=True)
    assert after.zones == (Zone("cpu", 50.0),)
    assert after.battery == Battery(discharging=False)
    assert after.memory_available_mib == 1.0


async def test_pressure_is_read_only_while_the_guest_rests(tmp_path: Path) -> None:
    found = sensors(tmp_path, full_device(tmp_path))
    steps = [(0.0, True), (5.0, True), (6.0, False), (7.0, True), (8.0, True), (12.0, True)]
    read = [found.read((), now_s, resting=resting).pressure for now_s, resting in steps]
    assert read == [None, Pressure(0.0), None, None, None, Pressure(0.0)]


async def test_nobody_is_asked_for_users_that_do_not_matter(tmp_path: Path) -> None:
    program = tmp_path / "loginctl"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho IdleHint=no\n")
    program.chmod(0o755)
    device = replace(full_device(tmp_path), loginctl=str(program))
    for while_user_active, active in ((True, None), (False, True)):
        found = sensors(tmp_path, device, while_user_active=while_user_active)
        await found.refresh()
        assert found.read((), 0.0, resting=True).user_active is active
        assert (tmp_path / "asked").exists() is not while_user_active


async def test_quiet_hours_are_in_the_owners_zone(tmp_path: Path) -> None:
    device = replace(full_device(tmp_path), now=lambda: datetime(2025, 7, 1, 20, 30, tzinfo=UTC))
    for zone, quiet in (("Europe/Berlin", "22:00-07:00"), ("Europe/London", None)):
        found = sensors(tmp_path, device, quiet_hours=("22:00-07:00",), timezone=zone)
        assert found.read((), 0.0, resting=True).quiet == quiet
