"""What a source yields, and what it needs of the camera whose thread it runs in."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture taken.

    Attributes:
        picture: at least as large as asked for, unless the source is smaller.
        media_s: its time in a recording, from its start; None where the source is live.
    """

    picture: Image.Image
    media_s: float | None


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@dataclass(frozen=True, slots=True)
class Taking:
    """How a source takes pictures for one camera.

    Attributes:
        side: the pixels that the short side should keep, where there are more.
        on_skip: called for each picture or packet that cannot be used.
        on_open: called when a source is there that may stay silent for long.
        wait: waits so many seconds, or less: returns whether the camera is to stop.
    """

    side: int
    on_skip: Callable[[], None] = lambda: None
    on_open: Callable[[], None] = lambda: None
    wait: Callable[[float], bool] = _sleep


class Rhythm:
    """Keeps a source that is asked again and again at its pace."""

    def __init__(self, fps: float, wait: Callable[[float], bool]) -> None:
        self._interval_s = 1 / fps
        self._wait = wait
        self._last_s: float | None = None

    def stopped(self) -> bool:
        """Wait until the next picture is due; return whether none is wanted any more.

        What is late is not caught up with.
        """
        now_s = time.monotonic()
        due_s = now_s if self._last_s is None else max(now_s, self._last_s + self._interval_s)
        stop = self._wait(due_s - now_s)
        self._last_s = due_s
        return stop
