"""What the motion gate keeps at home of a real camera's clip, and what it lets through."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from broker.codecs import MAX_JPEG_BYTES
from gateway.attention import Attention
from gateway.camera_settings import CameraSettings
from gateway.motion import MotionGate, working_size
from gateway.pacing import Thinner
from gateway.picture import encode_jpeg, square
from gateway.video import to_picture, video_frames

CLIP = Path(__file__).parents[2] / "shared" / "media" / "one-by-one-person-detection.mp4"

# When somebody can be seen in the clip, seconds from the first glimpse to the last; by eye, at five
# frames a second.
APPEARANCES = (
    (6.0, 20.0),
    (22.8, 44.8),
    (50.4, 69.6),
    (74.8, 86.8),
    (92.4, 119.6),
    (123.6, 135.6),
)
FPS = 2.0
SIDE = 160
QUALITY = 85
TARGET_MS = 2.0
TARGET_SEEN = 0.95
TARGET_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a clip's frames.

    Attributes:
        frames: all of them.
        empty: those without a person.
        empty_sent: how many of these were sent.
        person_sent: share of the others that were sent.
        seen: share of the appearances of which at least one frame was sent.
        bytes_all: what sending every whole frame takes, JPEGs alone.
        bytes_sent: what was sent.
        look_ms: CPU time of the gate for each frame, median.
    """

    frames: int
    empty: int
    empty_sent: int
    person_sent: float
    seen: float
    bytes_all: int
    bytes_sent: int
    look_ms: float


def measure(clip: Path = CLIP, fps: float = FPS) -> Figures:
    """Send a clip's frames through the gate as it is by default, but without the interval."""
    camera = CameraSettings.model_validate(
        {"source": str(clip), "fps": fps, "motion": {"full_every_s": None}}
    )
    attention, gate = Attention(camera), MotionGate(camera.motion)
    thinner = Thinner(fps)
    times_ms, sent, all_s = [], [], []
    bytes_all = bytes_sent = 0
    for at_s, frame in video_frames(camera, lambda: None):
        if not thinner.take(at_s):
            continue
        picture = to_picture(frame, attention.side(SIDE))
        small = np.asarray(picture.resize(working_size(*picture.size)).convert("L"))
        began_s = time.thread_time()
        gate.look(small, at_s)
        times_ms.append((time.thread_time() - began_s) * 1000)
        glance = attention.look(picture, at_s)
        all_s.append(at_s)
        bytes_all += len(encode_jpeg(square(picture, SIDE, "crop"), QUALITY, MAX_JPEG_BYTES))
        if glance is not None:
            sent.append(at_s)
            part = square(glance.picture, SIDE, "crop")
            bytes_sent += len(encode_jpeg(part, QUALITY, MAX_JPEG_BYTES))
    empty = [at_s for at_s in all_s if not _somebody(at_s)]
    empty_sent = [at_s for at_s in sent if not _somebody(at_s)]
    seen = [any(first <= at_s <= last for at_s in sent) for first, last in APPEARANCES]
    return Figures(
        frames=len(all_s),
        empty=len(empty),
        empty_sent=len(empty_sent),
        person_sent=(len(sent) - len(empty_sent)) / (len(all_s) - len(empty)),
        seen=sum(seen) / len(seen),
        bytes_all=bytes_all,
        bytes_sent=bytes_sent,
        look_ms=float(np.median(times_ms)),
    )


def motion() -> list[Row]:
    """Return a row for what is kept, what is seen, what that saves, and what it costs."""
    figures = measure()
    kept = 1 - figures.empty_sent / figures.empty
    saved = 1 - figures.bytes_sent / figures.bytes_all
    somebody = 1 - figures.empty / figures.frames
    what = f"motion gate, {CLIP.stem} at {FPS:g} fps"
    return [
        Row(f"{what}: frames without a person kept at home",
            f"{kept:.0%} of {figures.empty}", f"> {TARGET_KEPT:.0%}", kept > TARGET_KEPT),
        Row(f"{what}: appearances that produce a frame",
            f"{figures.seen:.0%} of {len(APPEARANCES)}, {figures.person_sent:.0%} of their frames",
            f"≥ {TARGET_SEEN:.0%}", figures.seen >= TARGET_SEEN),
        Row(f"{what}: bytes saved where somebody is there {somebody:.0%} of the time",
            f"{saved:.0%} of {figures.bytes_all / 1000:.0f} kB", "> 0 %", saved > 0),
        Row("motion gate: CPU time for a frame, median",
            f"{figures.look_ms:.2f} ms", f"≤ {TARGET_MS:g} ms", figures.look_ms <= TARGET_MS),
    ]  # fmt: skip


def _somebody(at_s: float) -> bool:
    return any(first <= at_s <= last for first, last in APPEARANCES)
