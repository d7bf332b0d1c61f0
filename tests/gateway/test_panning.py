from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.panning import crop_box

sizes = st.integers(min_value=1, max_value=8000)
turns = st.floats(min_value=-3, max_value=3)


@given(sizes, sizes, turns)
def test_crop_is_square_and_inside(width: int, height: int, turn: float) -> None:
    left, top, right, bottom = crop_box(width, height, turn)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == bottom - top


@pytest.mark.parametrize(
    ("turn", "box"),
    [
        (0, (190, 30, 730, 570)),  # 90 % of 600, in the middle
        (0.25, (455, 68, 920, 532)),  # 77.5 %, at the right
        (0.5, (265, 105, 655, 495)),  # 65 %, in the middle
        (0.75, (0, 68, 465, 532)),  # at the left
    ],
)
def test_crop_follows_its_path(turn: float, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = crop_box(920, 600, turn)
    assert (left, top, right, bottom) == pytest.approx(box, abs=1)


def test_path_ends_where_it_begins() -> None:
    assert crop_box(640, 480, 1) == crop_box(640, 480, 0)


def test_neighbouring_views_differ_a_little() -> None:
    boxes = [crop_box(640, 480, view / 100) for view in range(101)]
    steps = [
        max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in pairwise(boxes)
    ]
    assert 0 < max(steps) <= 32  # pixels, 5 % of the width
