"""The cameras' steady states and the events of their changing, as they are published."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from broker.payloads import CameraEvent, CameraState, Result, dump, parse, utc_now
from broker.topics import Topics
from gateway.announcer import Announcer
from gateway.debounce import Change, Debouncer, State, Status
from gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

EventType = Literal["recognized", "unsure", "no_answer"]

_EVENT_TYPES: dict[Status, EventType] = {
    "answered": "recognized",
    "unsure": "unsure",
    "no_answer": "no_answer",
}


@dataclass(slots=True)
class _Followed:
    """One camera: its debouncer, its last result, and how often its state has changed.

    Attributes:
        recalled: whether it is known what an earlier run left.
    """

    debouncer: Debouncer
    result: Result | None = None
    changes: int = 0
    recalled: bool = False


class States:
    """Follows the results of all cameras; holds one timer, at the next change that is due."""

    def __init__(
        self,
        settings: GatewaySettings,
        topics: Topics,
        session: int,
        announcer: Announcer,
        publish_event: Callable[[str, bytes], None],
    ) -> None:
        """Let each camera's state be `unknown`.

        Args:
            settings: the gateway's.
            topics: likewise.
            session: this run's number, a part of each event's id.
            announcer: keeps the states on the broker.
            publish_event: publishes once, not retained; must not block.
        """
        self._topics = topics
        self._session = session
        self._announcer = announcer
        self._publish_event = publish_event
        self._timer: asyncio.TimerHandle | None = None
        self._cameras = {
            name: _Followed(Debouncer(camera.state)) for name, camera in settings.cameras.items()
        }
        for name in self._cameras:
            # What an earlier run left there may be long past.
            self._stand(name, CameraState(camera=name, status="unknown", since=utc_now()))

    def receive(self, result: Result) -> None:
        """Take the next result."""
        followed = self._cameras[result.camera]
        followed.result = result
        # A result below its threshold keeps its guess, which is nothing that a state may rest on.
        label = result.label if result.status == "answered" else None
        change = followed.debouncer.receive(State(result.status, label), self._now_s())
        if change is not None:
            self._tell(result.camera, followed, change)
        self._set_timer()

    def recall(self, camera: str, payload: bytes) -> None:
        """Take what stands on the broker, and name it as the one before `unknown`.

        So that whoever acts on a label can tell a restart from a place that was empty.

        Raises:
            PayloadError: it is no state.
        """
        followed = self._cameras.get(camera)
        if followed is None or followed.recalled or followed.changes or not payload:
            return
        followed.recalled = True
        stood = parse(CameraState, payload)
        known = stood.status != "unknown"
        steady = CameraState(
            camera=camera,
            status="unknown",
            previous_status=stood.status if known else stood.previous_status,
            previous_label=stood.label if known else stood.previous_label,
            since=utc_now() if known else stood.since,
        )
        self._stand(camera, steady)

    def close(self) -> None:
        """Wait for nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_time(self) -> None:
        for name, followed in self._cameras.items():
            if (change := followed.debouncer.tick(self._now_s())) is not None:
                self._tell(name, followed, change)
        self._set_timer()

    def _set_timer(self) -> None:
        self.close()
        due = [
            at_s
            for followed in self._cameras.values()
            if (at_s := followed.debouncer.next_s) is not None
        ]
        self._timer = asyncio.get_running_loop().call_at(min(due), self._on_time) if due else None

    def _tell(self, camera: str, followed: _Followed, change: Change) -> None:
        result = followed.result
        assert result is not None  # a change follows from a result
        followed.changes += 1
        event_id = f"{self._session:08x}-{camera}-{followed.changes}"
        state, previous = change.state, change.previous
        logger.info("camera %s: %s", camera, state.label or state.status)
        steady = CameraState(
            camera=camera,
            status=state.status,
            label=state.label,
            previous_status=previous.status,
            previous_label=previous.label,
            since=utc_now(),
            frame=result.frame,
            event=event_id,
        )
        self._stand(camera, steady)
        shows_it = result.status == "answered" and result.label == state.label
        event = CameraEvent(
            id=event_id,
            event_type=_EVENT_TYPES[state.status],
            camera=camera,
            label=state.label,
            confidence=result.confidence if shows_it else None,
            previous_status=previous.status,
            previous_label=previous.label,
            frame=result.frame,
            captured_at=result.captured_at,
        )
        self._publish_event(self._topics.camera_event(camera), dump(event))

    def _stand(self, camera: str, state: CameraState) -> None:
        self._announcer.want(self._topics.camera_state(camera), dump(state))

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()  # monotonic
