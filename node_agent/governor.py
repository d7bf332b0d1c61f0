"""The idle decision: whether the guest may use the processor now, and why (not).

Pure: readings and the time come in, a decision comes out. It stops at once when somebody else
needs the device and starts again only after a hold-off, so that it never flaps. What speaks
against running stands in `objections.py`.
"""

import random
from dataclasses import dataclass
from typing import Final

from node_agent.objections import (
    Cause,
    Limits,
    Objection,
    first_objection,
    first_objection_to_always,
)
from node_agent.readings import Readings

# Its words change only when the owner changes them: never old ones for these.
_OWNERS_WORD: Final = frozenset(("pause", "quiet_hours"))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an inference may start now, and the reason in words for the device's owner.

    Attributes:
        cause: the signal that forbids it, a word that does not change; None while it may run.
    """

    allowed: bool
    reason: str
    cause: Cause | None = None


class Governor:
    """Decides from readings, with hysteresis and hold-off."""

    def __init__(self, limits: Limits, rng: random.Random, *, always: bool = False) -> None:
        """Begin at rest.

        Args:
            limits: when to start and stop.
            rng: draws how much longer than the shortest each hold-off is, so that the household's
                devices do not all come back in the same instant.
            always: only the owner's pause and heat stop it.
        """
        self._limits = limits
        self._rng = rng
        self._always = always
        self._object = first_objection_to_always if always else first_objection
        self._allowed = False
        self._held_until_s: float | None = None
        self._stop: Objection | None = None

    def decide(self, readings: Readings, now_s: float) -> Decision:
        """Return whether an inference may start at `now_s` (monotonic, never going back)."""
        if self._allowed:
            return self._keep_or_stop(readings, now_s)
        return self._start_or_wait(readings, now_s)

    def _keep_or_stop(self, readings: Readings, now_s: float) -> Decision:
        objection = self._object(readings, self._limits, running=True)
        if objection is None:
            return self._go(readings)
        self._allowed = False
        self._stop = objection
        stretch = 1.0 + self._limits.jitter * self._rng.random()
        self._held_until_s = now_s + self._limits.hold_off_s * stretch
        return _no(objection)

    def _start_or_wait(self, readings: Readings, now_s: float) -> Decision:
        # What made it stop stands, in the same words, while it lasts: a percentage that moves with
        # every reading is no news. What is only waited for comes after it.
        if self._held_until_s is not None:
            objection = self._object(readings, self._limits, running=True)
            if objection is not None:
                if objection.cause in _OWNERS_WORD or objection.cause != self._cause():
                    self._stop = objection
                return _no(self._stop or objection)
        objection = self._object(readings, self._limits, running=False)
        if objection is not None:
            return _no(objection)
        if self._held_until_s is not None and now_s < self._held_until_s:
            return Decision(
                False,
                "the device was needed a moment ago; holding off for at least "
                f"{self._limits.hold_off_s:g} s",
                "hold_off",
            )
        self._allowed = True
        self._held_until_s = self._stop = None
        return self._go(readings)

    def _cause(self) -> Cause | None:
        return None if self._stop is None else self._stop.cause

    def _go(self, readings: Readings) -> Decision:
        if self._always:
            return Decision(True, "told to run always, whatever else the device does")
        if readings.foreign_cpu is None:
            return Decision(
                True, "what other programs use cannot be read here; running at idle priority only"
            )
        return Decision(True, "nobody else needs the processor")


def _no(objection: Objection) -> Decision:
    return Decision(False, objection.reason, objection.cause)
