"""What other programs use of this device's processor: all that is busy, less what is ours.

The kernel counts time in ticks of 10 ms: the window, not the single sample, makes the figure
exact enough (0.5 s on two cores is 100 ticks, so 1 %).
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from node_agent.core_shares import CoreTicks, busiest_foreign_share, parse_cores
from node_agent.readings import ForeignCpu

PROC = Path("/proc")

# Closer samples say nothing: a tick is 10 ms. It also bounds what asking before each frame costs.
MIN_INTERVAL_S = 0.05

# Fields of the "cpu" line of /proc/stat, proc(5). guest is already in user, guest_nice in nice.
# steal is time that the hypervisor gave to others: nobody on this device used it or could.
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ = range(7)

# Fields of /proc/<pid>/stat after the command's closing bracket, proc(5) fields 3, 14 … 17.
_STATE, _UTIME, _STIME, _CUTIME, _CSTIME = 0, 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class CpuSample:
    """Cumulative processor time in one unit (ticks or seconds), summed over all cores.

    Attributes:
        busy: what anybody used.
        total: busy and idle.
        own: the guest's part of busy.
        cores: each core by itself, where the system tells them apart.
        unit_s: the unit in seconds.
    """

    busy: float
    total: float
    own: float
    cores: tuple[CoreTicks, ...] = ()
    unit_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ProcessTimes:
    """One process's cumulative processor time in ticks, and its state letter."""

    state: str
    own: int
    reaped_children: int


def parse_machine(text: str) -> tuple[int, int]:
    """Return (busy, total) ticks from the text of /proc/stat.

    Raises:
        ValueError: the text has no complete `cpu` line.
    """
    line = text.split("\n", 1)[0].split()
    if len(line) < 1 + _SOFTIRQ + 1 or line[0] != "cpu":
        raise ValueError("no `cpu` line")
    ticks = [int(field) for field in line[1:]]
    busy = ticks[_USER] + ticks[_NICE] + ticks[_SYSTEM] + ticks[_IRQ] + ticks[_SOFTIRQ]
    return busy, busy + ticks[_IDLE] + ticks[_IOWAIT]


def parse_process(text: str) -> ProcessTimes:
    """Return the times in the text of a /proc/<pid>/stat.

    Raises:
        ValueError: the text is not such a line.
    """
    # The command stands in brackets and may itself hold blanks and brackets.
    _, bracket, rest = text.rpartition(")")
    fields = rest.split()
    if not bracket or len(fields) <= _CSTIME:
        raise ValueError("no process line")
    return ProcessTimes(
        state=fields[_STATE],
        own=int(fields[_UTIME]) + int(fields[_STIME]),
        reaped_children=int(fields[_CUTIME]) + int(fields[_CSTIME]),
    )


def went_back(earlier: CpuSample, later: CpuSample) -> bool:
    """Return whether a counter fell: a processor went offline, or a process was lost from sight.

    What fell from `own` would else be taken for foreign load.
    """
    return later.busy < earlier.busy or later.total < earlier.total or later.own < earlier.own


def share_between(earlier: CpuSample, later: CpuSample) -> float | None:
    """Return the foreign share of the machine between two samples, in [0, 1].

    None where no time passed or a counter went back.
    """
    total = later.total - earlier.total
    if total <= 0 or went_back(earlier, later):
        return None
    foreign = (later.busy - earlier.busy) - (later.own - earlier.own)
    return min(1.0, max(0.0, foreign / total))


def core_share_between(earlier: CpuSample, later: CpuSample) -> float | None:
    """Return the foreign share of the busiest core between two samples, in [0, 1].

    None where the cores are not told apart, no time passed or a counter went back.
    """
    if went_back(earlier, later):
        return None
    return busiest_foreign_share(earlier.cores, later.cores, later.own - earlier.own)


def read_proc(worker_pids: Iterable[int], proc: Path = PROC) -> CpuSample | None:
    """Return a sample from /proc, or None where it cannot be read (Android hides it).

    Own time is this process's, its reaped children's and its living workers': a worker that
    ends moves from the last to the second, so the sum never falls.
    """
    try:
        text = (proc / "stat").read_text()
        busy, total = parse_machine(text)
        own = _own_ticks(tuple(worker_pids), proc)
        return CpuSample(busy, total, own, parse_cores(text), 1.0 / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError):
        return None


def _own_ticks(worker_pids: Sequence[int], proc: Path) -> int:
    me = parse_process((proc / "self" / "stat").read_text())
    own = me.own + me.reaped_children
    for pid in worker_pids:
        try:
            own += parse_process((proc / str(pid) / "stat").read_text()).own
        except (OSError, ValueError):
            # Reaped, perhaps only after this process's own line was read: so read that again.
            return _own_ticks([other for other in worker_pids if other != pid], proc)
    return own


def read_psutil(worker_pids: Iterable[int]) -> CpuSample | None:
    """Return a sample by psutil, for POSIX systems that have no /proc (macOS, BSD).

    Windows is none of them: its event loop takes no signal handlers, so no agent runs there.
    """
    try:
        import psutil
    except ImportError:
        return None
    try:
        machine = psutil.cpu_times()
        living = 0.0
        for pid in worker_pids:
            with suppress(psutil.NoSuchProcess):  # reaped, and so among the children below
                times = psutil.Process(pid).cpu_times()
                living += times.user + times.system
        # Not psutil's children_user, which is 0 on macOS. Read last, after whoever was reaped.
        me = os.times()
    except (OSError, psutil.Error):
        return None
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    total = sum(machine) - getattr(machine, "steal", 0.0) - getattr(machine, "guest", 0.0)
    own = me.user + me.system + me.children_user + me.children_system
    return CpuSample(total - idle, total, own + living)


def system_reader() -> Callable[[Iterable[int]], CpuSample | None]:
    """Return the reader that works on this system."""
    return read_proc if PROC.is_dir() else read_psutil


class ForeignCpuMeter:
    """Averages the foreign share over a fast and a slow window of samples."""

    def __init__(
        self,
        read: Callable[[Iterable[int]], CpuSample | None],
        *,
        fast_window_s: float,
        slow_window_s: float,
    ) -> None:
        self._read = read
        self._fast_window_s = fast_window_s
        self._slow_window_s = slow_window_s
        self._samples: deque[tuple[float, CpuSample]] = deque()
        self._latest: ForeignCpu | None = None

    @property
    def sample(self) -> CpuSample | None:
        """The last sample that was taken."""
        return self._samples[-1][1] if self._samples else None

    def measure(self, worker_pids: Iterable[int], now_s: float) -> ForeignCpu | None:
        """Take a sample and return the averages, or None where the device offers no figures.

        At the start the slow window is as long as there are samples, but never shorter than
        the fast one: so that a free device need not wait two seconds for its first inference.
        """
        if self._samples and now_s - self._samples[-1][0] < MIN_INTERVAL_S:
            return self._latest
        sample = self._read(worker_pids)
        self._latest = None if sample is None else self._averages(sample, now_s)
        return self._latest

    def _averages(self, sample: CpuSample, now_s: float) -> ForeignCpu:
        if self._samples and went_back(self._samples[-1][1], sample):
            self._samples.clear()  # what was counted before compares with nothing after
        self._samples.append((now_s, sample))
        self._forget(now_s)
        fast = self._before(now_s, self._fast_window_s)
        slow = self._before(now_s, self._slow_window_s)
        if slow is None and fast is not None:
            slow = self._samples[0][1]
        return ForeignCpu(
            fast_share=None if fast is None else share_between(fast, sample),
            slow_share=None if slow is None else share_between(slow, sample),
            core_fast_share=None if fast is None else core_share_between(fast, sample),
            core_slow_share=None if slow is None else core_share_between(slow, sample),
        )

    def _before(self, now_s: float, window_s: float) -> CpuSample | None:
        """Return the youngest sample that is at least a window old."""
        for taken_s, sample in reversed(self._samples):
            if now_s - taken_s >= window_s:
                return sample
        return None

    def _forget(self, now_s: float) -> None:
        """Drop what no window needs: all but one sample from before the slow window."""
        second = next(islice(self._samples, 1, None), None)
        while second is not None and now_s - second[0] >= self._slow_window_s:
            self._samples.popleft()
            second = next(islice(self._samples, 1, None), None)
