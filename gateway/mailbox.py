"""Pictures that somebody else publishes over MQTT: Frigate, an ESP32-CAM, a door viewer."""

import base64
import binascii
import json
import threading
from collections.abc import Callable, Iterator

from gateway.camera_settings import CameraSettings
from gateway.errors import PictureError
from gateway.shot import Rhythm, Shot, Taking
from gateway.stills import MAX_PICTURE_BYTES, read_picture

# How long a wait for a picture goes on before it looks whether the camera is to stop.
_POLL_S = 0.25


class Mailbox:
    """Room for one message between the event loop and a camera's thread: the newest wins."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._payload: bytes | None = None

    def put(self, payload: bytes) -> bool:
        """Leave a message; return whether it replaced one that was not taken."""
        with self._changed:
            replaced = self._payload is not None
            self._payload = payload
            self._changed.notify()
        return replaced

    def take(self, timeout_s: float) -> bytes | None:
        """Return the message, or None when none came within that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._payload is not None, timeout_s)
            payload, self._payload = self._payload, None
        return payload


def mailbox_shots(camera: CameraSettings, taking: Taking, mailbox: Mailbox) -> Iterator[Shot]:
    """Yield the pictures that are left in a mailbox, at most `fps` a second, until stopped.

    What comes in between replaces what came before it.
    """
    rhythm = Rhythm(camera.fps, taking.wait)
    taking.on_open()
    while not rhythm.stopped():
        payload = _next(mailbox, taking.wait)
        if payload is None:
            return
        try:
            picture = read_picture(picture_bytes(payload, camera.field), taking.side)
        except PictureError:
            taking.on_skip()
            continue
        yield Shot(picture, None)


def picture_bytes(payload: bytes, field: str | None) -> bytes:
    """Return the picture in a message.

    Args:
        payload: the message's.
        field: the base64 text's place in a JSON object, levels apart by dots; None where the
            message is the picture.

    Raises:
        PictureError: the message is too large, or holds no picture at that place.
    """
    if len(payload) > MAX_PICTURE_BYTES:
        raise PictureError(f"{len(payload)} bytes are more than a picture has")
    if field is None:
        return payload
    try:
        value = json.loads(payload)
        for level in field.split("."):
            value = value[level]
        # A data URL ("data:image/jpeg;base64,…") has its text after the comma.
        text = str(value).rpartition(",")[2]
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as exc:
        raise PictureError(f"no base64 picture in the field {field}") from exc


def _next(mailbox: Mailbox, wait: Callable[[float], bool]) -> bytes | None:
    while (payload := mailbox.take(_POLL_S)) is None:
        if wait(0):
            return None
    return payload
