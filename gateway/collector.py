"""Frames that wait for answers, and the decision that ends each of them.

Pure: `now_s` comes in, decisions come out; whoever calls publishes them and keeps the clock.

A frame ends exactly once, on the first of: every node it waits for has answered; those that have
not can change neither the winner nor the status, whatever they answer; its deadline; being the
oldest when too many wait. It waits for the nodes that worked when it was published. A node that
vanishes is no longer waited for; one that was not waited for still counts if its answer comes in
time. A frame nobody was expected to answer is open until its deadline all the same, because a
node may just be waking up.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from broker.codecs import PredictionMessage
from gateway.confidence import stated, status_of
from gateway.regions import Box
from models.certainty import outlook
from models.ensemble import Answer, combine
from models.rules import CONFIDENCE_RULE, Rule

# At 10 frames a second this holds more than six seconds of them.
MAX_IN_FLIGHT = 64

# Ended frames remembered so that a late answer and a repeated one can be told apart.
MAX_REMEMBERED = 1024

_HALF_U32 = 1 << 31
_U32 = 1 << 32

Decided = Literal["all", "certain", "deadline"]


class Drop(StrEnum):
    """Why an answer was not used.

    `AFTER_DECISION` is nobody's fault: it came in time for the deadline, but its frame had ended
    without it.
    """

    FOREIGN_SESSION = "foreign_session"
    UNKNOWN_FRAME = "unknown_frame"
    UNKNOWN_MODEL = "unknown_model"
    WRONG_CLASS_COUNT = "wrong_class_count"
    UNKNOWN_NODE = "unknown_node"
    DUPLICATE = "duplicate"
    LATE = "late"
    AFTER_DECISION = "after_decision"


@dataclass(frozen=True, slots=True)
class Voter:
    """A variant as the collector needs it: its name and the weight of its answers (Eq. 1)."""

    variant: str
    weight: float


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a frame carries from its publishing to its decision.

    Attributes:
        frame: its number, u32.
        camera: the camera's id.
        captured_at: aware UTC.
        deadline_ms: from its publishing on.
        min_confidence: the camera's; a stated confidence below it makes the result `unsure`.
        decide_early: whether it ends as soon as winner and status are certain.
        region: the part of the camera's frame that it shows; None for all of it.
        quorum: answers that it takes to be `answered`.
        age_s: how old the picture was when it was published.
    """

    frame: int
    camera: str
    captured_at: datetime
    deadline_ms: int
    min_confidence: float = 0.0
    decide_early: bool = True
    region: Box | None = None
    quorum: int = 1
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Contribution:
    """One node's part in a decision.

    Attributes:
        best: the class that this node alone would have named.
    """

    node: str
    variant: str
    inference_ms: float
    best: int


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """How a frame ended.

    Attributes:
        ticket: the frame's.
        decided: `all`: nobody was left to wait for; `certain`: whoever was left could change
            neither the winner nor the status; `deadline`: time was up.
        contributions: the nodes that answered before it, in the order of their answers.
        expected: how many nodes were expected when the frame was published.
        missing: those of them that had not answered by then.
        latency_s: from publishing to the decision.
        scores: shape (C,), by the pack's rule: its argmax is the answer. None without answers.
        probabilities: shape (C,), what confidence is read from. None without answers.
    """

    ticket: Ticket
    decided: Decided
    contributions: tuple[Contribution, ...]
    expected: int
    missing: tuple[str, ...]
    latency_s: float
    scores: npt.NDArray[np.float64] | None
    probabilities: npt.NDArray[np.float64] | None


@dataclass(slots=True, eq=False)
class _Ballot:
    """A frame that waits."""

    ticket: Ticket
    opened_s: float
    expected: Mapping[str, int | None]  # node: model id
    waiting_for: set[str]
    contributions: dict[str, Contribution] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)  # by model id

    @property
    def deadline_s(self) -> float:
        return self.opened_s + self.ticket.deadline_ms / 1000

    @property
    def is_complete(self) -> bool:
        return bool(self.contributions) and bool(self.expected) and not self.waiting_for


@dataclass(slots=True)
class _Ended:
    """What is remembered of a frame that has ended."""

    deadline_s: float
    answered: set[str]


class Collector:
    """Matches answers to the frames that wait for them.

    Attributes:
        session: the gateway's, u32; answers to another one's frames are foreign.
        drops: the answers that were not used, by reason.
        evicted: frames that ended because too many waited.
    """

    def __init__(
        self,
        *,
        session: int,
        voters: Mapping[int, Voter],
        class_count: int,
        rule: Rule,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        """Begin without any frame.

        Args:
            session: the gateway's session.
            voters: the pack's variants by model id.
            class_count: C.
            rule: how answers combine.
            max_in_flight: frames that may wait at once, at least 1.
        """
        self.session = session
        self.drops: Counter[Drop] = Counter()
        self.evicted = 0
        self._voters = voters
        self._class_count = class_count
        self._rule: Rule = rule
        self._max_in_flight = max_in_flight
        self._ballots: dict[int, _Ballot] = {}  # in the order of publishing
        self._ended: OrderedDict[int, _Ended] = OrderedDict()
        self._last_frame: int | None = None

    @property
    def in_flight(self) -> int:
        """How many frames wait."""
        return len(self._ballots)

    def next_deadline_s(self) -> float | None:
        """Return the earliest deadline among the frames that wait, or None."""
        return min((ballot.deadline_s for ballot in self._ballots.values()), default=None)

    def open(
        self, ticket: Ticket, expected: Mapping[str, int | None], now_s: float
    ) -> list[Decision]:
        """Let a frame wait; return the decisions on those it pushed out.

        Args:
            ticket: the frame's.
            expected: the nodes to wait for, each with the model id it will answer with. While
                one is waited for whose model is None or not the pack's, nothing is certain.
            now_s: monotonic.

        Raises:
            ValueError: a frame of that number waits already.
        """
        if ticket.frame in self._ballots:
            raise ValueError(f"frame {ticket.frame} waits already")
        pushed_out = []
        while len(self._ballots) >= self._max_in_flight:
            self.evicted += 1
            pushed_out.append(self._end(next(iter(self._ballots)), "deadline", now_s))
        self._ballots[ticket.frame] = _Ballot(ticket, now_s, dict(expected), set(expected))
        self._last_frame = ticket.frame
        self._ended.pop(ticket.frame, None)  # only after 2³² frames
        return pushed_out

    def abandon(self, frame: int) -> None:
        """Forget a frame that could not be published; there will be no decision on it."""
        self._ballots.pop(frame, None)

    def receive(
        self, node: str, message: PredictionMessage, now_s: float
    ) -> Decision | Drop | None:
        """Take one answer.

        Returns:
            The decision if it ends its frame, why it was dropped, or None while others are
            waited for.
        """
        outcome = self._check(node, message, now_s)
        if isinstance(outcome, Drop):
            self.drops[outcome] += 1
            return outcome
        voter, ballot = outcome
        inference_ms = message.inference_us / 1000
        best = message.indices[int(np.argmax(message.values))]
        ballot.contributions[node] = Contribution(node, voter.variant, inference_ms, best)
        # The same model on a second node says the same again: it makes the answer safer, not
        # heavier.
        if message.model not in ballot.answers:
            ballot.answers[message.model] = Answer(
                np.array(message.values, dtype=np.float32),
                np.array(message.indices, dtype=np.int64),
                voter.weight,
            )
        ballot.waiting_for.discard(node)
        decided = self._decided(ballot)
        return None if decided is None else self._end(message.frame, decided, now_s)

    def forget(self, node: str, now_s: float) -> list[Decision]:
        """Wait no longer for a node that has vanished; return what that decides."""
        ends: list[tuple[int, Decided]] = []
        for frame, ballot in self._ballots.items():
            if node in ballot.waiting_for:
                ballot.waiting_for.remove(node)
                if (decided := self._decided(ballot)) is not None:
                    ends.append((frame, decided))
        return [self._end(frame, decided, now_s) for frame, decided in ends]

    def expire(self, now_s: float) -> list[Decision]:
        """Return the decisions on all frames whose deadline has come."""
        due = [frame for frame, ballot in self._ballots.items() if ballot.deadline_s <= now_s]
        return [self._end(frame, "deadline", now_s) for frame in due]

    def _check(
        self, node: str, message: PredictionMessage, now_s: float
    ) -> tuple[Voter, _Ballot] | Drop:
        if message.session != self.session:
            return Drop.FOREIGN_SESSION
        if (voter := self._voters.get(message.model)) is None:
            return Drop.UNKNOWN_MODEL
        if message.class_count != self._class_count:
            return Drop.WRONG_CLASS_COUNT
        if (ballot := self._ballots.get(message.frame)) is None:
            return self._why_not_open(node, message.frame, now_s)
        if node in ballot.contributions:
            return Drop.DUPLICATE
        return (voter, ballot) if now_s < ballot.deadline_s else Drop.LATE

    def _why_not_open(self, node: str, frame: int, now_s: float) -> Drop:
        if (ended := self._ended.get(frame)) is not None:
            if node in ended.answered:
                return Drop.DUPLICATE
            ended.answered.add(node)
            return Drop.AFTER_DECISION if now_s < ended.deadline_s else Drop.LATE
        if self._last_frame is None or (self._last_frame - frame) % _U32 >= _HALF_U32:
            return Drop.UNKNOWN_FRAME  # not yet published
        return Drop.LATE  # too long ago to be remembered

    def _decided(self, ballot: _Ballot) -> Decided | None:
        if ballot.is_complete:
            return "all"
        waits = ballot.answers and ballot.waiting_for
        return "certain" if waits and self._is_certain(ballot) else None

    def _is_certain(self, ballot: _Ballot) -> bool:
        """Return whether nobody who is waited for can change the winner or the status."""
        if not ballot.ticket.decide_early:
            return False
        if len(ballot.contributions) < ballot.ticket.quorum:
            return False  # the next answer makes it `answered`
        # One answer a model: what a second node with the same model says is known.
        models = {ballot.expected[node] for node in ballot.waiting_for} - ballot.answers.keys()
        weights: list[float] = []
        for model in models:
            if model is None or model not in self._voters:
                return False
            weights.append(self._voters[model].weight)
        answers = list(ballot.answers.values())
        future = outlook(answers, weights, self._class_count, self._rule)
        if future is None:
            return False
        least, most = stated(future.least_confidence), stated(future.most_confidence)
        required = ballot.ticket.min_confidence
        return status_of(least, required) == status_of(most, required)

    def _end(self, frame: int, decided: Decided, now_s: float) -> Decision:
        ballot = self._ballots.pop(frame)
        self._ended[frame] = _Ended(ballot.deadline_s, set(ballot.contributions))
        if len(self._ended) > MAX_REMEMBERED:
            self._ended.popitem(last=False)
        scores, probabilities = self._combine(list(ballot.answers.values()))
        return Decision(
            ticket=ballot.ticket,
            decided=decided,
            contributions=tuple(ballot.contributions.values()),
            expected=len(ballot.expected),
            missing=tuple(sorted(ballot.expected.keys() - ballot.contributions.keys())),
            latency_s=now_s - ballot.opened_s,
            scores=scores,
            probabilities=probabilities,
        )

    def _combine(
        self, answers: list[Answer]
    ) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]:
        if not answers:
            return None, None
        scores = combine(answers, self._class_count, self._rule)
        if (stating := CONFIDENCE_RULE[self._rule]) == self._rule:
            return scores, scores
        return scores, combine(answers, self._class_count, stating)
