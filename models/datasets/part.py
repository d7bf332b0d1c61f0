"""One part of a data set, train or test: which pictures it has, before they are decoded."""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import PictureError
from models.preprocess import to_rgb

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

MAX_PICTURE_PIXELS = 89_000_000
"""A picture that unpacks to more (267 MB) is taken for a bomb; no camera at home makes such."""

UNDECODABLE = (
    OSError,  # a missing or truncated file, or no picture at all
    SyntaxError,  # PNG
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow's decoders are known to raise at damaged files."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Listed pictures, either files to decode or arrays that a data set's own file held.

    Attributes:
        labels: class names as people read them, in the order of their indices.
        targets: shape (N,), index into `labels`.
        files: each picture's file; of an array, the file it came from and its place there.
        pixels: shape (N, H, W, 3), RGB, of a part that is arrays.
        keys: what a data map calls each class (a folder's name); by default the labels.
    """

    labels: tuple[str, ...]
    targets: Ints
    files: tuple[Path, ...]
    pixels: Bytes | None = None
    keys: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.keys:
            object.__setattr__(self, "keys", self.labels)

    def __len__(self) -> int:
        return len(self.files)

    def of_class(self, target: int) -> Ints:
        """Return the indices of a class's pictures, in order."""
        return np.flatnonzero(self.targets == target)

    def counts(self) -> Ints:
        """Return how many pictures each class has, shape (len(labels),)."""
        return np.bincount(self.targets, minlength=len(self.labels))

    def first_of_each_class(self, limit: int) -> "Part":
        """Return at most the first `limit` pictures of each class, in the order they stand."""
        chosen = np.sort(
            np.concatenate([self.of_class(target)[:limit] for target in range(len(self.labels))])
        )
        return Part(
            self.labels,
            self.targets[chosen],
            tuple(self.files[index] for index in chosen),
            None if self.pixels is None else self.pixels[chosen],
            self.keys,
        )

    def size(self, index: int) -> tuple[int, int]:
        """Return a picture's width and height in pixels as stored, from a file's header alone.

        Raises:
            PictureError: it cannot be read.
        """
        if self.pixels is not None:
            return self.pixels.shape[2], self.pixels.shape[1]
        try:
            with Image.open(self.files[index]) as image:
                return image.size
        except UNDECODABLE as exc:
            raise PictureError(self.files[index], _reason(exc)) from exc

    def picture(self, index: int, side: int | None = None) -> Image.Image:
        """Return a picture as RGB, upright.

        Args:
            index: which.
            side: where given, a large JPEG may come scaled down, to no less than twice this many
                pixels a side: at full size a camera's photographs take several times as long.

        Raises:
            PictureError: it cannot be decoded.
        """
        if self.pixels is not None:
            return Image.fromarray(np.ascontiguousarray(self.pixels[index]))
        file = self.files[index]
        try:
            with Image.open(file) as image:
                if image.width * image.height > MAX_PICTURE_PIXELS:
                    raise PictureError(file, f"has {image.width} × {image.height} pixels, too many")
                if side is not None:
                    image.draft("RGB", (2 * side, 2 * side))
                # A phone's photos lie on their side.
                return to_rgb(ImageOps.exif_transpose(image))
        except UNDECODABLE as exc:
            raise PictureError(file, _reason(exc)) from exc


def square(picture: Image.Image, side: int) -> Bytes:
    """Return a picture's centre as (side, side, 3), antialiased bilinear."""
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    box = (left, top, left + short, top + short)
    # Cropped first: a filter over a box would mix in what lies beyond it.
    return np.asarray(picture.crop(box).resize((side, side), Image.Resampling.BILINEAR))


def _reason(exc: Exception) -> str:
    if isinstance(exc, FileNotFoundError):
        return "is not there"
    if isinstance(exc, UnidentifiedImageError):
        return "is no picture that can be recognised"
    if isinstance(exc, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"has more than {MAX_PICTURE_PIXELS // 1_000_000} million pixels"
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return f"cannot be decoded: {' '.join(text.split()) or type(exc).__name__}"
