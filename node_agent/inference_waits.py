"""How long the last inferences were kept waiting for the processor."""

from collections import deque
from typing import Final

from node_agent.readings import InferenceWait

# One inference that waits is the machine's own hiccup; two in a row are somebody's wish.
COUNT: Final = 2
# After it they say nothing of now; it is no longer than a hold-off.
VALID_S: Final = 2.0


class InferenceWaits:
    """The last `COUNT` inferences by the clock and by the processor time that they got."""

    def __init__(self) -> None:
        self._last: deque[InferenceWait] = deque(maxlen=COUNT)
        self._added_s = 0.0

    def add(self, wall_ms: float, cpu_ms: float, now_s: float) -> None:
        """Remember one inference; several threads may use more processor time than time passes."""
        wait = InferenceWait(
            slowdown=max(1.0, wall_ms / cpu_ms) if cpu_ms > 0 else 1.0,
            waited_ms=max(0.0, wall_ms - cpu_ms),
        )
        if now_s - self._added_s > VALID_S:
            self._last.clear()
        self._last.append(wait)
        self._added_s = now_s

    def read(self, now_s: float) -> InferenceWait | None:
        """Return the one of the last two that waited less, None where they say nothing of now."""
        if len(self._last) < COUNT or now_s - self._added_s > VALID_S:
            return None
        return min(self._last, key=lambda wait: wait.waited_ms)
