"""How likely a node is to answer a frame at all, from how it did so far."""

# What happened so long ago counts half: a device's day has its hours.
HALF_LIFE_S = 3600.0
# Frames after which another one counts half; at one a second six minutes.
HALF_LIFE_FRAMES = 360

# What is believed of a node that is new, and how much must be seen to outweigh that.
PRIOR_WORKING = 0.97
PRIOR_WORKING_S = 600.0
PRIOR_ANSWERED = 0.98
PRIOR_FRAMES = 20.0

# Nobody is certain to answer.
MOST = 0.99

_DECAY_A_FRAME = 0.5 ** (1 / HALF_LIFE_FRAMES)


class Attendance:
    """One node's: the share of the time that it works, and the share of frames it answers then.

    Only time in which it is there is looked at. That it went away is known at once, and a new plan
    made without it; that its owner needs the device for a minute is not worth a new plan, but is
    why its chance is below 1. Late answers count as answers: how fast it is is another matter.
    """

    def __init__(self) -> None:
        self._working_s = PRIOR_WORKING * PRIOR_WORKING_S
        self._there_s = PRIOR_WORKING_S
        self._answered = PRIOR_ANSWERED * PRIOR_FRAMES
        self._expected = PRIOR_FRAMES
        self._since_s: float | None = None
        self._was_working = False

    @property
    def chance(self) -> float:
        """The chance that it answers a frame, in time or not."""
        working = self._working_s / self._there_s
        return min(MOST, working * min(1.0, self._answered / self._expected))

    def note(self, *, there: bool, working: bool, now_s: float) -> None:
        """Note how it is from now on; what it was until now is counted.

        Args:
            there: whether it is connected and has described itself.
            working: whether it says that it answers frames.
            now_s: monotonic, never less than before.
        """
        if self._since_s is not None:
            passed_s = now_s - self._since_s
            kept = 0.5 ** (passed_s / HALF_LIFE_S)
            self._there_s = self._there_s * kept + passed_s
            self._working_s = self._working_s * kept + (passed_s if self._was_working else 0.0)
        self._since_s = now_s if there else None
        self._was_working = working

    def expect(self) -> None:
        """Note that a frame is published while it works."""
        self._expected = self._expected * _DECAY_A_FRAME + 1
        self._answered *= _DECAY_A_FRAME

    def answer(self) -> None:
        """Note that an answer to one of our frames came."""
        self._answered += 1
