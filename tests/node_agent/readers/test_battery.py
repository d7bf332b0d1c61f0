from pathlib import Path

import pytest

from node_agent.readers.battery import read_battery
from node_agent.readings import Battery
from tests.node_agent.readers.trees import plant


def supply(sys: Path, name: str, **files: str | int) -> None:
    plant(sys / "class" / "power_supply" / name, files)


def battery(sys: Path, name: str = "BAT0", **files: str | int) -> None:
    supply(sys, name, type="Battery", present=1, **files)


def test_a_device_without_a_battery(tmp_path: Path) -> None:
    supply(tmp_path, "AC", type="Mains", online=1)
    assert read_battery(tmp_path) is None


def test_a_phone_that_charges(tmp_path: Path) -> None:
    battery(tmp_path, "battery", status="Charging", capacity=81, temp=312, scope="System")
    supply(tmp_path, "usb", type="USB", online=1)
    assert read_battery(tmp_path) == Battery(discharging=False, level=0.81, celsius=31.2)


def test_a_laptop_with_two_batteries(tmp_path: Path) -> None:
    battery(tmp_path, "BAT0", status="Not charging", capacity=100)
    battery(tmp_path, "BAT1", status="Discharging", capacity=50)
    assert read_battery(tmp_path) == Battery(discharging=True, level=0.75)


@pytest.mark.parametrize(
    ("status", "online", "discharging"),
    [
        ("Full", 1, False),
        ("Charging", 1, False),
        ("Not charging", 1, False),
        ("Discharging", 0, True),
        ("Discharging", 1, True),  # the charger is too weak
        ("Unknown", 0, True),
        ("Unknown", 1, False),
        ("Unknown", None, False),  # nothing else could feed it, and it does not say
    ],
)
def test_discharging(tmp_path: Path, status: str, online: int | None, discharging: bool) -> None:
    battery(tmp_path, status=status)
    if online is not None:
        supply(tmp_path, "AC", type="Mains", online=online)
    found = read_battery(tmp_path)
    assert found == Battery(discharging=discharging)


def test_a_mouse_does_not_feed_the_device(tmp_path: Path) -> None:
    battery(tmp_path, "hidpp_battery_0", status="Discharging", capacity=5, scope="Device")
    assert read_battery(tmp_path) is None


def test_an_empty_bay_is_no_battery(tmp_path: Path) -> None:
    supply(tmp_path, "BAT1", type="Battery", present=0, status="Unknown")
    assert read_battery(tmp_path) is None


@pytest.mark.parametrize(("capacity", "temp"), [("", -2740), ("x", 5000), ("", "")])
def test_nonsense_is_absent(tmp_path: Path, capacity: str, temp: str | int) -> None:
    battery(tmp_path, status="Full", capacity=capacity, temp=temp)
    assert read_battery(tmp_path) == Battery(discharging=False)


def test_a_gauge_that_overshoots_is_full(tmp_path: Path) -> None:
    battery(tmp_path, status="Full", capacity=103)
    assert read_battery(tmp_path) == Battery(discharging=False, level=1.0)
