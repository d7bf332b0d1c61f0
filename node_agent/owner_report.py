"""What the device's owner gave: processor time, and how fast the guest was gone when asked."""

from typing import Final

from broker.payloads import OwnerReport
from node_agent.foreign_cpu import CpuSample, went_back
from node_agent.inference_times import InferenceTimes
from node_agent.objections import Cause

# What it stops for when somebody else wants the device; the other causes are the owner's settings.
_FOR_OTHERS: Final = frozenset(("cpu", "core", "wait", "user", "memory"))
# Before it a share of the idle time would say something about the start alone.
_LEAST_S: Final = 1.0


class OwnerLedger:
    """Adds up what was taken since the start."""

    def __init__(self) -> None:
        self._last: CpuSample | None = None
        self._own_s = 0.0
        self._idle_s = 0.0
        self._cpu_s: float | None = None
        self._yields = 0
        self._stopped_s: float | None = None
        self._yield_times = InferenceTimes()
        self._yield_ms_max: float | None = None

    def add(self, sample: CpuSample | None) -> None:
        """Take a sample of the machine's and the guest's processor time."""
        if sample is None or sample is self._last:
            return
        last, self._last = self._last, sample
        self._cpu_s = max(self._cpu_s or 0.0, sample.own * sample.unit_s)
        if last is None or went_back(last, sample):
            return
        idle = (sample.total - last.total) - (sample.busy - last.busy)
        self._own_s += (sample.own - last.own) * sample.unit_s
        self._idle_s += max(0.0, idle) * sample.unit_s

    def stopped(self, cause: Cause | None, now_s: float, *, in_hand: bool) -> None:
        """Note a decision to stop; `in_hand`: an inference is still running."""
        if cause not in _FOR_OTHERS:
            return
        self._yields += 1
        self._stopped_s = now_s
        if not in_hand:
            self.ended(now_s)

    def ended(self, now_s: float) -> None:
        """Note the end of an inference: after a decision to stop, nothing runs any more."""
        if self._stopped_s is None:
            return
        took_ms = (now_s - self._stopped_s) * 1000
        self._stopped_s = None
        self._yield_times.add(took_ms)
        self._yield_ms_max = max(self._yield_ms_max or 0.0, took_ms)

    def report(self) -> OwnerReport:
        """Return the account as it is published."""
        offered_s = self._own_s + self._idle_s
        return OwnerReport(
            cpu_s=None if self._cpu_s is None else round(self._cpu_s, 2),
            idle_share=round(self._own_s / offered_s, 4) if offered_s >= _LEAST_S else None,
            yields=self._yields,
            yield_ms_p50=_rounded(self._yield_times.percentile(0.5)),
            yield_ms_max=_rounded(self._yield_ms_max),
        )


def _rounded(time_ms: float | None) -> float | None:
    return None if time_ms is None else round(time_ms, 1)
