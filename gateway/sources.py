"""Where pictures come from: a directory of images, a video file or a URL.

Each kind is a generator that runs in its camera's thread and blocks there. It yields `Shot`s at
the pace asked for at most, and raises `SourceError` when there is nothing (more) to be had.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageOps, UnidentifiedImageError

from gateway.errors import SourceLostError, SourceOpenError
from gateway.pacing import Thinner
from gateway.panning import crop_box
from gateway.settings import CameraSettings, masked

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

# A picture larger than any camera's (64 Mpx) is a mistake or a decompression bomb.
MAX_PIXELS = 64_000_000

# How long each picture of a panned directory is looked at.
PAN_S = 5.0

# A camera on the home network answers within these or is not there.
OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 10.0

# FFmpeg's errors are sometimes one of Python's own kinds besides, sometimes not.
_VIDEO_ERRORS = (av.error.FFmpegError, OSError, ValueError)

# What Pillow raises for a file that is no image, or a broken one.
_IMAGE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture taken.

    Attributes:
        picture: at least as large as asked for, unless the source is smaller.
        media_s: its time in a recording, from its start; None where the source is live.
    """

    picture: Image.Image
    media_s: float | None


OnSkip = Callable[[], None]


def shots(camera: CameraSettings, side: int, on_skip: OnSkip) -> Iterator[Shot]:
    """Yield what the camera's source shows.

    Args:
        camera: its settings.
        side: the pixels that the short side should keep, where there are more.
        on_skip: called for each image or packet that cannot be read.

    Raises:
        SourceOpenError: it cannot be opened or holds nothing that can be read.
        SourceLostError: it was open and broke off.
    """
    if camera.is_url:
        return _stream_shots(camera.source, camera.fps, side, on_skip)
    path = Path(camera.source)
    if path.is_dir():
        return _directory_shots(path, camera, side, on_skip)
    if not path.exists():
        raise SourceOpenError(f"{path} does not exist; check `source`")
    if camera.pan:
        raise SourceOpenError(f"{path} is not a directory of images; remove `pan`")
    return _file_shots(camera, side, on_skip)


def _directory_shots(
    path: Path, camera: CameraSettings, side: int, on_skip: OnSkip
) -> Iterator[Shot]:
    files = _image_files(path)
    views = max(1, round(PAN_S * camera.fps)) if camera.pan else 1
    number = 0
    while True:
        readable = False
        for file in files:
            picture = _read_image(file, side, on_skip)
            if picture is None:
                continue
            readable = True
            for view in range(views):
                shown = (
                    picture.crop(crop_box(*picture.size, view / views)) if camera.pan else picture
                )
                yield Shot(shown, number / camera.fps)
                number += 1
        if not readable:
            raise SourceOpenError(f"none of the {len(files)} images in {path} can be read")
        if not camera.loop:
            return


def _image_files(path: Path) -> list[Path]:
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as exc:
        raise SourceOpenError(f"{path} cannot be listed: {exc.strerror}") from exc
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise SourceOpenError(f"{path} holds no images; put some there ({kinds})")
    return files


def _read_image(file: Path, side: int, on_skip: OnSkip) -> Image.Image | None:
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} px are too many")
            image.draft("RGB", (2 * side, 2 * side))  # a photograph decodes at 1/8 of its cost
            return ImageOps.exif_transpose(image).convert("RGB")
    except _IMAGE_ERRORS as exc:
        logger.debug("%s is skipped: %s", file, exc)
        on_skip()
        return None


def _file_shots(camera: CameraSettings, side: int, on_skip: OnSkip) -> Iterator[Shot]:
    passed_s = 0.0
    while True:
        thinner = Thinner(camera.fps)
        last_s: float | None = None
        for at_s, frame in _video_frames(camera.source, on_skip):
            last_s = at_s
            if thinner.take(at_s):
                yield Shot(_to_picture(frame, side), passed_s + at_s)
        if last_s is None:
            raise SourceOpenError(f"{camera.source} holds no video frame that can be decoded")
        if not camera.loop:
            return
        passed_s += last_s + 1 / camera.fps


def _stream_shots(url: str, fps: float, side: int, on_skip: OnSkip) -> Iterator[Shot]:
    thinner = Thinner(fps)
    for _, frame in _video_frames(url, on_skip):
        if thinner.take(time.monotonic()):
            yield Shot(_to_picture(frame, side), None)


def _video_frames(source: str, on_skip: OnSkip) -> Iterator[tuple[float, VideoFrame]]:
    """Yield every frame of a video and its time in seconds from the first one."""
    with _open_video(source) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first_s: float | None = None
        for number, frame in enumerate(_decoded(container, stream, source, on_skip)):
            at_s = frame.time if frame.time is not None else _guess_s(number, stream)
            first_s = at_s if first_s is None else first_s
            yield at_s - first_s, frame


def _open_video(source: str) -> InputContainer:
    # TCP: over UDP a lost packet smears grey over the picture until the next key frame.
    options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
    try:
        container = av.open(
            source, mode="r", options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        )
    except _VIDEO_ERRORS as exc:
        raise SourceOpenError(f"{masked(source)} cannot be opened: {_reason(exc)}") from exc
    if not container.streams.video:
        container.close()
        raise SourceOpenError(f"{masked(source)} has no picture, only sound or data")
    return container


def _decoded(
    container: InputContainer, stream: VideoStream, source: str, on_skip: OnSkip
) -> Iterator[VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except _VIDEO_ERRORS as exc:
            raise SourceLostError(f"{masked(source)} broke off: {_reason(exc)}") from exc
        if packet is None:
            return
        try:
            frames = packet.decode()
        except _VIDEO_ERRORS:  # a damaged packet costs itself, not the stream
            on_skip()
            continue
        yield from frames


def _guess_s(number: int, stream: VideoStream) -> float:
    rate = stream.average_rate or stream.base_rate or Fraction(25)
    return float(number / rate)


def _to_picture(frame: VideoFrame, side: int) -> Image.Image:
    """Return the frame in RGB, its short side no longer than twice what is asked for.

    FFmpeg's scaler does on the way what would otherwise convert every pixel of a 4K picture.
    """
    factor = min(1.0, 2 * side / min(frame.width, frame.height))
    rgb = frame.reformat(
        width=max(1, round(frame.width * factor)),
        height=max(1, round(frame.height * factor)),
        format="rgb24",
        interpolation="AREA",
    )
    return Image.fromarray(rgb.to_ndarray())


def _reason(exc: Exception) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return masked(text)


def endless(camera: CameraSettings) -> bool:
    """Return whether the source is meant to go on for ever, so that its end is a failure."""
    return camera.is_url or camera.loop
