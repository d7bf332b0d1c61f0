"""Parts of a frame: polygons as masks, connected blobs of pixels, and the crop around one.

Pure. A `Box` is given in shares of the frame, so that it fits every resolution of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

# Blobs are found on cells of so many pixels on a side: that joins what noise tore apart, and there
# are few enough to walk through one by one.
CELL = 4

# A cell belongs to a blob from this share of its pixels on.
CELL_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle within a frame, all in shares of the frame's width and height."""

    x: float
    y: float
    width: float
    height: float

    def union(self, other: "Box") -> "Box":
        """Return the smallest box around both."""
        left, top = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Box(left, top, right - left, bottom - top)

    def is_near(self, other: "Box", gap: float) -> bool:
        """Return whether no more than `gap` lies between the two, across or down."""
        across = max(self.x, other.x) - min(self.x + self.width, other.x + other.width)
        down = max(self.y, other.y) - min(self.y + self.height, other.y + other.height)
        return across <= gap and down <= gap


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Pixels that hang together.

    Attributes:
        box: around them.
        pixels: shape (h, w), which they are.
        count: how many.
    """

    box: Box
    pixels: Mask
    count: int


def covered(polygons: Sequence[Sequence[tuple[float, float]]], height: int, width: int) -> Mask:
    """Return which pixels have their centre inside any of the polygons (even-odd rule).

    Args:
        polygons: corners (x, y) in shares of the frame.
        height: of the frame, in pixels.
        width: likewise.

    Returns:
        Shape (height, width).
    """
    y, x = (np.mgrid[0:height, 0:width] + 0.5) / np.array([height, width])[:, None, None]
    inside = np.zeros((height, width), dtype=np.bool_)
    for corners in polygons:
        odd = np.zeros_like(inside)
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if y0 != y1:  # a level edge crosses no ray that is level too
                odd ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        inside |= odd
    return inside


def blobs(foreground: Mask) -> list[Blob]:
    """Return the blobs of a mask of shape (h, w), the largest first."""
    height, width = foreground.shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    padded = np.zeros((rows * CELL, columns * CELL), dtype=np.bool_)
    padded[:height, :width] = foreground
    counts = padded.reshape(rows, CELL, columns, CELL).sum(axis=(1, 3))
    waiting = set(map(tuple, np.argwhere(counts >= CELL_SHARE * CELL * CELL).tolist()))
    found = []
    while waiting:
        cells = _connected(waiting)
        grid = np.zeros((rows, columns), dtype=np.bool_)
        grid[tuple(zip(*cells, strict=True))] = True
        whole = grid.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]
        pixels = whole & foreground
        found.append(Blob(_box(cells, height, width), pixels, int(pixels.sum())))
    return sorted(found, key=lambda blob: blob.count, reverse=True)


def crop_around(box: Box, aspect: float, *, margin: float, min_side: float) -> Box:
    """Return what to cut out around a box: square where the frame has room, and inside it.

    Args:
        box: what must be in it.
        aspect: the frame's width by its height, in pixels.
        margin: added on each side, as a share of the box's own size.
        min_side: the smallest side, as a share of the frame's short side.
    """
    # In units of the frame's height, in which both directions have the same scale.
    width, height = box.width * aspect * (1 + 2 * margin), box.height * (1 + 2 * margin)
    side = max(width, height, min_side * min(1.0, aspect))
    width, height = min(side, aspect) / aspect, min(side, 1.0)
    x = min(max(box.x + box.width / 2 - width / 2, 0.0), 1 - width)
    y = min(max(box.y + box.height / 2 - height / 2, 0.0), 1 - height)
    return Box(x, y, width, height)


def _connected(waiting: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Take one cell and all that hang together with it, corners too, out of those that wait."""
    todo = [waiting.pop()]
    cells = []
    while todo:
        cell = todo.pop()
        cells.append(cell)
        row, column = cell
        for near in (
            (row - 1, column - 1), (row - 1, column), (row - 1, column + 1),
            (row, column - 1), (row, column + 1),
            (row + 1, column - 1), (row + 1, column), (row + 1, column + 1),
        ):  # fmt: skip
            if near in waiting:
                waiting.remove(near)
                todo.append(near)
    return cells


def _box(cells: Sequence[tuple[int, ...]], height: int, width: int) -> Box:
    first_row, last_row = min(cell[0] for cell in cells), max(cell[0] for cell in cells)
    first_column, last_column = min(cell[1] for cell in cells), max(cell[1] for cell in cells)
    left, top = first_column * CELL / width, first_row * CELL / height
    right = min(width, (last_column + 1) * CELL) / width
    bottom = min(height, (last_row + 1) * CELL) / height
    return Box(left, top, right - left, bottom - top)
