"""What other programs use of the busiest single core.

The kernel counts busy time for each core, but a process's own time only as a sum. The worker runs
at nice 19 and its time is booked as `nice`, so its part of a core is told apart by that column; a
worker at normal priority is spread over the cores as all busy time is, which is a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Fields of a "cpuN" line of /proc/stat, proc(5).
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ = range(1, 8)


@dataclass(frozen=True, slots=True)
class CoreTicks:
    """One core's cumulative time in ticks.

    Attributes:
        number: the kernel's number of the core.
        busy: all but idle, waiting for the disk, and stolen time; `nice` is part of it.
        nice: booked to programs of low priority.
        total: busy and idle.
    """

    number: int
    busy: float
    nice: float
    total: float


def parse_cores(text: str) -> tuple[CoreTicks, ...]:
    """Return the cores that are online, from the text of /proc/stat.

    Raises:
        ValueError: a `cpuN` line is cut short.
    """
    cores = []
    for line in text.splitlines():
        name, _, _ = line.partition(" ")
        if name == "cpu":
            continue
        if not name.startswith("cpu"):
            break  # what follows the cores is long, and nothing to us
        fields = line.split()
        if len(fields) <= _SOFTIRQ:
            raise ValueError(f"a short `{name}` line")
        ticks = [0, *(int(field) for field in fields[1:])]
        busy = ticks[_USER] + ticks[_NICE] + ticks[_SYSTEM] + ticks[_IRQ] + ticks[_SOFTIRQ]
        total = busy + ticks[_IDLE] + ticks[_IOWAIT]
        cores.append(CoreTicks(int(name[3:]), busy, ticks[_NICE], total))
    return tuple(cores)


def busiest_foreign_share(
    earlier: Sequence[CoreTicks], later: Sequence[CoreTicks], own: float
) -> float | None:
    """Return the largest foreign share of a core between two samples, in [0, 1].

    Args:
        earlier: the cores at the first sample.
        later: the cores at the second.
        own: ticks that were the guest's own in between, on all cores together.

    Returns:
        None where no core is in both, or no time passed on any.
    """
    before = {core.number: core for core in earlier}
    passed = [
        CoreTicks(
            core.number,
            core.busy - before[core.number].busy,
            core.nice - before[core.number].nice,
            core.total - before[core.number].total,
        )
        for core in later
        if core.number in before
    ]
    passed = [core for core in passed if core.total > 0 and 0 <= core.nice <= core.busy]
    if not passed:
        return None
    all_nice = sum(core.nice for core in passed)
    all_normal = sum(core.busy for core in passed) - all_nice
    own_nice = min(max(own, 0.0), all_nice)
    own_normal = min(max(own, 0.0) - own_nice, all_normal)
    return max(
        _foreign(core, _part(own_nice, all_nice), _part(own_normal, all_normal)) for core in passed
    )


def _part(own: float, everybody: float) -> float:
    return own / everybody if everybody > 0 else 0.0


def _foreign(core: CoreTicks, own_nice_part: float, own_normal_part: float) -> float:
    foreign = core.nice * (1 - own_nice_part) + (core.busy - core.nice) * (1 - own_normal_part)
    return min(1.0, max(0.0, foreign / core.total))
