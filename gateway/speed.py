"""How fast a node runs each variant: measured of those it ran, scaled from them for the others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from broker.payloads import NodeState
from models.manifest import VariantEntry

# The first inference after a change finds cold caches; a 95th percentile by nearest rank leaves
# it out from the twentieth on.
MATURE_ANSWERS = 20

# A variant that was never run here may cost more than its share of multiply-accumulates says.
UNMEASURED_FACTOR = 1.25

# Of a node that has measured nothing yet: most devices are fast enough for most variants, and one
# that is not is found out within `MATURE_ANSWERS` answers.
UNKNOWN_CHANCE = 0.98

# Whatever a node says: a microsecond is less than any inference takes, an hour more than anybody
# waits. Within these bounds no arithmetic fails.
_SHORTEST_MS = 1e-3
_LONGEST_MS = 3.6e6

# Standard deviations between the median and the 95th percentile of a normal distribution.
_Z_95 = 1.645
# Steadier than this over months is no home device.
_LEAST_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Times:
    """How long one inference takes.

    Attributes:
        p50_ms: its median.
        p95_ms: its 95th percentile.
        measured: whether this variant was run there; else it is scaled from another one.
    """

    p50_ms: float
    p95_ms: float
    measured: bool = True

    def chance(self, limit_ms: float) -> float:
        """Return the chance that an inference takes no longer than that.

        Times are taken to be log-normal, through the two percentiles: at `p95_ms` it is 0.95.
        """
        p95_ms = _bounded(self.p95_ms)
        p50_ms = min(_bounded(self.p50_ms), p95_ms)
        spread = max(_LEAST_SPREAD, math.log(p95_ms / p50_ms) / _Z_95)
        deviations = _Z_95 + math.log(limit_ms / p95_ms) / spread
        return 0.5 * (1 + math.erf(deviations / math.sqrt(2)))

    def scaled(self, factor: float, *, measured: bool) -> "Times":
        """Return the times of something that costs `factor` times as much."""
        return Times(_bounded(self.p50_ms * factor), _bounded(self.p95_ms * factor), measured)


class Speed:
    """What one node's states have told of its speed.

    A measurement stands for its own variant, however long ago, and moves along with the device:
    when the variant that it runs now takes twice as long, so do those that it ran before. So a
    node that was given a larger variant in vain is not given it again until it has become faster.
    """

    def __init__(self) -> None:
        self._measured: dict[str, Times] = {}
        self._run: tuple[str | None, str | None] | None = None  # session, variant
        self._answered_before = 0

    def learn(self, state: NodeState) -> None:
        """Take in what a node says of itself."""
        run = (state.session, state.variant)
        answered = state.counts.answered
        if run != self._run or answered < self._answered_before:
            # Counts go on when the variant changes; what it had when we came is taken to be its.
            same_process = self._run is not None and self._run[0] == state.session
            self._answered_before = answered if same_process and run != self._run else 0
            self._run = run
        p50_ms, p95_ms = state.inference_ms_p50, state.inference_ms_p95
        if state.variant is None or p95_ms is None:
            return
        if answered - self._answered_before < MATURE_ANSWERS:
            return
        now = Times(_bounded(p95_ms if p50_ms is None else p50_ms), _bounded(p95_ms))
        if (before := self._measured.get(state.variant)) is not None:
            change = now.p95_ms / before.p95_ms
            for variant, times in self._measured.items():
                self._measured[variant] = times.scaled(change, measured=True)
        self._measured[state.variant] = now

    def times(self, entry: VariantEntry, pack: Mapping[str, VariantEntry]) -> Times | None:
        """Return how long a variant takes; None while the node has measured none of the pack.

        Args:
            entry: the variant.
            pack: all variants of the pack, by name.
        """
        if (measured := self._measured.get(entry.name)) is not None:
            return measured
        known = [name for name in self._measured if name in pack]
        if not known:
            return None
        nearest = min(known, key=lambda name: abs(math.log(cost_ratio(entry, pack[name]))))
        factor = UNMEASURED_FACTOR * cost_ratio(entry, pack[nearest])
        return self._measured[nearest].scaled(factor, measured=False)


def cost_ratio(one: VariantEntry, other: VariantEntry) -> float:
    """Return how many times as much computing one variant takes as another, always above 0.

    By their multiply-accumulates; where those are not known, by their resolution and width, which
    decide them within one family.
    """
    if one.macs and other.macs:
        return one.macs / other.macs
    return (one.resolution * one.width / (other.resolution * other.width)) ** 2


def _bounded(time_ms: float) -> float:
    return min(max(time_ms, _SHORTEST_MS), _LONGEST_MS)
