"""The owner's pause: set by the command line or from Home Assistant, and kept on the disk.

It ends by the clock that also counts while the device sleeps and that nobody sets (CLOCK_BOOTTIME);
only after a restart of the device does the wall clock decide.
"""

import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from node_agent.errors import PauseError

logger = logging.getLogger(__name__)

FILE_NAME: Final = "pause.json"
MAX_FILE_BYTES: Final = 4096
MAX_S: Final = 366 * 86400.0
_UNITS_S: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


class Pause(BaseModel):
    """One pause.

    Attributes:
        until: when it ends on the wall clock; None: when the owner says so.
        boot_id: the device's start in which it was set.
        until_boot_s: when it ends, in seconds after that start.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    until: AwareDatetime | None = None
    boot_id: str | None = None
    until_boot_s: float | None = None


@dataclass(frozen=True, slots=True)
class PauseClock:
    """The clocks a pause is measured by.

    Attributes:
        boot_id: of the device's last start, None where the system does not say.
        boot_s: seconds since that start, sleep included.
        wall: the wall clock, aware.
    """

    boot_id: str | None
    boot_s: Callable[[], float]
    wall: Callable[[], datetime]

    @classmethod
    def of_this_device(cls, root: Path = Path("/")) -> "PauseClock":
        """Return the clocks of this device."""
        file = root / "proc" / "sys" / "kernel" / "random" / "boot_id"
        try:
            boot_id = file.read_text().strip() if hasattr(time, "CLOCK_BOOTTIME") else None
        except OSError:
            boot_id = None
        return cls(boot_id, _boot_s, lambda: datetime.now(UTC))

    def pause(self, duration_s: float | None) -> Pause:
        """Return a pause that begins now; None: without an end."""
        if duration_s is None:
            return Pause()
        until = self.wall() + timedelta(seconds=duration_s)
        if self.boot_id is None:
            return Pause(until=until)
        return Pause(until=until, boot_id=self.boot_id, until_boot_s=self.boot_s() + duration_s)

    def remaining_s(self, pause: Pause) -> float:
        """Return how long a pause goes on, infinity without an end, 0 when it is over."""
        if pause.until is None:
            return float("inf")
        if pause.boot_id == self.boot_id and pause.until_boot_s is not None:
            return max(0.0, pause.until_boot_s - self.boot_s())
        return max(0.0, (pause.until - self.wall()).total_seconds())


class PauseKeeper:
    """The pause in force: in memory for the agent, in a file for the next start and the commands.

    Attributes:
        file: where it is kept.
    """

    def __init__(self, folder: Path, clock: PauseClock) -> None:
        self.file = folder / FILE_NAME
        self._clock = clock
        self._pause: Pause | None = None
        self._seen: tuple[int, int, int] | None = None

    def current(self) -> Pause | None:
        """Return the pause in force, after a look whether a command changed the file."""
        self._look()
        if self._pause is not None and self._clock.remaining_s(self._pause) <= 0:
            self._pause = None
        return self._pause

    def words(self) -> str | None:
        """Return until when the pause goes on, for people: None without one."""
        pause = self.current()
        if pause is None:
            return None
        if pause.until is None:
            return "until it is resumed"
        end = self._clock.wall() + timedelta(seconds=self._clock.remaining_s(pause))
        if abs(end - pause.until) < timedelta(minutes=1):
            end = pause.until  # the same words while the same pause goes on
        return f"until {end.astimezone():%a %d %b %H:%M}"

    def set(self, duration_s: float | None) -> None:
        """Pause from now on, in memory; `save` keeps it."""
        self._pause = self._clock.pause(duration_s)

    def clear(self) -> None:
        """Go on, in memory; `save` keeps it."""
        self._pause = None

    def save(self) -> None:
        """Write the pause to its file, or remove the file; safe against a loss of power.

        Raises:
            PauseError: the disk does not take it.
        """
        try:
            if self._pause is None:
                self.file.unlink(missing_ok=True)
            else:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                _replace(self.file, self._pause.model_dump_json().encode())
        except OSError as exc:
            raise PauseError(f"the pause cannot be kept in {self.file}: {exc.strerror}") from exc
        self._seen = self._stamp()

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        self._pause = None if stamp is None else self._read(self.file)

    def _stamp(self) -> tuple[int, int, int] | None:
        """Return what changes with every replacement of the file."""
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self, file: Path) -> Pause | None:
        try:
            with file.open("rb") as stream:
                return Pause.model_validate_json(stream.read(MAX_FILE_BYTES))
        except (OSError, ValidationError) as exc:
            logger.warning("%s is no pause and is ignored: %s", file, type(exc).__name__)
            return None


def parse_duration(text: str) -> float:
    """Return the seconds in `2h`, `90m`, `1h30m` or `1d`.

    Raises:
        PauseError: it is no duration, or not between a second and a year.
    """
    compact = text.replace(" ", "").lower()
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise PauseError(f"{text[:40]!r} is no duration: write 45m, 2h, 1h30m or 1d")
    duration_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 1 <= duration_s <= MAX_S:
        raise PauseError(f"{text[:40]!r} is not between a second and a year")
    return duration_s


def _replace(file: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), 0o644)  # the command may run as somebody else
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _boot_s() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
