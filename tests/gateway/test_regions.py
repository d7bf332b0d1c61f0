import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.regions import CELL, CELL_SHARE, Box, blobs, covered, crop_around

WHOLE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
LEFT = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]


def mask(*rectangles: tuple[int, int, int, int], shape: tuple[int, int] = (48, 80)) -> np.ndarray:
    found = np.zeros(shape, dtype=np.bool_)
    for x, y, width, height in rectangles:
        found[y : y + height, x : x + width] = True
    return found


@pytest.mark.parametrize(
    ("polygons", "share"),
    [
        ([], 0.0),
        ([WHOLE], 1.0),
        ([LEFT], 0.5),
        ([LEFT, LEFT], 0.5),
        ([[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]], 0.5),
        ([[(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]], 0.5),  # an hourglass
    ],
)
def test_share_that_polygons_cover(polygons: list[list[tuple[float, float]]], share: float) -> None:
    assert covered(polygons, 90, 160).mean() == pytest.approx(share, abs=0.01)


def test_polygon_covers_the_side_it_is_on() -> None:
    inside = covered([LEFT], 9, 16)
    assert inside[:, :8].all()
    assert not inside[:, 8:].any()


def test_blobs_are_apart_and_the_largest_comes_first() -> None:
    small, large = (4, 8, 8, 8), (40, 16, 16, 24)
    found = blobs(mask(small, large))
    assert [blob.count for blob in found] == [16 * 24, 64]
    boxes = [(blob.box.x, blob.box.y, blob.box.width, blob.box.height) for blob in found]
    assert boxes[0] == pytest.approx((0.5, 16 / 48, 0.2, 0.5))
    assert boxes[1] == pytest.approx((0.05, 8 / 48, 0.1, 8 / 48))


def test_what_touches_at_a_corner_hangs_together() -> None:
    assert len(blobs(mask((8, 8, 8, 8), (16, 16, 8, 8)))) == 1


def test_nothing_and_everything() -> None:
    assert blobs(mask()) == []
    (whole,) = blobs(np.ones((49, 81), dtype=np.bool_))
    assert whole.box.width == pytest.approx(1)
    assert whole.box.height == pytest.approx(1, abs=0.03)


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_every_dense_cell_is_in_exactly_one_blob(foreground: np.ndarray) -> None:
    found = blobs(foreground)
    together = sum((blob.pixels.astype(int) for blob in found), np.zeros(foreground.shape, int))
    assert together.max(initial=0) <= 1
    assert not (together.astype(bool) & ~foreground).any()
    for row in range(0, foreground.shape[0], CELL):
        for column in range(0, foreground.shape[1], CELL):
            cell = foreground[row : row + CELL, column : column + CELL]
            if cell.sum() >= CELL_SHARE * CELL * CELL:
                assert (together[row : row + CELL, column : column + CELL] == cell).all()


shares = st.floats(0, 1)


@given(
    x=shares, y=shares, width=shares, height=shares,
    aspect=st.floats(0.2, 5), margin=st.floats(0, 2), min_side=st.floats(0.05, 1),
)  # fmt: skip
def test_crop_holds_the_box_within_the_frame(
    x: float, y: float, width: float, height: float, aspect: float, margin: float, min_side: float
) -> None:
    box = Box(x * (1 - width), y * (1 - height), width, height)
    crop = crop_around(box, aspect, margin=margin, min_side=min_side)
    slack = 1e-9
    assert -slack <= crop.x <= box.x + slack
    assert -slack <= crop.y <= box.y + slack
    assert box.x + box.width - slack <= crop.x + crop.width <= 1 + slack
    assert box.y + box.height - slack <= crop.y + crop.height <= 1 + slack
    across, down = crop.width * aspect, crop.height
    assert min(across, down) >= min(min_side * min(1, aspect), aspect, 1) - slack
    if crop.width < 1 - slack and crop.height < 1 - slack:
        assert across == pytest.approx(down)  # square where there is room


def test_crop_has_a_margin_and_a_smallest_side() -> None:
    crop = crop_around(Box(0.4, 0.4, 0.1, 0.2), 1.0, margin=0.5, min_side=0.1)
    assert (crop.x, crop.y, crop.width, crop.height) == pytest.approx((0.25, 0.3, 0.4, 0.4))
    crop = crop_around(Box(0.5, 0.5, 0.0, 0.0), 2.0, margin=0.5, min_side=0.5)
    assert (crop.x, crop.y, crop.width, crop.height) == pytest.approx((0.375, 0.25, 0.25, 0.5))


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (Box(0.3, 0.1, 0.1, 0.1), True),
        (Box(0.2, 0.25, 0.1, 0.1), True),
        (Box(0.35, 0.1, 0.1, 0.1), False),
        (Box(0.1, 0.5, 0.1, 0.1), False),
        (Box(0.0, 0.0, 1.0, 1.0), True),
    ],
)
def test_which_boxes_are_near(other: Box, near: bool) -> None:
    box = Box(0.1, 0.1, 0.1, 0.1)
    assert box.is_near(other, 0.1) is near
    assert other.is_near(box, 0.1) is near


def test_union_is_around_both() -> None:
    both = Box(0.1, 0.2, 0.1, 0.1).union(Box(0.5, 0.0, 0.2, 0.1))
    assert (both.x, both.y, both.width, both.height) == pytest.approx((0.1, 0.0, 0.6, 0.3))
