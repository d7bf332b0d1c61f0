"""Everything that is read of the device, each at its own pace."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from node_agent.foreign_cpu import CpuSample, ForeignCpuMeter, system_reader
from node_agent.governor_settings import GovernorSettings
from node_agent.inference_waits import InferenceWaits
from node_agent.pause import PauseKeeper
from node_agent.quiet_hours import quiet_span
from node_agent.readers.activity import LOGINCTL, read_user_active
from node_agent.readers.battery import read_battery
from node_agent.readers.memory import Memory, read_memory
from node_agent.readers.pressure import PressureReader
from node_agent.readers.thermal import read_zones
from node_agent.readings import Battery, Readings, Zone

# Temperatures, charge and memory move slowly, and a sensor behind a slow bus takes 100 ms to read.
REFRESH_S: Final = 5.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Device:
    """Where the readings come from; tests bring their own.

    Attributes:
        clock_s: monotonic.
        read_cpu: the processor's times, given the workers' pids; None: this system's reader.
        root: of the file system, with proc and sys below it.
        now: the wall clock, aware; for quiet hours alone.
        loginctl: the program that knows of the device's users.
    """

    clock_s: Callable[[], float] = time.monotonic
    read_cpu: Callable[[Iterable[int]], CpuSample | None] | None = None
    root: Path = Path("/")
    now: Callable[[], datetime] = _utc_now
    loginctl: str = LOGINCTL


@dataclass(frozen=True, slots=True)
class SlowReadings:
    """What is read every `REFRESH_S`."""

    zones: tuple[Zone, ...] = ()
    battery: Battery | None = None
    memory: Memory | None = None
    user_active: bool | None = None


class Sensors:
    """The readings of one device: `read` is cheap, `refresh` must be awaited now and then."""

    def __init__(self, device: Device, settings: GovernorSettings, pause: PauseKeeper) -> None:
        self._device = device
        self._settings = settings
        self._pause = pause
        self._spans = settings.quiet_spans
        self._zone = settings.zone
        self._meter = ForeignCpuMeter(
            device.read_cpu or system_reader(),
            fast_window_s=settings.fast_window_s,
            slow_window_s=settings.slow_window_s,
        )
        self._pressure = PressureReader(device.root / "proc")
        self.waits = InferenceWaits()
        self.slow = SlowReadings()

    @property
    def cpu_sample(self) -> CpuSample | None:
        """The last sample of the processor's times."""
        return self._meter.sample

    async def refresh(self) -> None:
        """Read what moves slowly, off the event loop."""
        slow = await asyncio.to_thread(read_slow, self._device.root)
        if not self._settings.while_user_active:
            active = await read_user_active(self._device.loginctl)
            slow = SlowReadings(slow.zones, slow.battery, slow.memory, active)
        self.slow = slow

    def read(self, worker_pids: Iterable[int], now_s: float, *, resting: bool) -> Readings:
        """Return the readings of now; cheap enough to stand before every inference.

        Args:
            worker_pids: the guest's own workers.
            now_s: monotonic.
            resting: whether the guest itself leaves the processor alone.
        """
        if not resting:
            self._pressure.forget()
        quiet = None
        if self._spans:
            quiet = quiet_span(self._spans, self._device.now().astimezone(self._zone))
        memory = self.slow.memory
        return Readings(
            foreign_cpu=self._meter.measure(worker_pids, now_s),
            pressure=self._pressure.read(now_s) if resting else None,
            wait=self.waits.read(now_s),
            memory_available_mib=None if memory is None else memory.available_mib,
            zones=self.slow.zones,
            battery=self.slow.battery,
            user_active=self.slow.user_active,
            quiet=None if quiet is None else quiet.text,
            pause=self._pause.words(),
        )


def read_slow(root: Path) -> SlowReadings:
    """Return the readings that may take some milliseconds, the user's activity apart."""
    return SlowReadings(
        zones=read_zones(root / "sys"),
        battery=read_battery(root / "sys"),
        memory=read_memory(root / "proc"),
    )
