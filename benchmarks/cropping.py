"""Whether cutting out what moves helps a classifier of whole pictures, on a real camera's clip.

The judge is a third party's MobileNetV2 1.0 at 224 px on ImageNet, which has no class "person" but
many for what people wear: a frame counts when one of these is among its five best.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.motion import CLIP, FPS
from benchmarks.rows import Row
from gateway.attention import Attention
from gateway.camera_settings import CameraSettings
from gateway.pacing import Thinner
from gateway.picture import square
from gateway.video import to_picture, video_frames
from models.runtime import load_interpreter

WEIGHTS = CLIP.parents[1] / "weights"
MODEL = WEIGHTS / "mobilenet_v2_1.0_224_quant.tflite"
LABELS = WEIGHTS / "imagenet_labels_1001.txt"
SIDE = 224
BEST = 5
WORN = (
    "abaya", "academic gown", "bow tie", "cardigan", "cloak", "fur coat", "gown", "hoopskirt",
    "jean", "jersey", "kimono", "lab coat", "miniskirt", "overskirt", "pajama", "poncho", "sarong",
    "stole", "suit", "sweatshirt", "trench coat", "vestment", "windsor tie", "wool",
)  # fmt: skip

# Where the clip's middle stands in the far scene, at 44 % of its height: low and to the right.
FAR_SIZE = (1280, 720)
FAR_HEIGHT = 320
FAR_AT = (700, 300)


def cropping() -> list[Row]:
    """Return a row for the clip as it is, and one for the same people far from the camera."""
    rows = [_row("as it is", lambda picture: picture)]
    package = importlib.util.find_spec("skimage")
    if package is not None and package.origin is not None:
        room = Image.open(Path(package.origin).parent / "data" / "coffee.png").convert("RGB")
        room = room.resize(FAR_SIZE)
        rows.append(_row("people at 44 % of a still picture's height", lambda one: _far(room, one)))
    return rows


def _row(what: str, scene: Callable[[Image.Image], Image.Image]) -> Row:
    camera = CameraSettings.model_validate(
        {"source": str(CLIP), "fps": FPS, "motion": {"full_every_s": None}}
    )
    attention, judge = Attention(camera), _Judge()
    thinner = Thinner(FPS)
    crops = whole = moving = 0
    for at_s, frame in video_frames(camera, lambda: None):
        if not thinner.take(at_s):
            continue
        picture = scene(to_picture(frame, 10_000))
        glance = attention.look(picture, at_s)
        if glance is None or glance.region is None:
            continue
        moving += 1
        crops += judge.sees_clothes(square(glance.picture, SIDE, "crop"))
        whole += judge.sees_clothes(square(picture, SIDE, "crop"))
    return Row(
        f"clothes among the {BEST} best of {moving} moving frames, cropped: {what}",
        f"{crops / moving:.0%}",
        "≥ whole − 2 %",
        crops >= whole - 0.02 * moving,
        f"whole frames {whole / moving:.0%}",
    )


def _far(room: Image.Image, picture: Image.Image) -> Image.Image:
    width = picture.width * FAR_HEIGHT // picture.height
    small = picture.resize((width, FAR_HEIGHT)).crop((60, 0, width - 60, FAR_HEIGHT))
    scene = room.copy()
    scene.paste(small, FAR_AT)
    return scene


class _Judge:
    """The third party's classifier; it takes and gives bytes."""

    def __init__(self) -> None:
        self._interpreter = load_interpreter(MODEL.read_bytes())
        self._interpreter.allocate_tensors()
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        self._output = int(self._interpreter.get_output_details()[0]["index"])
        labels = LABELS.read_text().lower().splitlines()
        self._worn = np.array([any(word in label for word in WORN) for label in labels])

    def sees_clothes(self, picture: Image.Image) -> bool:
        pixels = np.asarray(picture.resize((SIDE, SIDE)), dtype=np.uint8)[None]
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        scores = self._interpreter.get_tensor(self._output)[0]
        return bool(self._worn[np.argsort(scores)[-BEST:]].any())
