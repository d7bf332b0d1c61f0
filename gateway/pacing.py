"""When a camera's frames are due: which ones to take, and how long to wait for them."""


class Thinner:
    """Takes at most `fps` frames of each second of a stream that has more."""

    # Decoders round presentation times; a frame this much early is not worth waiting for the next.
    TOLERANCE_S = 0.001

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._next_s: float | None = None

    def take(self, at_s: float) -> bool:
        """Return whether the frame at this time of the stream is to be taken."""
        if self._next_s is not None and at_s < self._next_s - self.TOLERANCE_S:
            return False
        due_s = at_s if self._next_s is None else self._next_s
        self._next_s = due_s + self._interval_s
        if self._next_s <= at_s:  # the stream was silent: no burst to catch up
            self._next_s = at_s + self._interval_s
        return True


class Pacer:
    """Plays what has no clock of its own (files) in real time."""

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._start_s: float | None = None

    def wait_s(self, media_s: float, now_s: float) -> float:
        """Return how long to wait before the frame at `media_s` of the recording is due.

        Whoever comes more than one interval late goes on from there: frames are not rushed
        through to catch up.
        """
        if self._start_s is None:
            self._start_s = now_s - media_s
        wait_s = self._start_s + media_s - now_s
        if wait_s < -self._interval_s:
            self._start_s = now_s - media_s
        return max(0.0, wait_s)
