"""The batteries that feed the device, from /sys/class/power_supply (kernel: class-power)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_agent.readers.sysfs import read_number, read_word
from node_agent.readings import Battery

_TENTHS: Final = 10.0
_PLAUSIBLE_C: Final = (-30.0, 100.0)


@dataclass(frozen=True, slots=True)
class _Cell:
    status: str
    level: float | None
    celsius: float | None


def read_battery(root: Path) -> Battery | None:
    """Return the batteries below a /sys as one, None for a device without any.

    A mouse's or headset's battery (scope `Device`) does not feed the device.
    """
    cells = []
    mains: list[bool] = []
    for folder in sorted((root / "class" / "power_supply").glob("*")):
        kind = read_word(folder / "type")
        if kind == "Battery" and read_word(folder / "scope") != "Device":
            if read_number(folder / "present") != 0:
                cells.append(_cell(folder))
        elif kind is not None and kind != "Battery":
            online = read_number(folder / "online")
            if online is not None:
                mains.append(online > 0)
    if not cells:
        return None
    levels = [cell.level for cell in cells if cell.level is not None]
    temperatures = [cell.celsius for cell in cells if cell.celsius is not None]
    return Battery(
        discharging=any(_discharges(cell, mains) for cell in cells),
        level=sum(levels) / len(levels) if levels else None,
        celsius=max(temperatures, default=None),
    )


def _discharges(cell: _Cell, mains: list[bool]) -> bool:
    """Return whether a battery is being emptied.

    Also on mains it may be, by a charger that is too weak. A battery that does not say is emptied
    when something else could feed the device and does not.
    """
    if cell.status in ("Discharging", "Charging", "Full", "Not charging"):
        return cell.status == "Discharging"
    return bool(mains) and not any(mains)


def _cell(folder: Path) -> _Cell:
    percent = read_number(folder / "capacity")
    tenths = read_number(folder / "temp")
    celsius = None if tenths is None else tenths / _TENTHS
    if celsius is not None and not _PLAUSIBLE_C[0] <= celsius <= _PLAUSIBLE_C[1]:
        celsius = None
    return _Cell(
        status=read_word(folder / "status") or "Unknown",
        level=None if percent is None else min(1.0, max(0.0, percent / 100)),
        celsius=celsius,
    )
