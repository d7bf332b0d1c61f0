"""Pictures that somebody else publishes on the gateway's broker, handed to their cameras."""

from collections.abc import Callable, Iterable

from broker.message import Message
from broker.topics import matches
from gateway.camera import Camera


class Deliveries:
    """Knows which topics carry pictures for which cameras."""

    def __init__(self, cameras: Iterable[Camera], count: Callable[[str], None]) -> None:
        """Look out for the pictures of those cameras that are of kind `mqtt`.

        Args:
            cameras: all of them.
            count: counts what is dropped, by kind.
        """
        self._cameras = [one for one in cameras if one.settings.kind == "mqtt"]
        self._count = count

    @property
    def subscriptions(self) -> list[tuple[str, int]]:
        """Where the pictures come."""
        return [(camera.settings.source, 0) for camera in self._cameras]

    def hear(self, message: Message) -> bool:
        """Hand a picture to the cameras that it is for; return whether it is one."""
        cameras = [one for one in self._cameras if matches(one.settings.source, message.topic)]
        for camera in cameras:
            if message.retain:  # of unknown age: it stood there before the gateway came
                self._count("dropped.picture.retained")
            else:
                camera.deliver(message.payload)
        return bool(cameras)
