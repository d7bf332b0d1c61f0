"""How soon the decision falls, by scripted clocks: meter and governor together, with defaults."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.core_shares import CoreTicks
from node_agent.foreign_cpu import CpuSample, ForeignCpuMeter
from node_agent.governor import Governor
from node_agent.governor_settings import GovernorSettings
from node_agent.readings import Readings

FRAME_S = 0.05  # a decision stands before each inference
TARGET_S = 0.6
CORES = 4
DEFAULTS = GovernorSettings()


class Household:
    """A guest on a machine whose cores are used to given shares from a moment on."""

    def __init__(self, shares: list[float], begins_s: float) -> None:
        self._shares = shares
        self._begins_s = begins_s
        self._now_s = 0.0
        self._meter = ForeignCpuMeter(
            lambda _: self._sample(),
            fast_window_s=DEFAULTS.fast_window_s,
            slow_window_s=DEFAULTS.slow_window_s,
        )
        self._guest = Governor(DEFAULTS.limits, random.Random(1))

    def _sample(self) -> CpuSample:
        ticks = self._now_s * 100
        used = max(0.0, self._now_s - self._begins_s) * 100
        cores = tuple(
            CoreTicks(number, used * share, 0.0, ticks) for number, share in enumerate(self._shares)
        )
        return CpuSample(sum(core.busy for core in cores), ticks * CORES, 0.0, cores)

    def last_inference_s(self, until_s: float) -> float | None:
        """Return when the last inference began, seconds after the load did; None without any."""
        last_s = None
        for step in range(int(until_s / FRAME_S)):
            self._now_s = step * FRAME_S
            readings = Readings(foreign_cpu=self._meter.measure((), self._now_s))
            if self._guest.decide(readings, self._now_s).allowed:
                last_s = self._now_s - self._begins_s
        return last_s


@given(
    share=st.floats(0.55, 1.0),
    begins_s=st.floats(5.0, 6.0),
)
def test_gone_within_the_target_when_half_of_the_machine_is_wanted(
    share: float, begins_s: float
) -> None:
    last_s = Household([share] * CORES, begins_s).last_inference_s(until_s=10.0)
    assert last_s is not None
    assert last_s <= TARGET_S


@given(begins_s=st.floats(5.0, 6.0))
def test_gone_within_the_target_when_one_core_is_wanted(begins_s: float) -> None:
    last_s = Household([0.0, 1.0, 0.0, 0.0], begins_s).last_inference_s(until_s=10.0)
    assert last_s is not None
    assert last_s <= TARGET_S


@pytest.mark.parametrize("shares", [[0.49] * CORES, [0.89, 0.0, 0.0, 0.0], [0.0] * CORES])
def test_a_light_load_is_no_reason_to_go(shares: list[float]) -> None:
    last_s = Household(shares, 5.0).last_inference_s(until_s=20.0)
    assert last_s is not None
    assert last_s > 14.0
