import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.errors import PictureError
from gateway.stills import MIN_SIDE, read_picture

COLOURS: dict[str, int | tuple[int, ...]] = {
    "L": 200,
    "LA": (200, 128),
    "CMYK": (0, 100, 200, 0),
    "P": 3,
    "RGBA": (9, 8, 7, 128),
}


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mean(picture: Image.Image) -> tuple[int, ...]:
    return tuple(round(value) for value in np.asarray(picture).mean((0, 1)))


JPEG = encoded(Image.effect_noise((64, 48), 60).convert("RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_every_usual_format_is_read(kind: str) -> None:
    picture = read_picture(encoded(Image.new("RGB", (40, 30), (200, 50, 20)), kind), 96)
    assert (picture.mode, picture.size) == ("RGB", (40, 30))
    assert mean(picture) == pytest.approx((200, 50, 20), abs=4)


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [
        ("L", "JPEG", (200, 200, 200)),
        ("L", "PNG", (200, 200, 200)),
        ("LA", "PNG", (200, 200, 200)),
        ("P", "PNG", None),
        ("1", "PNG", (0, 0, 0)),
        ("RGBA", "PNG", (9, 8, 7)),
        ("CMYK", "JPEG", (255, 155, 55)),
    ],
)
def test_every_colour_mode_becomes_rgb(
    mode: str, kind: str, expected: tuple[int, ...] | None
) -> None:
    picture = read_picture(encoded(Image.new(mode, (40, 30), COLOURS.get(mode, 0)), kind), 96)
    assert picture.mode == "RGB"
    if expected is not None:
        assert mean(picture) == pytest.approx(expected, abs=4)


def test_sixteen_bits_of_grey_keep_their_shades() -> None:
    levels = np.full((30, 40), 0x8000, dtype=np.uint16)
    picture = read_picture(encoded(Image.fromarray(levels), "PNG"), 96)
    assert mean(picture) == (128, 128, 128)


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (39, 19)), (6, (19, 0)), (8, (0, 39))]
)
def test_exif_turns_the_picture_upright(orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:8, :8] = 255  # upper left as the sensor saw it
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(encoded(Image.fromarray(pixels), exif=exif, quality=95), 96)
    assert picture.size == ((20, 40) if orientation in (6, 8) else (40, 20))
    level = picture.getpixel(corner)
    assert isinstance(level, tuple)
    assert min(level) > 200


def test_eight_k_is_decoded_small() -> None:
    picture = read_picture(encoded(Image.new("RGB", (7680, 4320))), 96)
    assert picture.size == (960, 540)


def test_a_declared_bomb_is_refused_unread() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    with pytest.raises(PictureError):
        read_picture(bomb, 96)


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE - 1, 500), (500, 1)])
def test_a_picture_of_hardly_any_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="too few"):
        read_picture(encoded(Image.new("RGB", size)), 96)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8", JPEG[:40], JPEG[: len(JPEG) // 2], b"<html>401</html>", b"GIF89a\x01\x00"],
)
def test_what_is_no_whole_picture_is_refused(content: bytes) -> None:
    with pytest.raises(PictureError, match="no picture"):
        read_picture(content, 96)


def test_formats_that_start_programs_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n%%EOF\n")
    with pytest.raises(PictureError):
        read_picture(file, 96)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), max_size=30))
def test_damage_costs_the_picture_at_most(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(JPEG)
    for at, value in changes:
        damaged[at] = value
    try:
        picture = read_picture(bytes(damaged), 32)
    except PictureError:
        return
    assert picture.mode == "RGB"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_refused(content: bytes) -> None:
    with pytest.raises(PictureError):
        read_picture(content, 32)
