"""Frames of a video through PyAV: streams (RTSP, RTMP, MJPEG), files and V4L2 devices."""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from gateway.camera_settings import CameraSettings
from gateway.errors import PictureError, SourceLostError, SourceOpenError
from gateway.settings import masked
from gateway.stills import check_size

# A camera on the home network answers within these or is not there.
OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 10.0

# FFmpeg's errors are sometimes one of Python's own kinds besides, sometimes not.
_VIDEO_ERRORS = (av.error.FFmpegError, OSError, ValueError)

_ROTATIONS = {
    90: Image.Transpose.ROTATE_90,
    -90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
}


def video_frames(
    camera: CameraSettings, on_skip: Callable[[], None]
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield every frame of a video and its time in seconds from the first one.

    Args:
        camera: whose source it is.
        on_skip: called for each packet that cannot be decoded and each frame of a size that no
            camera has.

    Raises:
        SourceOpenError: it cannot be opened, or is no video.
        SourceLostError: it was open and broke off, or fell silent.
    """
    with _open(camera) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first_s: float | None = None
        shown = masked(camera.source)
        for number, frame in enumerate(_decoded(container, stream, shown, on_skip)):
            at_s = frame.time if frame.time is not None else _guess_s(number, stream)
            first_s = at_s if first_s is None else first_s
            yield at_s - first_s, frame


def to_picture(frame: VideoFrame, side: int) -> Image.Image:
    """Return a frame upright and in RGB, its short side no longer than twice what is asked for.

    FFmpeg's scaler does on the way what would otherwise convert every pixel of a 4K picture.
    """
    factor = min(1.0, 2 * side / min(frame.width, frame.height))
    rgb = frame.reformat(
        width=max(1, round(frame.width * factor)),
        height=max(1, round(frame.height * factor)),
        format="rgb24",
        interpolation="AREA",
    )
    picture = Image.fromarray(rgb.to_ndarray())
    turn = _ROTATIONS.get(frame.rotation)
    return picture if turn is None else picture.transpose(turn)


def _open(camera: CameraSettings) -> InputContainer:
    shown = masked(camera.source)
    try:
        container = av.open(
            camera.url,
            mode="r",
            # By name: probing would take a device for a file.
            format="v4l2" if camera.is_device else None,
            options=_options(camera),
            timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
        )
    except _VIDEO_ERRORS as exc:
        raise SourceOpenError(f"{shown} cannot be opened: {_reason(exc)}") from exc
    if not container.streams.video:
        container.close()
        raise SourceOpenError(f"{shown} has no picture, only sound or data")
    return container


def _options(camera: CameraSettings) -> dict[str, str]:
    options: dict[str, str] = {}
    if re.match("rtsps?://", camera.source, re.IGNORECASE):
        # TCP: over UDP a lost packet smears grey over the picture until the next key frame.
        options["rtsp_transport"] = "tcp"
    return options | camera.options


def _decoded(
    container: InputContainer, stream: VideoStream, shown: str, on_skip: Callable[[], None]
) -> Iterator[VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except _VIDEO_ERRORS as exc:
            raise SourceLostError(f"{shown} broke off: {_reason(exc)}") from exc
        if packet is None:
            return
        try:
            frames = packet.decode()
        except _VIDEO_ERRORS:  # a damaged packet costs itself, not the stream
            on_skip()
            continue
        for frame in frames:
            try:
                check_size(frame.width, frame.height)
            except PictureError:
                on_skip()
                continue
            yield frame


def _guess_s(number: int, stream: VideoStream) -> float:
    rate = stream.average_rate or stream.base_rate or Fraction(25)
    return float(number / rate)


def _reason(exc: Exception) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return masked(text)
