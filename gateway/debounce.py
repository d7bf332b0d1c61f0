"""One steady state out of many results, for lamps and doors.

Pure: outcomes and `now_s` come in, changes come out. A state takes k equal outcomes among the last
n, and stands for its hold time after it was last confirmed. `unsure` and `no_answer` are outcomes
like the labels: they need as much evidence, and what they lead to carries no label, so that neither
can be taken for an empty place.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from gateway.camera_settings import StateSettings, Steadiness

Status = Literal["unknown", "answered", "unsure", "no_answer"]


@dataclass(frozen=True, slots=True)
class State:
    """What a camera is taken to see.

    Attributes:
        status: as results have it; `unknown` before the first evidence.
        label: for `answered` alone.
    """

    status: Status
    label: str | None = None

    def __post_init__(self) -> None:
        if (self.status == "answered") != (self.label is not None):
            raise ValueError(f"state {self.status} with label {self.label}")


UNKNOWN = State("unknown")


@dataclass(frozen=True, slots=True)
class Change:
    """A new state after an old one."""

    state: State
    previous: State


class Debouncer:
    """Follows one camera's outcomes.

    Attributes:
        state: the steady one.
    """

    def __init__(self, settings: StateSettings) -> None:
        """Begin with nothing known."""
        self.state = UNKNOWN
        self._settings = settings
        self._confirmed_s = -math.inf
        self._outcomes: deque[tuple[State, float]] = deque(maxlen=settings.longest)

    @property
    def next_s(self) -> float | None:
        """When `tick` may change the state without another outcome, or None."""
        candidate = self._candidate()
        return None if candidate in (None, self.state) else self._free_s()

    def receive(self, outcome: State, now_s: float) -> Change | None:
        """Take one result's outcome.

        Args:
            outcome: what the result says.
            now_s: monotonic, not before the last one's.

        Raises:
            ValueError: an outcome `unknown`, which no result has.
        """
        if outcome == UNKNOWN:
            raise ValueError("no result is unknown")
        self._outcomes.append((outcome, now_s))
        if outcome == self.state:
            self._confirmed_s = now_s
        return self.tick(now_s)

    def tick(self, now_s: float) -> Change | None:
        """Return the change that is due by now, if one is."""
        while self._outcomes and self._outcomes[0][1] < now_s - self._settings.within_s:
            self._outcomes.popleft()
        candidate = self._candidate()
        if candidate is None or candidate == self.state or now_s < self._free_s():
            return None
        change = Change(candidate, self.state)
        self.state = candidate
        self._confirmed_s = now_s
        return change

    def _free_s(self) -> float:
        """Return when the present state has stood for long enough."""
        held_s = 0.0 if self.state == UNKNOWN else self._needs(self.state).hold_s
        return self._confirmed_s + held_s

    def _candidate(self) -> State | None:
        """Return the outcome with enough evidence; the newest one where several have."""
        outcomes = [outcome for outcome, _ in reversed(self._outcomes)]
        for outcome in dict.fromkeys(outcomes):
            needs = self._needs(outcome)
            if outcomes[: needs.n].count(outcome) >= needs.k:
                return outcome
        return None

    def _needs(self, outcome: State) -> Steadiness:
        return self._settings.of(outcome.label)
