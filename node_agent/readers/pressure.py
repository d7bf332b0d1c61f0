"""Who has to wait here, while the guest rests: PSI `some` of /proc/pressure (kernel: psi).

The kernel counts the stalls of everybody, also of the guest's own idle threads: two of them on
one processor read 50 %. So it is read only while the guest rests, from the cumulative counter in
microseconds. A poll trigger would need a privilege (or a kernel of 6.5 or later) and tell less:
that a threshold was passed, not by how much.
"""

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_agent.readings import Pressure

# The kernel brings its counter up to date every two seconds at the latest: less than two such
# periods could show nothing or all of one. A hold-off is as long.
WINDOW_S: Final = 4.0
_SOME: Final = re.compile(r"^some .*\btotal=(\d+)", re.MULTILINE)
_MICRO: Final = 1e-6


@dataclass(frozen=True, slots=True)
class _Stalls:
    taken_s: float
    cpu_us: int
    memory_us: int | None


class PressureReader:
    """The share of time in which programs waited, over the last `WINDOW_S` of rest."""

    def __init__(self, proc: Path) -> None:
        self._folder = proc / "pressure"
        self._samples: deque[_Stalls] = deque()

    def forget(self) -> None:
        """Begin anew: the guest's own threads ran."""
        self._samples.clear()

    def read(self, now_s: float) -> Pressure | None:
        """Take a sample; return None until a whole window is known, or where PSI is off."""
        cpu_us = _total_us(self._folder / "cpu")
        if cpu_us is None:
            self._samples.clear()
            return None
        latest = _Stalls(now_s, cpu_us, _total_us(self._folder / "memory"))
        self._samples.append(latest)
        while len(self._samples) > 1 and now_s - self._samples[1].taken_s >= WINDOW_S:
            self._samples.popleft()
        earliest = self._samples[0]
        passed_s = now_s - earliest.taken_s
        if passed_s < WINDOW_S:
            return None
        return Pressure(
            cpu=_share(latest.cpu_us - earliest.cpu_us, passed_s),
            memory=None
            if latest.memory_us is None or earliest.memory_us is None
            else _share(latest.memory_us - earliest.memory_us, passed_s),
        )


def _share(stalled_us: int, passed_s: float) -> float:
    return min(1.0, max(0.0, stalled_us * _MICRO / passed_s))


def _total_us(file: Path) -> int | None:
    try:
        match = _SOME.search(file.read_text())
    except OSError:  # also EOPNOTSUPP: compiled in and turned off
        return None
    return None if match is None else int(match[1])
