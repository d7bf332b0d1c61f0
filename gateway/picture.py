"""One camera picture made into the one JPEG that every node gets."""

import io
from typing import Literal

from PIL import Image

Fit = Literal["crop", "stretch"]

# Up to this side colour is kept at full resolution: halving it would leave a small variant
# (96 px) with 48 × 48 colours, and costs only a few hundred bytes more.
FULL_COLOUR_SIDE = 160

# Each step back when a JPEG is too large for the wire; noise at a high quality can be.
QUALITY_STEP = 15
LOWEST_QUALITY = 10


def square(picture: Image.Image, side: int, fit: Fit) -> Image.Image:
    """Return the picture as an RGB square of at most `side` pixels.

    A picture smaller than that keeps its size: enlarging it adds bytes and no information.
    """
    width, height = picture.size
    if fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        box = (left, top, left + short, top + short)
    else:
        short = max(width, height)
        box = (0, 0, width, height)
    target = min(side, short)
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    if box == (0, 0, target, target):
        return rgb
    return rgb.resize((target, target), Image.Resampling.BILINEAR, box=box)


def encode_jpeg(picture: Image.Image, quality: int, max_bytes: int) -> bytes:
    """Return the picture as a JPEG of at most `max_bytes`, at a lower quality if it must be.

    Raises:
        ValueError: it does not fit at the lowest quality either.
    """
    subsampling = "4:4:4" if max(picture.size) <= FULL_COLOUR_SIDE else "4:2:0"
    while True:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        if buffer.tell() <= max_bytes:
            return buffer.getvalue()
        if quality <= LOWEST_QUALITY:
            raise ValueError(f"a picture of {picture.size} does not fit into {max_bytes} bytes")
        quality = max(LOWEST_QUALITY, quality - QUALITY_STEP)
