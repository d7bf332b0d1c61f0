"""Counts by kind, and whether a kind is worth another line in the log."""

from collections import Counter

# A node that sends rubbish sends it with every frame: one line a minute is enough.
QUIET_S = 60.0


class Tally:
    """Counts what happens, and limits how often each kind is spoken of.

    Attributes:
        counts: by kind. The kinds come from the code, never from a message, so they are few.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said_s: dict[str, float] = {}

    def add(self, kind: str, now_s: float) -> bool:
        """Count one more of this kind; return whether it is worth a line in the log now."""
        self.counts[kind] += 1
        said_s = self._said_s.get(kind)
        if said_s is not None and now_s - said_s < QUIET_S:
            return False
        self._said_s[kind] = now_s
        return True
