"""What the node says about itself, and when it is worth saying again."""

from collections.abc import Callable
from typing import Final, Literal

from broker.payloads import Counts, NodeState
from node_agent.governor import Decision
from node_agent.model_keeper import Situation
from node_agent.objections import Limits, parts_with_limits
from node_agent.readings import Readings

# A change of these is news at once; they cannot change faster than the governor's hold-off.
_URGENT: Final = (
    "state", "session", "paused_by_hand", "pack", "variant", "model", "fixed_variant", "variants",
    "lacks",
)  # fmt: skip
# Counts move with every frame, a reason with every percent.
_SOON: Final = ("reason", "cause", "counts")
# They grow by themselves, and are said along with other news.
_NO_NEWS: Final = {"up_s": None, "owner": None}
SOON_S: Final = 2.0
# Measured figures never stand still; nobody waits for them.
LATER_S: Final = 15.0

MAX_REASON_CHARACTERS: Final = 500

Phase = Literal["working", "paused", "starting", "unassigned", "failed"]


def describe(
    situation: Situation,
    decision: Decision,
    assignment_problem: str | None,
    fetching: str | None = None,
) -> tuple[Phase, str]:
    """Return the node's phase and its reason, one sentence for the device's owner.

    Args:
        situation: the worker's.
        decision: the governor's.
        assignment_problem: why the assigned model cannot be had.
        fetching: what is being fetched, and how far it is.
    """
    phase, reason = _describe(situation, decision, assignment_problem, fetching)
    return phase, reason[:MAX_REASON_CHARACTERS]


def _describe(
    situation: Situation,
    decision: Decision,
    assignment_problem: str | None,
    fetching: str | None,
) -> tuple[Phase, str]:
    problem = assignment_problem or (situation.problem if situation.refused else None)
    if problem is not None:
        kept = f"; {situation.serving} keeps answering" if situation.serving else ""
        return "failed", f"{problem}{kept}"
    if situation.serving is not None:
        if not decision.allowed:
            return "paused", decision.reason
        loading = f"{situation.loading} is being loaded" if situation.loading else None
        news = [text for text in (decision.reason, fetching, loading) if text is not None]
        return "working", "; ".join(news)
    if situation.problem is not None:
        return "starting", f"{situation.problem}; trying again"
    if fetching is not None:
        return "starting", fetching
    if situation.loading is not None:
        return "starting", f"{situation.loading} is being loaded"
    return "unassigned", "waiting for the gateway to assign a variant"


class Announcements:
    """Decides when a state is published again."""

    def __init__(self) -> None:
        self._last: NodeState | None = None
        self._last_s = 0.0

    def is_due(self, state: NodeState, now_s: float) -> bool:
        """Return whether this state should be published now."""
        if self._last is None or _differ(self._last, state, _URGENT):
            return True
        age_s = now_s - self._last_s
        if age_s >= SOON_S and _differ(self._last, state, _SOON):
            return True
        return age_s >= LATER_S and _news(state) != _news(self._last)

    def published(self, state: NodeState, now_s: float) -> None:
        """Remember what was published."""
        self._last, self._last_s = state, now_s

    def forget(self) -> None:
        """Take nothing for known any more: the broker may have lost it."""
        self._last = None


def hottest(readings: Readings, limits: Limits) -> float | None:
    """Return the temperature, in °C, of the part that is nearest to its limit.

    Where no part has a limit, that of the warmest; None where none is known.
    """
    parts = parts_with_limits(readings, limits)
    if parts:
        return round(min(parts, key=lambda part: part[2] - part[1])[1], 1)
    return rounded(max((zone.celsius for zone in readings.zones), default=None), 1)


def rounded(figure: float | None, digits: int = 2) -> float | None:
    """Return a figure as exactly as anybody wants to know it."""
    return None if figure is None else round(figure, digits)


def _news(state: NodeState) -> NodeState:
    return state.model_copy(update=_NO_NEWS)


def _differ(one: NodeState, other: NodeState, fields: tuple[str, ...]) -> bool:
    return any(getattr(one, field) != getattr(other, field) for field in fields)


class FrameCounts:
    """What became of the frames; `evicted` is counted where frames wait."""

    def __init__(self, evicted: Callable[[], int]) -> None:
        self._evicted = evicted
        self.frames = 0
        self.answered = 0
        self.skipped = 0
        self.dropped = 0

    def payload(self) -> Counts:
        """Return the counts as they are published."""
        return Counts(
            frames=self.frames,
            answered=self.answered,
            evicted=self._evicted(),
            skipped=self.skipped,
            dropped=self.dropped,
        )
