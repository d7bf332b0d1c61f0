"""The idle decision: whether the guest may use the processor now, and why (not).

Pure: readings and the time come in, a decision comes out. It stops at once when somebody else
needs the device and starts again only after a hold-off, so that it never flaps. A signal that
the device does not offer is simply absent and objects to nothing.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When to start and when to stop; shares are of the whole machine, in [0, 1].

    Attributes:
        start_share: may start while foreign CPU, averaged over the slow window, is at most this.
        stop_share: stops when foreign CPU, averaged over the fast window, is above this.
        hold_off_s: shortest time between a stop and the next start.
        jitter: each hold-off is lengthened by up to this fraction, drawn anew, so that the
            household's devices do not all come back in the same instant.
    """

    start_share: float
    stop_share: float
    hold_off_s: float
    jitter: float


@dataclass(frozen=True, slots=True)
class ForeignCpu:
    """What other programs use of the machine; None while the window is still too short.

    Attributes:
        fast_share: average over the fast window, in [0, 1].
        slow_share: average over the slow window, in [0, 1].
    """

    fast_share: float | None
    slow_share: float | None


@dataclass(frozen=True, slots=True)
class Readings:
    """What the device says about itself; None is a signal that it does not offer."""

    foreign_cpu: ForeignCpu | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an inference may start now, and the reason in words for the device's owner."""

    allowed: bool
    reason: str


class Governor:
    """Decides from readings, with hysteresis and hold-off."""

    def __init__(self, limits: Limits, rng: random.Random, *, always: bool = False) -> None:
        self._limits = limits
        self._rng = rng
        self._always = always
        self._allowed = False
        self._held_until_s: float | None = None
        self._stop_reason = ""

    def decide(self, readings: Readings, now_s: float) -> Decision:
        """Return whether an inference may start at `now_s` (monotonic, never going back)."""
        if self._always:
            return Decision(True, "told to run always, whatever else the device does")
        if self._allowed:
            return self._keep_or_stop(readings, now_s)
        return self._start_or_wait(readings, now_s)

    def _keep_or_stop(self, readings: Readings, now_s: float) -> Decision:
        objection = self._stop_objection(readings)
        if objection is None:
            return Decision(True, _allowed_because(readings))
        self._allowed = False
        self._stop_reason = objection
        stretch = 1.0 + self._limits.jitter * self._rng.random()
        self._held_until_s = now_s + self._limits.hold_off_s * stretch
        return Decision(False, objection)

    def _start_or_wait(self, readings: Readings, now_s: float) -> Decision:
        # The reason of the stop stands while it lasts; what is only waited for comes after it.
        if self._held_until_s is not None and self._stop_objection(readings) is not None:
            return Decision(False, self._stop_reason)
        objection = self._start_objection(readings)
        if objection is not None:
            return Decision(False, objection)
        if self._held_until_s is not None and now_s < self._held_until_s:
            return Decision(
                False,
                "the device was needed a moment ago; holding off for at least "
                f"{self._limits.hold_off_s:g} s",
            )
        self._allowed = True
        self._held_until_s = None
        return Decision(True, _allowed_because(readings))

    def _stop_objection(self, readings: Readings) -> str | None:
        cpu = readings.foreign_cpu
        if cpu is None or cpu.fast_share is None or cpu.fast_share <= self._limits.stop_share:
            return None
        return (
            f"other programs use {cpu.fast_share:.0%} of the processor, "
            f"more than {self._limits.stop_share:.0%}"
        )

    def _start_objection(self, readings: Readings) -> str | None:
        cpu = readings.foreign_cpu
        if cpu is None:
            return None
        if cpu.fast_share is None or cpu.slow_share is None:
            return "measuring first what other programs use of the processor"
        # A burst in the last half second counts even where two quiet seconds dilute it.
        if self._stop_objection(readings) is not None or cpu.slow_share > self._limits.start_share:
            return (
                "waiting until other programs use at most "
                f"{self._limits.start_share:.0%} of the processor"
            )
        return None


def _allowed_because(readings: Readings) -> str:
    if readings.foreign_cpu is None:
        return "what other programs use cannot be read here; running at idle priority only"
    return "nobody else needs the processor"
