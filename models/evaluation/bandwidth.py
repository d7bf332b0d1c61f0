"""Bytes on the wire: of an answer (paper Eq. 3) and of a frame.

The message headers are those of the project's wire protocol; the tests hold the two together.
"""

import io
from collections.abc import Sequence

from PIL import Image

FLOAT_BYTES = 4
FRAME_HEADER_BYTES = 12
ANSWER_HEADER_BYTES = 22
BYTE_INDEX_CLASSES = 256
"""Up to so many classes one byte holds an index, above it takes two."""

FRAME_QUALITY = 85
"""The JPEG quality that the gateway sends at by default."""

FULL_COLOUR_SIDE = 160
"""Up to this side the gateway keeps colour at full resolution."""


def body_bytes(k: int, class_count: int) -> int:
    """Return h(k), the bytes of an answer's scores (Eq. 3).

    Raises:
        ValueError: k is outside [1, C].
    """
    if not 1 <= k <= class_count:
        raise ValueError(f"k must be in [1, {class_count}], not {k}")
    index_bytes = 1 if class_count <= BYTE_INDEX_CLASSES else 2
    if k == 1:
        return index_bytes
    if 2 * k > class_count:
        return FLOAT_BYTES * class_count
    return k * (FLOAT_BYTES + index_bytes)


def answer_bytes(k: int, class_count: int) -> int:
    """Return the bytes of one answer: header and h(k)."""
    return ANSWER_HEADER_BYTES + body_bytes(k, class_count)


def frame_sizes(pictures: Sequence[Image.Image], side: int, quality: int) -> list[int]:
    """Return the bytes of each picture's frame message, cut square and scaled to `side` pixels.

    The pictures are encoded as the gateway encodes them: centre crop, bilinear, baseline JPEG.

    Raises:
        ValueError: a picture's short side is below `side`; the gateway enlarges none.
    """
    subsampling = "4:4:4" if side <= FULL_COLOUR_SIDE else "4:2:0"
    sizes = []
    for picture in pictures:
        short = min(picture.size)
        if short < side:
            raise ValueError(f"a picture of {picture.size} has no {side} pixels a side")
        left, top = (picture.width - short) // 2, (picture.height - short) // 2
        box = (left, top, left + short, top + short)
        square = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR, box=box)
        buffer = io.BytesIO()
        square.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        sizes.append(FRAME_HEADER_BYTES + buffer.tell())
    return sizes
