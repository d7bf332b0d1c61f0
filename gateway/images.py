"""The pictures that results are about, for those cameras that are to show them."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from broker.topics import Topics
from gateway.camera_settings import CameraSettings
from gateway.collector import MAX_IN_FLIGHT

# A person looks at them; each is larger than all answers to it together.
EVERY_S = 1.0


class Images:
    """Keeps the pictures of frames that wait, and publishes some of them with their results."""

    def __init__(
        self,
        cameras: Mapping[str, CameraSettings],
        topics: Topics,
        publish: Callable[[str, bytes], None],
    ) -> None:
        """Keep nothing yet.

        Args:
            cameras: by id; only those with `image` are kept.
            topics: the gateway's.
            publish: publishes a picture, retained; must not block.
        """
        self._cameras = {name for name, camera in cameras.items() if camera.image}
        self._topics = topics
        self._publish = publish
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        self._published_s: dict[str, float] = {}

    def keep(self, camera: str, frame: int, jpeg: bytes) -> None:
        """Keep a frame's picture until its result."""
        if camera in self._cameras:
            self._waiting[frame] = jpeg
            if len(self._waiting) > MAX_IN_FLIGHT:  # of a frame that was never published
                self._waiting.popitem(last=False)

    def decided(self, camera: str, frame: int, now_s: float) -> None:
        """Publish the picture that a result is about, unless the camera's last one is too young.

        Args:
            camera: the camera's id.
            frame: the result's.
            now_s: monotonic.
        """
        jpeg = self._waiting.pop(frame, None)
        last_s = self._published_s.get(camera)
        if jpeg is not None and (last_s is None or last_s + EVERY_S <= now_s):
            self._published_s[camera] = now_s
            self._publish(self._topics.image(camera), jpeg)
