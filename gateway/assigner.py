"""Gives each node the variant that the plan has for it, and keeps the plan up to date.

A plan is made when a node comes, goes or can run something else, and every `REPLAN_S` from what
was measured since. It is made in a thread, so that no answer waits for it.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from broker.payloads import NodePlan, NodeState, PlanReport, dump, utc_now
from broker.topics import Topics
from gateway.announcer import Announcer
from gateway.attendance import Attendance
from gateway.planner import Plan, Seat, Task, make_plan
from gateway.roster import Member, Roster
from gateway.settings import GatewaySettings
from gateway.speed import UNKNOWN_CHANCE, Speed, Times
from models.ensemble_accuracy import accuracy_table
from models.pack import Pack

logger = logging.getLogger(__name__)

# Heat comes within minutes, and figures are only as new as the nodes' states (15 s).
REPLAN_S = 5.0
# Where planning takes long (hundreds of nodes) it may take this share of the time.
PLANNING_SHARE = 0.05
# Nodes that come at once, with the broker's retained messages, are planned for at once.
SETTLE_S = 0.2
# Figures that move without any change of a variant are published this often.
REPEAT_S = 30.0

# From publishing to the node and back without the inference: Wi-Fi, decoding, a busy loop.
TRAVEL_MS = 30.0

# The sum over all sets of variants doubles with each: of a larger pack these many are given,
# evenly from the cheapest to the costliest.
MAX_VARIANTS = 10
# Each further deadline makes planning longer by as much as the first: similar ones become one.
MAX_DEADLINES = 4


@dataclass(slots=True)
class _Known:
    """What is remembered of one node, also while it is away.

    Attributes:
        given: the variant it was last given.
        can: what it could run when last looked at; None while it is away.
    """

    speed: Speed = field(default_factory=Speed)
    attendance: Attendance = field(default_factory=Attendance)
    given: str | None = None
    can: tuple[object, ...] | None = None


class Assigner:
    """Keeps the plan, and hands it to the announcer whenever it changes."""

    def __init__(
        self,
        settings: GatewaySettings,
        topics: Topics,
        pack: Pack,
        roster: Roster,
        announcer: Announcer,
    ) -> None:
        """Begin without a plan.

        Args:
            settings: the gateway's; of its cameras the deadlines matter.
            topics: likewise.
            pack: the pack in use.
            roster: the nodes as they describe themselves.
            announcer: keeps assignments and plan on the broker.
        """
        self._topics = topics
        self._pack = pack
        self._roster = roster
        self._announcer = announcer
        self._entries = {entry.name: entry for entry in pack.manifest.variants}
        cameras = settings.cameras.values()
        self._deadlines = deadlines_of([(one.deadline_ms, one.fps) for one in cameras])
        self._known: dict[str, _Known] = {}
        self._variants: dict[str, str] = {}
        self._reason = "no node yet"
        self._since = utc_now()
        self._published_s: float | None = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Plan whenever it is time to; until cancelled."""
        pause_s = REPLAN_S
        while True:
            with suppress(TimeoutError):  # then it is time to look at what was measured meanwhile
                async with asyncio.timeout(pause_s):
                    await self._news.wait()
                    await asyncio.sleep(SETTLE_S)
            self._news.clear()
            began_s = time.monotonic()
            self._note_all(began_s)
            seats = self._seats()
            plan = await asyncio.to_thread(make_plan, seats, self._task(seats))
            ended_s = time.monotonic()
            self._take(plan, seats, ended_s)
            pause_s = max(REPLAN_S, (ended_s - began_s) / PLANNING_SHARE)

    def look(self, node: str) -> None:
        """Take in what the roster says of a node now."""
        member = self._roster.get(node)
        if member is None:
            if self._known.pop(node, None) is not None:
                self._news.set()
            return
        known = self._known.setdefault(node, _Known())
        self._note(member, known, time.monotonic())
        state = member.state if member.online else None
        if state is not None:
            known.speed.learn(state)
        can = None if state is None else _can_run(state)
        if can != known.can:
            known.can = can
            self._news.set()

    def expect(self, nodes: Iterable[str]) -> None:
        """Note that a frame was published while these nodes work."""
        for node in nodes:
            if (known := self._known.get(node)) is not None:
                known.attendance.expect()

    def answered(self, node: str) -> None:
        """Note that a node has answered a frame, in time or not."""
        if (known := self._known.get(node)) is not None:
            known.attendance.answer()

    def _note_all(self, now_s: float) -> None:
        for member in self._roster:
            if (known := self._known.get(member.name)) is not None:
                self._note(member, known, now_s)

    def _note(self, member: Member, known: _Known, now_s: float) -> None:
        there = member.online and member.state is not None
        known.attendance.note(there=there, working=member.working, now_s=now_s)

    def _seats(self) -> list[Seat]:
        seats = []
        for member in self._roster:
            known = self._known.get(member.name)
            if known is None or not member.online or member.state is None:
                continue
            seats.append(self._seat(member, member.state, known))
        return seats

    def _seat(self, member: Member, state: NodeState, known: _Known) -> Seat:
        holds = state.variant if state.fixed_variant else known.given or state.variant
        if state.fixed_variant:
            names = [state.variant] if state.variant in self._entries else []
        else:
            anything = not state.variants or self._announcer.fetches(member)
            names = [name for name in self._entries if anything or name in state.variants]
        chances = {
            name: tuple(self._chance(known, name, one.limit_ms) for one in self._deadlines)
            for name in names
            if name is not None
        }
        return Seat(member.name, chances, holds)

    def _chance(self, known: _Known, variant: str, limit_ms: float) -> float:
        times = self._times(known, variant)
        in_time = UNKNOWN_CHANCE if times is None else times.chance(limit_ms)
        return known.attendance.chance * in_time

    def _times(self, known: _Known, variant: str) -> Times | None:
        return known.speed.times(self._entries[variant], self._entries)

    def _task(self, seats: Sequence[Seat]) -> Task:
        chosen = {name for seat in seats if len(seat.chances) == 1 for name in seat.chances}
        names = planned(list(self._entries), chosen)
        weights = np.array([one.share for one in self._deadlines])
        return Task(names, accuracy_table(self._pack.manifest, names), weights)

    def _take(self, plan: Plan, seats: Sequence[Seat], now_s: float) -> None:
        """Let a plan be in force, and say so where it is another one."""
        changed = dict(plan.variants) != self._variants
        if changed:
            self._since = utc_now()
            self._reason = self._why(plan, seats)[:500]
            logger.info(
                "plan: %s; %.1f %% of frames expected right, %.1f %% answered in time (%s)",
                ", ".join(f"{node} {name}" for node, name in plan.variants.items()) or "no node",
                100 * plan.accuracy,
                100 * plan.answered,
                self._reason,
            )
            self._variants = dict(plan.variants)
            for node, variant in plan.variants.items():
                if (known := self._known.get(node)) is not None:
                    known.given = variant
        # Also without a change: what a node needs besides the variant's name may be another.
        members = {member.name: member for member in self._roster if member.name in plan.variants}
        self._announcer.want_assignments(plan.variants, members)
        if changed or self._published_s is None or self._published_s + REPEAT_S <= now_s:
            self._published_s = now_s
            self._announcer.want(self._topics.plan, dump(self._report(plan, seats)))

    def _why(self, plan: Plan, seats: Sequence[Seat]) -> str:
        """Return what led to a plan that is not the one in force."""
        parts = [f"{node} came" for node in plan.variants if node not in self._variants]
        parts += [f"{node} left" for node in self._variants if node not in plan.variants]
        for seat in seats:
            held, given = self._variants.get(seat.node), plan.variants.get(seat.node)
            known = self._known.get(seat.node)
            if held is None or given in (None, held) or known is None:
                continue
            times = self._times(known, held)
            took = "" if times is None else f", where {held} takes {times.p95_ms:.0f} ms"
            parts.append(f"{seat.node} has {given} instead of {held}{took}")
        return "; ".join(parts) or "what nodes can run has changed"

    def _report(self, plan: Plan, seats: Sequence[Seat]) -> PlanReport:
        weights = [one.share for one in self._deadlines]
        nodes = []
        for seat in seats:
            variant, known = plan.variants.get(seat.node), self._known.get(seat.node)
            if variant is None or known is None:
                continue
            times = self._times(known, variant)
            nodes.append(
                NodePlan(
                    node=seat.node,
                    variant=variant,
                    chance=round(float(np.dot(seat.chances[variant], weights)), 2),
                    inference_ms_p95=None if times is None else round(times.p95_ms, 1),
                    measured=times is not None and times.measured,
                )
            )
        return PlanReport(
            pack=self._pack.name,
            reason=self._reason,
            since=self._since,
            expected_accuracy=round(plan.accuracy, 3),
            expected_answered=round(plan.answered, 3),
            nodes=nodes,
        )


def _can_run(state: NodeState) -> tuple[object, ...]:
    """Return what of a node's state makes a new plan necessary at once."""
    fixed = state.variant if state.fixed_variant else None
    return (*state.variants, fixed, state.fetches, state.version)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline and the share of the frames that have it.

    Attributes:
        limit_ms: what an inference may take.
        share: the share of the frames.
    """

    limit_ms: float
    share: float


def deadlines_of(cameras: Sequence[tuple[int, float]]) -> tuple[Deadline, ...]:
    """Return the cameras' deadlines, at most `MAX_DEADLINES`; of similar ones the shortest.

    Args:
        cameras: each one's deadline_ms and frames a second, at least one.
    """
    total = sum(fps for _, fps in cameras)
    shares: dict[int, float] = {}
    for deadline_ms, fps in sorted(cameras):
        shares[deadline_ms] = shares.get(deadline_ms, 0.0) + fps / total
    groups = np.array_split(np.array(list(shares)), min(MAX_DEADLINES, len(shares)))
    return tuple(
        Deadline(
            limit_ms=max(float(group[0]) / 2, float(group[0]) - TRAVEL_MS),
            share=sum(shares[int(deadline_ms)] for deadline_ms in group),
        )
        for group in groups
    )


def planned(names: Sequence[str], chosen: Iterable[str]) -> tuple[str, ...]:
    """Return the variants that are planned with: all, or `MAX_VARIANTS` of them in their order.

    Args:
        names: the pack's, by rising cost.
        chosen: those that nodes run whatever is planned; they come first.
    """
    if len(names) <= MAX_VARIANTS:
        return tuple(names)
    kept = [name for name in names if name in set(chosen)][:MAX_VARIANTS]
    others = [name for name in names if name not in kept]
    places = np.linspace(0, len(others) - 1, MAX_VARIANTS - len(kept)).round().astype(int)
    kept += [others[place] for place in places]
    return tuple(name for name in names if name in kept)
