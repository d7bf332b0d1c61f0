"""Where pictures come from: the one place that knows every kind of source.

Each kind is a generator that runs in its camera's thread and blocks there. It yields `Shot`s at
the pace asked for at most, and raises `SourceError` when there is nothing (more) to be had.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.camera_settings import CameraSettings
from gateway.errors import SourceOpenError
from gateway.folder import directory_shots, watched_shots
from gateway.mailbox import Mailbox, mailbox_shots
from gateway.pacing import Thinner
from gateway.shot import Shot, Taking
from gateway.snapshot import answers_with_a_picture, snapshot_shots
from gateway.video import to_picture, video_frames


def shots(camera: CameraSettings, taking: Taking, mailbox: Mailbox | None = None) -> Iterator[Shot]:
    """Yield what the camera's source shows.

    Args:
        camera: its settings.
        taking: how pictures are taken for it.
        mailbox: where pictures from MQTT arrive; only for kind `mqtt`.

    Raises:
        SourceOpenError: it cannot be opened or holds nothing that can be read.
        SourceLostError: it was open and broke off.
    """
    match camera.kind:
        case "mqtt":
            return mailbox_shots(camera, taking, mailbox or Mailbox())
        case "watch":
            return watched_shots(Path(camera.source), camera, taking)
        case "snapshot":
            return snapshot_shots(camera, taking)
    if camera.is_url:
        asks = camera.kind == "auto" and re.match("https?://", camera.source, re.IGNORECASE)
        if asks and answers_with_a_picture(camera):
            return snapshot_shots(camera, taking)
        return _stream_shots(camera, taking)
    path = Path(camera.source)
    if not path.exists():
        raise SourceOpenError(f"{path} does not exist; check `source`")
    if camera.is_device:
        return _stream_shots(camera, taking)
    if path.is_dir():
        return directory_shots(path, camera, taking)
    if camera.pan:
        raise SourceOpenError(f"{path} is not a directory of images; remove `pan`")
    return _file_shots(camera, taking)


def endless(camera: CameraSettings) -> bool:
    """Return whether the source is meant to go on for ever, so that its end is a failure."""
    return camera.is_live or camera.loop


def _file_shots(camera: CameraSettings, taking: Taking) -> Iterator[Shot]:
    passed_s = 0.0
    while True:
        thinner = Thinner(camera.fps)
        last_s: float | None = None
        for at_s, frame in video_frames(camera, taking.on_skip):
            last_s = at_s
            if thinner.take(at_s):
                yield Shot(to_picture(frame, taking.side), passed_s + at_s)
        if last_s is None:
            raise SourceOpenError(f"{camera.source} holds no video frame that can be decoded")
        if not camera.loop:
            return
        passed_s += last_s + 1 / camera.fps


def _stream_shots(camera: CameraSettings, taking: Taking) -> Iterator[Shot]:
    thinner = Thinner(camera.fps)
    for _, frame in video_frames(camera, taking.on_skip):
        if thinner.take(time.monotonic()):
            yield Shot(to_picture(frame, taking.side), None)
