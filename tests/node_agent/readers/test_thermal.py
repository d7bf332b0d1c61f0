from pathlib import Path

import pytest

from node_agent.readers.thermal import read_zones
from node_agent.readings import Zone
from tests.node_agent.readers.trees import plant


def zone(sys: Path, number: int, kind: str, temp: str | int, *trips: tuple[str, int]) -> None:
    folder = sys / "class" / "thermal" / f"thermal_zone{number}"
    plant(folder, {"type": kind, "temp": temp})
    for index, (trip, celsius) in enumerate(trips):
        plant(folder, {f"trip_point_{index}_type": trip, f"trip_point_{index}_temp": celsius})


def test_a_raspberry_pi_5(tmp_path: Path) -> None:
    fan = [("active", celsius) for celsius in (50000, 60000, 67500, 75000)]
    zone(tmp_path, 0, "cpu-thermal", 54300, ("critical", 110000), *fan)
    assert read_zones(tmp_path) == (Zone("cpu-thermal", 54.3, trip_c=90.0),)


def test_a_laptop(tmp_path: Path) -> None:
    zone(tmp_path, 0, "acpitz", 46000, ("critical", 128000), ("passive", 95000), ("hot", 90000))
    zone(tmp_path, 1, "INT3400 Thermal", 20000)
    zone(tmp_path, 2, "x86_pkg_temp", 51000, ("passive", 0), ("passive", -274000))
    (tmp_path / "class" / "thermal" / "cooling_device0").mkdir()
    assert read_zones(tmp_path) == (
        Zone("acpitz", 46.0, trip_c=90.0),
        Zone("INT3400 Thermal", 20.0),
        Zone("x86_pkg_temp", 51.0),
    )


def test_a_phones_battery_is_known_as_one(tmp_path: Path) -> None:
    zone(tmp_path, 12, "battery", 33000)
    assert read_zones(tmp_path) == (Zone("battery", 33.0, is_battery=True),)


@pytest.mark.parametrize("temp", ["", "none", -273000, 0, 255000])
def test_a_sensor_that_says_nonsense_is_absent(tmp_path: Path, temp: str | int) -> None:
    zone(tmp_path, 0, "iwlwifi_1", temp)
    assert read_zones(tmp_path) == ()


def test_a_sensor_that_cannot_be_read_is_absent(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu", 50000)
    folder = tmp_path / "class" / "thermal" / "thermal_zone1"
    (folder / "temp").mkdir(parents=True)  # reading it is an error, as it is of one that sleeps
    assert [found.name for found in read_zones(tmp_path)] == ["cpu"]


def test_a_device_without_zones(tmp_path: Path) -> None:
    assert read_zones(tmp_path) == ()
