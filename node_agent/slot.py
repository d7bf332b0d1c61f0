"""The frames that wait for the worker: only the newest of each camera, cameras taking turns."""

from dataclasses import dataclass

from broker.codecs import FrameMessage

# A gateway has a handful of cameras. The bound keeps a stranger who publishes under invented
# camera ids from filling the device's memory: 16 × 256 KiB = 4 MiB.
MAX_CAMERAS = 16


@dataclass(frozen=True, slots=True)
class WaitingFrame:
    """One frame and when it arrived, on this device's monotonic clock."""

    camera: str
    message: FrameMessage
    arrived_s: float

    def is_late(self, now_s: float) -> bool:
        """Return whether the gateway has stopped waiting for the answer."""
        return now_s - self.arrived_s >= self.message.deadline_ms / 1000


class FrameSlots:
    """One place per camera; a newer frame evicts the one that waits there.

    Cameras are served in the order in which their waiting began, and a newer frame keeps its
    camera's place in that order: so a fast camera cannot push a slow one back.
    """

    def __init__(self, max_cameras: int = MAX_CAMERAS) -> None:
        self._max_cameras = max_cameras
        self._waiting: dict[str, WaitingFrame] = {}  # in the order of service
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, frame: WaitingFrame) -> None:
        """Keep the frame in place of an older one of its camera."""
        if frame.camera in self._waiting:
            self.evicted += 1
        elif len(self._waiting) >= self._max_cameras:
            del self._waiting[next(iter(self._waiting))]
            self.evicted += 1
        self._waiting[frame.camera] = frame

    def take(self) -> WaitingFrame | None:
        """Return the next camera's newest frame, or None where nothing waits."""
        if not self._waiting:
            return None
        return self._waiting.pop(next(iter(self._waiting)))
