import io
import random
import struct

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from models.errors import DecodeError
from models.preprocess import EXIF_HEADER, MAX_PIXELS, decode_jpeg, resize

START_OF_FRAME = b"\xff\xc0"


def encode(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def halves(size: tuple[int, int] = (200, 100), mode: str = "RGB") -> Image.Image:
    """The left half red, the right half blue."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image.convert(mode)


def declaring(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    jpeg = bytearray(encode(Image.new("L", (8, 8))))
    at = jpeg.index(START_OF_FRAME) + 5  # behind marker, length and precision
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def test_picture_becomes_a_models_input() -> None:
    pixels = decode_jpeg(encode(halves(), quality=95), 32)
    assert pixels.shape == (1, 32, 32, 3)
    assert pixels.dtype == np.float32
    assert_allclose(pixels[0, :, :12], np.broadcast_to([255, 0, 0], (32, 12, 3)), atol=6)
    assert_allclose(pixels[0, :, 20:], np.broadcast_to([0, 0, 255], (32, 12, 3)), atol=6)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (31, 33), (64, 64), (1920, 1080)])
@pytest.mark.parametrize("resolution", [32, 320])
def test_any_size_of_picture_fits(size: tuple[int, int], resolution: int) -> None:
    pixels = decode_jpeg(encode(Image.new("RGB", size, "white")), resolution, (0.25, -0.25))
    assert pixels.shape == (1, resolution, resolution, 3)
    assert_allclose(pixels, 255, atol=2)


def test_reduced_decoding_looks_like_full_decoding() -> None:
    noise = Image.effect_noise((60, 40), 90).resize((960, 640), Image.Resampling.BICUBIC)
    jpeg = encode(noise.convert("RGB"), quality=95)
    with Image.open(io.BytesIO(jpeg)) as image:
        full = resize(image, 32)
    assert np.abs(decode_jpeg(jpeg, 32) - full).mean() < 2


@pytest.mark.parametrize(("mode", "white"), [("L", 255), ("CMYK", 0), ("RGB", (255, 255, 255))])
def test_every_colour_space_of_jpeg_becomes_rgb(mode: str, white: object) -> None:
    jpeg = encode(Image.new(mode, (80, 80), white))  # type: ignore[arg-type]
    assert_allclose(decode_jpeg(jpeg, 32), 255, atol=2)


def test_progressive_jpeg_is_decoded() -> None:
    pixels = decode_jpeg(encode(halves(), progressive=True, quality=95), 32)
    assert_allclose(pixels[0, 16, 2], [255, 0, 0], atol=6)


def test_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = encode(halves(), exif=exif)
    assert EXIF_HEADER in turned
    assert_array_equal(decode_jpeg(turned, 32), decode_jpeg(encode(halves()), 32))


def test_damaged_exif_is_of_no_consequence() -> None:
    broken = EXIF_HEADER + b"II*\0\x08\0\0\0\xff\xff\x12\x01"
    assert_array_equal(
        decode_jpeg(encode(halves(), exif=broken), 32), decode_jpeg(encode(halves()), 32)
    )


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 4, 100, 300, 0.5, 0.9])
def test_truncated_jpeg_is_refused(keep: float) -> None:
    jpeg = encode(Image.effect_noise((300, 200), 90))
    length = keep if isinstance(keep, int) else int(keep * len(jpeg))
    with pytest.raises(DecodeError, match="not a JPEG that can be decoded"):
        decode_jpeg(jpeg[:length], 32)


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP", "WEBP"])
def test_other_formats_are_refused(format_: str) -> None:
    stream = io.BytesIO()
    halves().save(stream, format_)
    with pytest.raises(DecodeError):
        decode_jpeg(stream.getvalue(), 32)


# Pillow's own check warns from 89 million pixels and raises from 179 million; ours comes first.
@pytest.mark.parametrize(
    "size", [(5001, 5000), (10_000, 10_000), (18_000, 10_000), (65_535, 65_535)]
)
def test_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(DecodeError, match=f"{size[0]} × {size[1]} pixels, at most {MAX_PIXELS}"):
        decode_jpeg(declaring(*size), 32)


def test_picture_without_height_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_jpeg(declaring(10, 0), 32)


def test_any_bytes_decode_or_raise_decode_error() -> None:
    rng = random.Random(0)
    exif = EXIF_HEADER + b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    pictures = [
        encode(halves(), exif=exif, icc_profile=b"profile" * 20),
        encode(halves(mode="CMYK")),
        encode(halves(mode="L"), progressive=True),
    ]
    for _ in range(1500):
        damaged = bytearray(rng.choice(pictures))
        for _ in range(rng.choice((1, 2, 5))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            pixels = decode_jpeg(bytes(damaged), 8)
        except DecodeError:
            continue
        assert pixels.shape == (1, 8, 8, 3)


def test_resize_without_change_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert_array_equal(resize(Image.fromarray(pixels), 32)[0], pixels)


@pytest.mark.parametrize(
    ("offset", "first_column", "last_column"),
    [((0.0, 0.0), 0, 99), ((0.25, 0.0), 25, 99), ((-0.25, 0.0), 0, 74), ((0.0, 0.25), 0, 99)],
)
def test_input_offset_shifts_the_box_and_clips_it(
    offset: tuple[float, float], first_column: int, last_column: int
) -> None:
    columns = np.broadcast_to(np.arange(100, dtype=np.uint8), (100, 100))  # value = column
    pixels = resize(Image.fromarray(columns), 100, offset)
    assert abs(pixels[0, 50, 0, 0] - first_column) <= 1
    assert abs(pixels[0, 50, -1, 0] - last_column) <= 1


def test_input_offset_downwards_leaves_out_the_top() -> None:
    rows = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, np.newaxis], (100, 100))
    assert abs(resize(Image.fromarray(rows), 100, (0.0, 0.25))[0, 0, 0, 0] - 25) <= 1


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"]
)
def test_every_mode_of_picture_is_resized(mode: str) -> None:
    pixels = resize(Image.new(mode, (20, 10)), 8)
    assert pixels.shape == (1, 8, 8, 3)
    assert pixels.dtype == np.float32


def test_16_bit_grey_keeps_its_brightness() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 20), 0x80FF, dtype=np.uint16)).save(stream, "PNG")
    with Image.open(stream) as image:
        assert_array_equal(resize(image, 8), np.full((1, 8, 8, 3), 0x80))


def test_transparent_palette_is_resized() -> None:
    image = halves().quantize(4)
    image.info["transparency"] = b"\0\xff"
    assert_allclose(resize(image, 32)[0, 16, 2], [255, 0, 0], atol=2)
