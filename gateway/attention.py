"""What of a camera's pictures goes to the nodes: the motion gate and the crop, on real pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gateway.camera_settings import CameraSettings
from gateway.motion import MotionGate, working_size
from gateway.regions import Box, crop_around


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """A picture, or the part of one, that is worth sending.

    Attributes:
        picture: what goes out.
        region: which part of the frame that is; None for all of it.
    """

    picture: Image.Image
    region: Box | None


class Attention:
    """Decides about one camera's pictures, one after the other."""

    def __init__(self, camera: CameraSettings) -> None:
        motion = camera.motion
        continuous = shows_a_place(camera)
        self._gates = continuous if motion.gate is None else motion.gate
        self._crops = continuous if motion.crop is None else motion.crop
        self._settings = motion
        self._gate = MotionGate(motion) if self._gates or self._crops else None

    def side(self, side: int) -> int:
        """Return how many pixels a frame's short side must keep so that a crop has `side`.

        Sources keep up to twice what they are asked for.
        """
        return max(side, round(side / (2 * self._settings.min_side))) if self._crops else side

    def look(self, picture: Image.Image, now_s: float) -> Glance | None:
        """Return what to send of a picture, or None where it is not worth it."""
        if self._gate is None:
            return Glance(picture, None)
        small = picture.resize(working_size(*picture.size), Image.Resampling.BOX)
        sighting = self._gate.look(np.asarray(small.convert("L")), now_s)
        if self._gates and not sighting.send:
            return None
        if not self._crops or sighting.region is None:
            return Glance(picture, None)
        width, height = picture.size
        box = crop_around(
            sighting.region,
            width / height,
            margin=self._settings.margin,
            min_side=self._settings.min_side,
        )
        left, top = round(box.x * width), round(box.y * height)
        right, bottom = round((box.x + box.width) * width), round((box.y + box.height) * height)
        return Glance(picture.crop((left, top, max(right, left + 1), max(bottom, top + 1))), box)


def shows_a_place(camera: CameraSettings) -> bool:
    """Return whether a camera's pictures show one place continuously, so that motion means much.

    Those of a directory or an MQTT topic stand for themselves: somebody chose each of them.
    """
    if camera.kind in ("mqtt", "watch"):
        return False
    return not camera.is_path or Path(camera.source).is_file()
