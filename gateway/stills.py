"""A picture out of bytes or a file that anybody may have written: upright RGB, or refused.

Pictures come over the network from devices that crash, run full and are replaced by others, so
nothing in them is taken on trust: not the size they declare, not their format, not their EXIF.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gateway.errors import PictureError

# What cameras send and people keep. Pillow would also open formats that start other programs.
FORMATS = tuple(
    one.format for one in (JpegImageFile, PngImageFile, WebPImageFile, BmpImageFile, TiffImageFile)
)

# A picture larger than any camera's (64 Mpx; 8K has 33) is a mistake or a decompression bomb.
MAX_PIXELS = 64_000_000

# Below it there is nothing to recognise; some cameras send one pixel while they start.
MIN_SIDE = 8

# An 8K JPEG of the best quality has less.
MAX_PICTURE_BYTES = 32 * 1024 * 1024


def read_picture(content: bytes | Path, side: int) -> Image.Image:
    """Return a picture upright and in RGB.

    Args:
        content: the picture's bytes, or its file.
        side: the pixels that the short side should keep; a JPEG is decoded at up to 1/8 of its
            size, but never below twice that.

    Raises:
        PictureError: it is none, is cut off, or has too many or too few pixels.
    """
    try:
        with Image.open(
            io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS
        ) as image:
            check_size(*image.size)
            image.draft("RGB", (2 * side, 2 * side))
            image.load()
            return _to_rgb(_upright(image))
    except PictureError:
        raise
    except Exception as exc:  # Pillow's parsers raise whatever they stumble over
        raise PictureError(f"no picture: {exc}") from exc


def check_size(width: int, height: int) -> None:
    """Refuse sizes that no camera has.

    Raises:
        PictureError: too many pixels, or too few.
    """
    if width * height > MAX_PIXELS:
        raise PictureError(f"{width} × {height} px are more than {MAX_PIXELS}")
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{width} × {height} px are too few to show anything")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - broken EXIF costs its rotation, not the picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: Pillow would clip them, so that all is white
        levels = np.asarray(image, dtype=np.int64) >> 8
        image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
