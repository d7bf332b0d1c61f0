import io

import numpy as np
import pytest
from PIL import Image

from gateway.picture import FULL_COLOUR_SIDE, Fit, encode_jpeg, square


def stripes(width: int, height: int) -> Image.Image:
    """Left third red, middle green, right blue."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for colour in range(3):
        pixels[:, colour * width // 3 : (colour + 1) * width // 3, colour] = 255
    return Image.fromarray(pixels)


def noise(side: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("width", "height", "fit", "side", "expected"),
    [
        (300, 100, "crop", 96, 96),
        (300, 100, "stretch", 96, 96),
        (100, 300, "crop", 320, 100),  # never enlarged
        (100, 300, "stretch", 320, 300),
        (32, 32, "crop", 160, 32),
        (1, 1, "crop", 96, 1),
    ],
)
def test_square_has_the_side_asked_for_or_less(
    width: int, height: int, fit: Fit, side: int, expected: int
) -> None:
    assert square(stripes(width, height), side, fit).size == (expected, expected)


def test_crop_keeps_the_centre_and_stretch_keeps_all() -> None:
    picture = stripes(300, 100)
    cropped = np.asarray(square(picture, 50, "crop"))
    assert (cropped[:, 5:-5].reshape(-1, 3) == (0, 255, 0)).all()
    stretched = np.asarray(square(picture, 60, "stretch"))
    assert [tuple(stretched[30, x]) for x in (5, 30, 55)] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]


def test_a_picture_that_fits_is_left_as_it_is() -> None:
    picture = noise(64)
    assert np.array_equal(np.asarray(square(picture, 64, "crop")), np.asarray(picture))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("L", (8, 8), 200)
    converted = image if mode == "LA" else image.convert(mode)
    assert square(converted, 8, "crop").mode == "RGB"


@pytest.mark.parametrize(
    ("side", "chroma_side"),
    [(FULL_COLOUR_SIDE, FULL_COLOUR_SIDE), (FULL_COLOUR_SIDE + 16, (FULL_COLOUR_SIDE + 16) // 2)],
)
def test_small_pictures_keep_their_colour(side: int, chroma_side: int) -> None:
    jpeg = encode_jpeg(noise(side), 85, 1 << 18)
    with Image.open(io.BytesIO(jpeg)) as decoded:
        assert decoded.format == "JPEG"
        layers = decoded.layer  # type: ignore[attr-defined]
    horizontal = [layer[1] for layer in layers]
    assert side * horizontal[1] // horizontal[0] == chroma_side


def test_quality_gives_way_to_the_size_limit() -> None:
    picture = noise(128)
    large = encode_jpeg(picture, 95, 1 << 18)
    small = encode_jpeg(picture, 95, len(large) // 3)
    assert len(small) <= len(large) // 3


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit into 100 bytes"):
        encode_jpeg(noise(64), 85, 100)
