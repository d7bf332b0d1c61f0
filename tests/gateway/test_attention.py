from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gateway.attention import Attention, shows_a_place
from gateway.camera_settings import CameraSettings

SIZE = (640, 360)


def camera(source: str = "rtsp://h/x", **changes: Any) -> CameraSettings:
    return CameraSettings.model_validate({"source": source} | changes)


def picture(at: tuple[int, int] | None = None) -> Image.Image:
    pixels = np.kron(np.random.default_rng(0).uniform(40, 120, (18, 32, 3)), np.ones((20, 20, 1)))
    if at is not None:
        x, y = at
        pixels[y : y + 80, x : x + 60] = (255, 200, 0)
    return Image.fromarray(pixels.astype(np.uint8))


def test_still_pictures_stay_and_moving_ones_are_cropped() -> None:
    attention = Attention(camera(motion={"hold_s": 0, "margin": 0.1}))
    first = attention.look(picture(), 0)
    assert first is not None
    assert first.region is None
    assert attention.look(picture(), 1) is None
    moved = attention.look(picture((400, 200)), 2)
    assert moved is not None
    assert moved.region is not None
    assert moved.picture.width == moved.picture.height < 200
    share = (np.asarray(moved.picture)[..., 0] == 255).mean()
    assert share > 0.2
    assert moved.region.x * SIZE[0] == pytest.approx(400, abs=80)


@pytest.mark.parametrize(
    ("motion", "still_is_sent", "crops"),
    [
        ("off", True, False),
        ({"gate": False}, True, True),
        ({"crop": False}, False, False),
        ({}, False, True),
    ],
)
def test_gate_and_crop_are_switched_apart(motion: Any, still_is_sent: bool, crops: bool) -> None:
    attention = Attention(camera(motion=motion))
    attention.look(picture(), 0)
    assert (attention.look(picture(), 10) is not None) is still_is_sent
    moved = attention.look(picture((300, 100)), 20)
    assert moved is not None
    assert (moved.region is not None) is crops


def test_a_crop_keeps_the_pixels_that_the_nodes_need() -> None:
    # Sources keep twice what they are asked for: 0.4 of 2 × 200 px is 160 px.
    assert Attention(camera(motion={"min_side": 0.4})).side(160) == 200
    assert Attention(camera(motion={"min_side": 1})).side(160) == 160
    assert Attention(camera(motion="off")).side(160) == 160


def test_which_sources_show_a_place(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    expected = [
        (camera("rtsp://h/x"), True),
        (camera("http://h/x.jpg", kind="snapshot"), True),
        (camera("/dev/video0"), True),
        (camera(str(clip)), True),
        (camera(str(tmp_path)), False),
        (camera(str(tmp_path), kind="watch"), False),
        (camera("a/b", kind="mqtt"), False),
    ]
    for one, continuous in expected:
        assert shows_a_place(one) is continuous, one.source


def test_a_directory_is_sent_whole_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    attention = Attention(camera(str(tmp_path)))
    assert all(attention.look(picture(), at_s) is not None for at_s in range(3))
    attention = Attention(camera(str(tmp_path), motion="on"))
    assert [attention.look(picture(), at_s) is None for at_s in range(3)] == [False, True, True]
