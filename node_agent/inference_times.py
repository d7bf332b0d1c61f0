"""How long the last inferences took, as percentiles."""

import math
from collections import deque

# At 2 frames a second two minutes: long enough for a p95, short enough to show heat.
WINDOW = 240


class InferenceTimes:
    """The last `WINDOW` inference times."""

    def __init__(self) -> None:
        self._times_ms: deque[float] = deque(maxlen=WINDOW)

    def add(self, time_ms: float) -> None:
        """Remember one inference's time."""
        self._times_ms.append(time_ms)

    def clear(self) -> None:
        """Forget all of them: another variant begins."""
        self._times_ms.clear()

    def percentile(self, share: float) -> float | None:
        """Return the nearest-rank percentile in ms (share 0.95: p95), None before the first."""
        if not self._times_ms:
            return None
        ordered = sorted(self._times_ms)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
