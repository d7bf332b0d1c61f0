"""Which frames are worth sending: those in which something is that was not there before.

Pure: small grey pictures and `now_s` come in, decisions come out. Each pixel has a running mean and
variance of its level (an adaptive background as in Wren et al., Pfinder, 1997); what differs from
it by far more than it usually does is foreground. Light is told from things by their edges: a lamp,
a cloud or a shadow changes levels and leaves the edges of the background where they were.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from gateway.camera_settings import MotionSettings
from gateway.regions import Blob, Box, Mask, blobs, covered

Grey = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.float32]

# The longer side of the picture that motion is looked for in, pixels. A person across the street
# (1/20 of the frame's height) still has four.
WORKING_SIDE = 160

# How fast the background follows what it already looks like, and after how long a thing that stays
# where it is becomes a part of it at once, seconds. Were that gradual, whoever stood somewhere for
# half a minute would leave a ghost.
ADAPT_S = 10.0
ABSORB_S = 60.0

# How fast it follows what only the light has changed: quickly, but not at once, because a shirt
# before a panelled wall can look like that for a moment.
LIGHT_S = 3.0

# Levels of 255: how far a pixel's level may be from its mean, at the highest and the lowest
# sensitivity, and how many of its own standard deviations on top.
THRESHOLD = (6.0, 40.0)
DEVIATIONS = 2.5

# Standard deviation of a pixel that was seen once, and its bounds.
FIRST_DEVIATION = 4.0
DEVIATION_BOUNDS = (1.0, 20.0)

# Correlation of a blob's edges with those of the background from which on only the light changed.
SAME_EDGES = 0.6

# Edges weaker than this, in levels per pixel, are noise: a blank wall has none to compare.
WEAK_EDGE = 3.0

# A change of so much of the frame, of which no common shift of all levels explains so much, is the
# camera's own (it was turned, covered, or went over to infrared), whatever the edges do: a thing so
# close came in over several frames, which did trigger.
GLOBAL_SHARE = 0.8
UNEXPLAINED_SHARE = 0.3

# Parts of one thing may lie so far apart, as a share of the frame: a white shirt before a white
# wall leaves a head and two legs.
GAP = 0.1


class Why(StrEnum):
    """What decided about a frame."""

    FIRST = "first"  # nothing is known yet
    MOTION = "motion"
    HOLD = "hold"  # shortly after motion
    INTERVAL = "interval"  # a whole frame is due
    STILL = "still"  # the only one that is not sent


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was decided about one frame.

    Attributes:
        why: the reason.
        region: the moving part; None where nothing moves or a whole frame is due.
        moving: share of the frame that moves, 0 to 1.
    """

    why: Why
    region: Box | None
    moving: float

    @property
    def send(self) -> bool:
        """Whether the frame is worth sending."""
        return self.why is not Why.STILL


class MotionGate:
    """Looks at a camera's frames one after the other."""

    def __init__(self, settings: MotionSettings) -> None:
        """Begin without any knowledge of what the camera shows."""
        self._settings = settings
        faintest, strongest = THRESHOLD
        self._threshold = strongest + (faintest - strongest) * settings.sensitivity
        self._counted: Mask | None = None
        self._mean: Levels | None = None
        self._variance: Levels = np.zeros((0, 0), dtype=np.float32)
        self._foreground_s: Levels = np.zeros((0, 0), dtype=np.float32)  # for how long already
        self._last_s = -math.inf
        self._motion_s = -math.inf
        self._whole_s = -math.inf

    def look(self, grey: Grey, now_s: float) -> Sighting:
        """Decide about one frame.

        Args:
            grey: shape (h, w), the frame at its working size; another size than the last starts
                anew.
            now_s: monotonic; frames may come at any pace.
        """
        levels = grey.astype(np.float32)
        if self._mean is None or self._mean.shape != levels.shape:
            self._begin(levels)
            self._last_s = self._whole_s = now_s
            return Sighting(Why.FIRST, None, 0.0)
        elapsed_s = max(0.0, now_s - self._last_s)
        self._last_s = now_s
        movers, moving = self._movers(levels, elapsed_s)
        if movers:
            self._motion_s = now_s
        why = self._why(bool(movers), now_s)
        if why in (Why.INTERVAL, Why.HOLD):
            self._whole_s = now_s
        region = movers[0] if why is Why.MOTION else None
        return Sighting(why, region, moving)

    def _why(self, moves: bool, now_s: float) -> Why:
        every_s = self._settings.full_every_s
        if every_s is not None and now_s - self._whole_s >= every_s:
            return Why.INTERVAL
        if moves:
            return Why.MOTION
        return Why.HOLD if now_s - self._motion_s <= self._settings.hold_s else Why.STILL

    def _begin(self, levels: Levels) -> None:
        height, width = levels.shape
        inside = covered(self._settings.include, height, width)
        counted = inside if self._settings.include else ~inside
        self._counted = counted & ~covered(self._settings.mask, height, width)
        self._mean = levels.copy()
        self._variance = np.full_like(levels, FIRST_DEVIATION**2)
        self._foreground_s = np.zeros_like(levels)

    def _movers(self, levels: Levels, elapsed_s: float) -> tuple[list[Box], float]:
        """Return the box of what moves, if anything does, and its share; learn from the frame."""
        assert self._mean is not None
        assert self._counted is not None
        difference = levels - self._mean
        limit = self._threshold + DEVIATIONS * np.sqrt(self._variance)
        changed = np.count_nonzero(np.abs(difference) > limit)
        # A camera's exposure follows the light: all levels together say nothing.
        shift = float(np.median(difference[::3, ::3]))
        difference -= shift
        unlike = np.abs(difference) > limit
        size = unlike.size
        if changed > GLOBAL_SHARE * size and np.count_nonzero(unlike) > UNEXPLAINED_SHARE * size:
            self._begin(levels)
            return [], 0.0
        foreground = _solid(unlike & self._counted)
        things, light = self._sorted_out(blobs(foreground), levels)
        for blob in light:
            foreground &= ~blob.pixels
            self._mean[blob.pixels] += difference[blob.pixels] * (
                1 - math.exp(-elapsed_s / LIGHT_S)
            )
        self._mean += shift
        self._learn(levels, foreground, elapsed_s)
        large = [blob for blob in things if blob.count >= self._settings.min_area * size]
        if not large:
            return [], 0.0
        return [_with_parts(large[0], things)], sum(blob.count for blob in large) / size

    def _sorted_out(self, found: list[Blob], levels: Levels) -> tuple[list[Blob], list[Blob]]:
        """Return the blobs that are things, and those that are light alone."""
        assert self._mean is not None
        if not found:
            return [], []
        now, before = _edges(levels), _edges(self._mean)
        things: list[Blob] = []
        light: list[Blob] = []
        for blob in found:
            same = _correlation(now[:, blob.pixels], before[:, blob.pixels])
            (light if same > SAME_EDGES else things).append(blob)
        return things, light

    def _learn(self, levels: Levels, foreground: Mask, elapsed_s: float) -> None:
        assert self._mean is not None
        difference = levels - self._mean
        follow = np.float32(1 - math.exp(-elapsed_s / ADAPT_S))
        calm = ~foreground
        self._mean += difference * (follow * calm)
        # A leaf in the wind is foreground again and again: each change widens what is usual there.
        flickers = foreground ^ (self._foreground_s > 0)
        square = np.minimum(difference * difference, np.float32(DEVIATION_BOUNDS[1] ** 2))
        self._variance += (square - self._variance) * (follow * (calm | flickers))
        np.maximum(self._variance, np.float32(DEVIATION_BOUNDS[0] ** 2), out=self._variance)
        self._foreground_s = (self._foreground_s + np.float32(max(elapsed_s, 1e-6))) * foreground
        stayed = self._foreground_s > ABSORB_S
        self._mean[stayed] = levels[stayed]
        self._foreground_s[stayed] = 0


def working_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which a frame is looked at."""
    factor = min(1.0, WORKING_SIDE / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _solid(mask: Mask) -> Mask:
    """Return the pixels of which most of the 3 × 3 around them are set: single ones are noise."""
    padded = np.pad(mask, 1).astype(np.uint8)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    solid: Mask = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] >= 5
    return solid


def _edges(levels: Levels) -> Levels:
    """Return the change of level to the right and downwards, shape (2, h, w)."""
    edges = np.zeros((2, *levels.shape), dtype=np.float32)
    edges[0, :, :-1] = levels[:, 1:] - levels[:, :-1]
    edges[1, :-1] = levels[1:] - levels[:-1]
    return edges


def _correlation(now: Levels, before: Levels) -> float:
    """Return how alike two sets of edges are, -1 to 1; 0 where there is hardly any to compare."""
    strong = float((before * before).sum())
    if strong < WEAK_EDGE * WEAK_EDGE * before.shape[1]:
        return 0.0
    norm = math.sqrt(strong * float((now * now).sum()))
    return float((now * before).sum()) / norm if norm > 0 else 0.0


def _with_parts(largest: Blob, things: list[Blob]) -> Box:
    """Return a box around the largest thing and what lies close enough to be a part of it."""
    box = largest.box
    rest = [blob.box for blob in things if blob is not largest]
    while near := [one for one in rest if one.is_near(box, GAP)]:
        for one in near:
            box = box.union(one)
            rest.remove(one)
    return box
