"""The path of a crop that wanders over a still picture, so that it looks like a moving camera.

The centre follows a Lissajous figure (one turn across, two up and down) while the crop breathes
between its smallest and largest size. After one turn it is where it began, so a picture that is
shown again goes on without a jump.
"""

import math

# Of the picture's short side. The smallest still holds most of what a photograph is about, and
# even the largest leaves room to move along the short side.
SMALLEST = 0.65
LARGEST = 0.90

Box = tuple[int, int, int, int]


def crop_box(width: int, height: int, turn: float) -> Box:
    """Return the square to cut out of a picture at one point of the path.

    Args:
        width: of the picture, in pixels, at least 1.
        height: likewise.
        turn: how far along the path, 0 at its start and 1 at its end; periodic.

    Returns:
        left, top, right, bottom in pixels, always inside the picture and at least one pixel.
    """
    angle = 2 * math.pi * turn
    middle, swing = (LARGEST + SMALLEST) / 2, (LARGEST - SMALLEST) / 2
    side = max(1, round(min(width, height) * (middle + swing * math.cos(angle))))
    left = round((width - side) * (1 + math.sin(angle)) / 2)
    top = round((height - side) * (1 + math.sin(2 * angle)) / 2)
    return left, top, left + side, top + side
