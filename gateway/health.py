"""Whether each camera gives pictures, how old its last one is, and why if it does not."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from broker.payloads import OFFLINE, ONLINE, CameraHealth, dump
from broker.topics import Topics
from gateway.announcer import Announcer

# How often silence is looked for, and how often an unchanged camera's figures are published.
LOOK_S = 1.0
REPEAT_S = 30.0


class Patient(Protocol):
    """What is looked at; `gateway.camera.Camera` has it.

    Attributes:
        available: whether its source is there, as far as is known.
        available_since_s: since when, monotonic.
        trouble: one sentence on why it is not.
        last_shot_s: when its last picture came, monotonic; None before the first.
        last_shot_at: the same for people, aware UTC.
    """

    available: bool
    available_since_s: float
    trouble: str
    last_shot_s: float | None
    last_shot_at: datetime | None

    @property
    def silent_after_s(self) -> float | None:
        """How long it may be silent; None for ever."""

    @property
    def figures(self) -> Mapping[str, int]:
        """What became of its pictures, by kind."""


class Health:
    """Publishes, through the announcer, how the cameras are."""

    def __init__(
        self, cameras: Mapping[str, Patient], topics: Topics, announcer: Announcer
    ) -> None:
        self._cameras = cameras
        self._topics = topics
        self._announcer = announcer
        self._said: dict[str, tuple[str, str]] = {}
        self._said_s: dict[str, float] = {}

    async def run(self) -> None:
        """Look at the cameras now and then; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(time.monotonic())

    def look(self, now_s: float) -> None:
        """Publish what has changed, and each camera's figures from time to time."""
        for name, camera in self._cameras.items():
            health = examine(name, camera, now_s)
            says = (health.status, health.reason)
            if says != self._said.get(name) or self._said_s[name] + REPEAT_S <= now_s:
                self._said[name] = says
                self._said_s[name] = now_s
                self._announcer.want(self._topics.camera_status(name), health.status.encode())
                self._announcer.want(self._topics.camera_health(name), dump(health))


def examine(name: str, camera: Patient, now_s: float) -> CameraHealth:
    """Return how a camera is.

    A source that is there but has been silent for too long is as good as none. A picture's age is
    a duration on this machine's monotonic clock; the wall time beside it is for people.
    """
    age_s = None if camera.last_shot_s is None else max(0.0, now_s - camera.last_shot_s)
    silent_s = now_s - max(camera.available_since_s, camera.last_shot_s or 0.0)
    limit_s = camera.silent_after_s
    silent = camera.available and limit_s is not None and silent_s > limit_s
    reason = f"no picture for more than {limit_s:g} s" if silent else camera.trouble
    return CameraHealth(
        camera=name,
        status=ONLINE if camera.available and not silent else OFFLINE,
        reason=reason,
        frame_age_s=None if age_s is None else round(age_s, 3),
        last_frame_at=camera.last_shot_at,
        **camera.figures,
    )
