import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from broker import codecs
from gateway import picture
from gateway.camera_settings import CameraSettings
from models.evaluation import bandwidth
from models.evaluation.bandwidth import answer_bytes, body_bytes, frame_sizes


@pytest.mark.parametrize(
    ("k", "class_count", "expected"),
    [(1, 10, 1), (2, 10, 10), (5, 10, 25), (6, 10, 40), (10, 10, 40), (2, 1000, 12), (1, 1000, 2)],
)
def test_bytes_are_those_of_equation_3(k: int, class_count: int, expected: int) -> None:
    assert body_bytes(k, class_count) == expected


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_bytes_are_those_of_the_wire(k: int, class_count: int) -> None:
    if k > class_count:
        with pytest.raises(ValueError, match="k must be in"):
            body_bytes(k, class_count)
    else:
        assert body_bytes(k, class_count) == codecs.body_bytes(k, class_count)


def test_two_scores_take_the_papers_ten_bytes_in_a_message_of_32() -> None:
    assert answer_bytes(2, 10) == 32


def test_headers_and_quality_are_those_in_use() -> None:
    assert bandwidth.ANSWER_HEADER_BYTES == codecs.PREDICTION_HEADER_BYTES
    assert bandwidth.FRAME_HEADER_BYTES == codecs.FRAME_HEADER_BYTES
    assert CameraSettings.model_fields["jpeg_quality"].default == bandwidth.FRAME_QUALITY
    assert bandwidth.FULL_COLOUR_SIDE == picture.FULL_COLOUR_SIDE


@pytest.mark.parametrize("side", [96, 160, 192])
@pytest.mark.parametrize("quality", [50, 85])
def test_frames_are_what_the_gateway_sends(side: int, quality: int) -> None:
    rng = np.random.default_rng(side)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    photograph = coarse.resize((320, 240), Image.Resampling.BICUBIC)
    jpeg = picture.encode_jpeg(picture.square(photograph, side, "crop"), quality, 1 << 18)
    sent = codecs.encode_frame(codecs.FrameMessage(1, 1, 500, jpeg))
    assert frame_sizes([photograph], side, quality) == [len(sent)]


def test_a_picture_is_never_enlarged() -> None:
    with pytest.raises(ValueError, match="has no 96 pixels a side"):
        frame_sizes([Image.new("RGB", (200, 95))], 96, 85)
