"""Thermal zones and their trip points, from /sys/class/thermal (kernel: thermal/sysfs-api)."""

from pathlib import Path
from typing import Final

from node_agent.readers.sysfs import read_number, read_word
from node_agent.readings import Zone

# Outside it a sensor is absent, asleep or broken: -273 and 0 of those that are not wired up.
_PLAUSIBLE_C: Final = (1.0, 150.0)
# `passive` is where the kernel slows the device down, `hot` where it warns. `active` only turns a
# fan on, and at `critical` the device switches itself off.
_LIMITING: Final = ("passive", "hot")
# Where only that end is known, stop well before it.
_BELOW_CRITICAL_C: Final = 20.0
_MILLI: Final = 1000.0


def read_zones(root: Path) -> tuple[Zone, ...]:
    """Return the thermal zones below a /sys that can be read now."""
    zones = []
    for folder in sorted((root / "class" / "thermal").glob("thermal_zone*")):
        name = read_word(folder / "type") or folder.name
        celsius = _celsius(folder / "temp")
        if celsius is not None:
            is_battery = "batt" in name.lower()
            zones.append(Zone(name, celsius, _trip_c(folder), is_battery))
    return tuple(zones)


def _trip_c(folder: Path) -> float | None:
    """Return the lowest temperature at which the device would slow down."""
    limiting: list[float] = []
    critical: list[float] = []
    for file in folder.glob("trip_point_*_type"):
        celsius = _celsius(file.with_name(file.name.removesuffix("type") + "temp"))
        if celsius is None:
            continue
        kind = read_word(file)
        if kind in _LIMITING:
            limiting.append(celsius)
        elif kind == "critical":
            critical.append(celsius - _BELOW_CRITICAL_C)
    found = limiting or critical
    return min(found) if found else None


def _celsius(file: Path) -> float | None:
    value = read_number(file)
    if value is None or not _PLAUSIBLE_C[0] <= value / _MILLI <= _PLAUSIBLE_C[1]:
        return None
    return value / _MILLI
