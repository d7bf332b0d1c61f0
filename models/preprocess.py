"""From a JPEG to what a model takes: (1, ρ, ρ, 3) RGB, 0 to 255, float32.

Normalisation is inside the models' graphs, so this is all an agent in any language has to do.
The whole picture is squeezed to a square; `input_offset` shifts what is seen, by which variants
of one resolution still see slightly different inputs (paper III-B).

A picture's EXIF orientation is not applied: cameras that hang upside down are turned by the
camera or by the gateway, once, and not by every node.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from models.errors import DecodeError

# A large photograph, 75 MB once decoded. A few hundred bytes can declare 65,535 × 65,535: 12 GiB.
MAX_PIXELS = 25_000_000

# Decoding at a reduced scale keeps at least this many source pixels per model pixel and axis,
# so that the bilinear filter still has something to average.
DRAFT_FACTOR = 2

EXIF_HEADER = b"Exif\0\0"

Pixels = npt.NDArray[np.float32]


def decode_jpeg(
    jpeg: bytes, resolution: int, input_offset: tuple[float, float] = (0.0, 0.0)
) -> Pixels:
    """Return a JPEG's picture as a model's input.

    Args:
        jpeg: one JPEG file, colour, grey or CMYK.
        resolution: ρ, the side of the model's input in pixels.
        input_offset: how far the sampled box is shifted right and down, see `resize`.

    Returns:
        Shape (1, ρ, ρ, 3), RGB in [0, 255].

    Raises:
        DecodeError: the bytes are no JPEG, end too early, or hold more than MAX_PIXELS.
    """
    draft_size = (DRAFT_FACTOR * resolution, DRAFT_FACTOR * resolution)
    # Pillow reads EXIF while it opens and warns where that is damaged; nothing of it is used here.
    jpeg = jpeg.replace(EXIF_HEADER, b"none\0\0")
    try:
        # Not Image.open: of 90 to 180 million pixels that only warns, and it loads every format.
        with JpegImageFile(io.BytesIO(jpeg)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DecodeError(
                    f"the picture has {width} × {height} pixels, at most {MAX_PIXELS} are decoded"
                )
            # libjpeg scales by 1/2, 1/4 or 1/8 while it decodes, never below the size asked for.
            image.draft("RGB", draft_size)
            return resize(image, resolution, input_offset)
    except (OSError, SyntaxError, ValueError) as exc:
        raise DecodeError(f"the picture is not a JPEG that can be decoded: {exc}") from exc


def resize(
    image: Image.Image, resolution: int, input_offset: tuple[float, float] = (0.0, 0.0)
) -> Pixels:
    """Return a picture of any mode and size as a model's input.

    Args:
        image: the picture.
        resolution: ρ, the side of the model's input in pixels.
        input_offset: (dx, dy) in fractions of the picture's width and height. The box that is
            sampled is shifted by it and clipped to the picture: (0.1, 0) sees all but the left
            tenth.

    Returns:
        Shape (1, ρ, ρ, 3), RGB in [0, 255].
    """
    width, height = image.size
    dx, dy = input_offset
    box = (
        max(0.0, dx) * width,
        max(0.0, dy) * height,
        min(1.0, 1.0 + dx) * width,
        min(1.0, 1.0 + dy) * height,
    )
    square = to_rgb(image).resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
    return np.asarray(square, dtype=np.float32)[np.newaxis]


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as 8-bit RGB; transparency is dropped."""
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        grey = np.asarray(image).clip(0, 65535) >> 8
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")
