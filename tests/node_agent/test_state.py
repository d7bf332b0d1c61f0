from collections.abc import Callable

import pytest

from broker.payloads import Counts, NodeState
from node_agent.governor import Decision
from node_agent.model_keeper import Situation
from node_agent.state import (
    LATER_S,
    MAX_REASON_CHARACTERS,
    SOON_S,
    Announcements,
    FrameCounts,
    describe,
)

FREE = Decision(True, "nobody else needs the processor")
BUSY = Decision(False, "other programs use 63% of the processor")


def situation(
    serving: str | None = None,
    loading: str | None = None,
    problem: str | None = None,
    *,
    refused: bool = False,
) -> Situation:
    return Situation(serving, loading, problem, refused)


@pytest.mark.parametrize(
    ("now", "decision", "assignment_problem", "phase", "words"),
    [
        (situation(), FREE, None, "unassigned", "waiting for the gateway"),
        (situation(loading="V1"), FREE, None, "starting", "V1 is being loaded"),
        (situation("V1"), FREE, None, "working", "nobody else"),
        (situation("V1"), BUSY, None, "paused", "63%"),
        (situation("V1", "V2"), FREE, None, "working", "V2 is being loaded"),
        (situation(problem="killed by SIGKILL"), FREE, None, "starting", "SIGKILL; trying again"),
        (situation(problem="wrong shape", refused=True), FREE, None, "failed", "wrong shape"),
        (
            situation("V1", problem="V2 is refused", refused=True),
            BUSY,
            None,
            "failed",
            "V2 is refused; V1 keeps answering",
        ),
        (situation("V1", problem="V2 crashed"), FREE, None, "working", "nobody else"),
        (situation(), FREE, "no such model", "failed", "no such model"),
        (situation("V1"), FREE, "no such model", "failed", "V1 keeps answering"),
    ],
)
def test_phase_and_reason(
    now: Situation,
    decision: Decision,
    assignment_problem: str | None,
    phase: str,
    words: str,
) -> None:
    described, reason = describe(now, decision, assignment_problem)
    assert described == phase
    assert words in reason


FETCHING = "V2 of pack far is being fetched: 1 of 3 parts"


@pytest.mark.parametrize(
    ("now", "decision", "problem", "phase", "reason"),
    [
        (situation(), FREE, None, "starting", FETCHING),
        (situation("V1"), FREE, None, "working", f"{FREE.reason}; {FETCHING}"),
        (situation("V1"), BUSY, None, "paused", BUSY.reason),
        (situation("V1"), FREE, "no part came", "failed", "no part came; V1 keeps answering"),
    ],
)
def test_a_fetch_is_said_beside_what_answers(
    now: Situation, decision: Decision, problem: str | None, phase: str, reason: str
) -> None:
    assert describe(now, decision, problem, FETCHING) == (phase, reason)


def test_a_long_reason_still_fits_the_payload() -> None:
    _, reason = describe(situation(), FREE, "x" * 1000)
    assert len(reason) == MAX_REASON_CHARACTERS


STATE = NodeState(node="kitchen", state="working", reason="free", variant="V1", version="1")


def changed(**fields: object) -> Callable[[], NodeState]:
    return lambda: STATE.model_copy(update=fields)


@pytest.mark.parametrize(
    ("later", "due_after_s"),
    [
        (changed(state="paused"), 0.0),
        (changed(variant="V2"), 0.0),
        (changed(reason="other"), SOON_S),
        (changed(counts=Counts(frames=1)), SOON_S),
        (changed(foreign_cpu=0.3), LATER_S),
        (changed(inference_ms_p50=3.0), LATER_S),
    ],
)
def test_what_changed_decides_how_soon_it_is_said(
    later: Callable[[], NodeState], due_after_s: float
) -> None:
    announcements = Announcements()
    assert announcements.is_due(STATE, 100.0)
    announcements.published(STATE, 100.0)
    assert announcements.is_due(later(), 100.0 + due_after_s)
    if due_after_s:
        assert not announcements.is_due(later(), 100.0 + due_after_s - 0.01)


def test_the_same_state_is_not_said_twice_unless_forgotten() -> None:
    announcements = Announcements()
    announcements.published(STATE, 0.0)
    assert not announcements.is_due(STATE, 1e6)
    announcements.forget()
    assert announcements.is_due(STATE, 1e6)


def test_counts_carry_the_evicted_from_where_frames_wait() -> None:
    counts = FrameCounts(lambda: 3)
    counts.frames, counts.answered = 5, 2
    assert counts.payload() == Counts(frames=5, answered=2, evicted=3)
