from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from broker.codecs import PredictionMessage
from gateway.collector import MAX_REMEMBERED, Collector, Decision, Drop, Ticket, Voter
from models.rules import Rule

SESSION = 4711
CLASSES = 10
VOTERS = {1: Voter("V1", 0.6), 2: Voter("V2", 0.8), 3: Voter("V3", 1.0)}
CAPTURED = datetime(2025, 6, 1, tzinfo=UTC)


def collector(rule: Rule = "residual", max_in_flight: int = 64) -> Collector:
    return Collector(
        session=SESSION,
        voters=VOTERS,
        class_count=CLASSES,
        rule=rule,
        max_in_flight=max_in_flight,
    )


def ticket(frame: int = 1, deadline_ms: int = 500) -> Ticket:
    return Ticket(frame, "porch", CAPTURED, deadline_ms)


def answer(
    frame: int = 1,
    *,
    session: int = SESSION,
    model: int = 1,
    class_count: int = CLASSES,
    label: int = 4,
    score: float = 0.75,
) -> PredictionMessage:
    return PredictionMessage(
        session=session,
        frame=frame,
        model=model,
        inference_us=2500,
        class_count=class_count,
        indices=(label, (label + 1) % CLASSES),
        values=(score, 0.125),
    )


def decided(outcome: Decision | Drop | None) -> Decision:
    assert isinstance(outcome, Decision)
    return outcome


def test_frame_ends_when_all_expected_have_answered() -> None:
    frames = collector()
    assert frames.open(ticket(), {"a", "b"}, now_s=10.0) == []
    assert frames.receive("a", answer(model=1), now_s=10.1) is None
    decision = decided(frames.receive("b", answer(model=2), now_s=10.2))
    assert decision.decided == "all"
    assert decision.latency_s == pytest.approx(0.2)
    assert [(part.node, part.variant) for part in decision.contributions] == [
        ("a", "V1"),
        ("b", "V2"),
    ]
    assert decision.contributions[0].inference_ms == 2.5
    assert (decision.expected, decision.missing) == (2, ())
    assert frames.in_flight == 0
    assert frames.next_deadline_s() is None


def test_contribution_names_what_its_node_alone_would_have() -> None:
    frames = collector()
    frames.open(ticket(), {"a", "b"}, now_s=0)
    frames.receive("a", answer(model=1, label=3), now_s=0.1)
    # all scores, in the order of the classes: the best need not come first
    scores = tuple(0.5 if index == 7 else 0.05 for index in range(CLASSES))
    every = replace(answer(model=2), indices=tuple(range(CLASSES)), values=scores)
    decision = decided(frames.receive("b", every, now_s=0.2))
    assert [part.best for part in decision.contributions] == [3, 7]


def test_deadline_ends_a_frame_with_what_there_is() -> None:
    frames = collector()
    frames.open(ticket(deadline_ms=500), {"a", "b"}, now_s=10.0)
    frames.receive("b", answer(model=2), now_s=10.1)
    assert frames.next_deadline_s() == 10.5
    assert frames.expire(now_s=10.4999) == []
    (decision,) = frames.expire(now_s=10.5)
    assert decision.decided == "deadline"
    assert decision.missing == ("a",)
    assert decision.scores is not None
    assert decision.scores.argmax() == 4


def test_nobody_answering_is_decided_without_scores() -> None:
    frames = collector()
    frames.open(ticket(), {"a"}, now_s=0.0)
    (decision,) = frames.expire(now_s=0.5)
    assert (decision.scores, decision.probabilities, decision.contributions) == (None, None, ())
    assert decision.missing == ("a",)


def test_frame_nobody_is_expected_to_answer_is_open_until_its_deadline() -> None:
    frames = collector()
    frames.open(ticket(), (), now_s=0.0)
    assert frames.receive("a", answer(), now_s=0.1) is None
    (decision,) = frames.expire(now_s=0.5)
    assert (decision.decided, decision.expected, decision.missing) == ("deadline", 0, ())
    assert [part.node for part in decision.contributions] == ["a"]


def test_answer_that_was_not_expected_counts() -> None:
    frames = collector()
    frames.open(ticket(), {"a"}, now_s=0.0)
    assert frames.receive("paused", answer(model=2), now_s=0.1) is None
    decision = decided(frames.receive("a", answer(model=1), now_s=0.2))
    assert [part.node for part in decision.contributions] == ["paused", "a"]
    assert decision.expected == 1


def test_vanished_node_is_no_longer_waited_for() -> None:
    frames = collector()
    frames.open(ticket(1), {"a", "b"}, now_s=0.0)
    frames.open(ticket(2), {"a", "b"}, now_s=0.0)
    frames.receive("a", answer(1), now_s=0.1)
    (decision,) = frames.forget("b", now_s=0.2)
    assert (decision.ticket.frame, decision.decided, decision.missing) == (1, "all", ("b",))
    # Frame 2 has no answer yet and waits for a.
    assert decided(frames.receive("a", answer(2), now_s=0.3)).missing == ("b",)


def test_frame_whose_nodes_all_vanished_without_an_answer_waits_for_its_deadline() -> None:
    frames = collector()
    frames.open(ticket(), {"a"}, now_s=0.0)
    assert frames.forget("a", now_s=0.1) == []
    late_comer = decided(frames.receive("b", answer(), now_s=0.2))
    assert late_comer.missing == ("a",)


def test_same_model_on_two_nodes_weighs_once() -> None:
    alone, twice = collector(), collector()
    alone.open(ticket(), {"a", "b"}, now_s=0.0)
    alone.receive("a", answer(model=1, label=4), now_s=0.1)
    one = decided(alone.receive("b", answer(model=3, label=7), now_s=0.1))
    twice.open(ticket(), {"a", "b", "c"}, now_s=0.0)
    twice.receive("a", answer(model=1, label=4), now_s=0.1)
    twice.receive("c", answer(model=1, label=4), now_s=0.1)
    two = decided(twice.receive("b", answer(model=3, label=7), now_s=0.1))
    assert one.scores is not None
    assert two.scores is not None
    assert_allclose(two.scores, one.scores)
    assert len(two.contributions) == 3


def test_papers_rule_ranks_and_probabilities_come_from_the_residual_one() -> None:
    frames = collector("paper")
    frames.open(ticket(), {"a"}, now_s=0.0)
    decision = decided(frames.receive("a", answer(score=0.75), now_s=0.1))
    assert decision.scores is not None
    assert decision.probabilities is not None
    assert decision.scores.argmax() == 4
    assert decision.scores.max() < 0.2  # flat, as a softmax over softmaxes is
    assert decision.probabilities[4] == pytest.approx(0.75)
    assert_allclose(decision.probabilities.sum(), 1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (answer(session=SESSION + 1), Drop.FOREIGN_SESSION),
        (answer(model=9), Drop.UNKNOWN_MODEL),
        (answer(class_count=11), Drop.WRONG_CLASS_COUNT),
        (answer(frame=2), Drop.UNKNOWN_FRAME),
    ],
)
def test_answer_that_belongs_to_no_frame_is_counted_and_dropped(
    message: PredictionMessage, reason: Drop
) -> None:
    frames = collector()
    frames.open(ticket(1), {"a"}, now_s=0.0)
    assert frames.receive("a", message, now_s=0.1) is reason
    assert frames.drops == Counter({reason: 1})
    assert frames.in_flight == 1


def test_late_answer_is_counted_and_dropped() -> None:
    frames = collector()
    frames.open(ticket(1), {"a", "b"}, now_s=0.0)
    frames.receive("a", answer(), now_s=0.1)
    # Past the deadline, though the timer has not fired yet.
    assert frames.receive("b", answer(), now_s=0.5) is Drop.LATE
    frames.expire(now_s=0.5)
    assert frames.receive("b", answer(), now_s=0.6) is Drop.LATE
    assert frames.receive("a", answer(), now_s=0.6) is Drop.DUPLICATE
    assert frames.drops == {Drop.LATE: 2, Drop.DUPLICATE: 1}


def test_repeated_answer_is_counted_and_changes_nothing() -> None:
    frames = collector()
    frames.open(ticket(), {"a", "b"}, now_s=0.0)
    frames.receive("a", answer(label=4), now_s=0.1)
    assert frames.receive("a", answer(label=8), now_s=0.1) is Drop.DUPLICATE
    decision = decided(frames.receive("b", answer(model=2, label=4), now_s=0.2))
    assert decision.scores is not None
    assert decision.scores.argmax() == 4


def test_late_answer_is_told_from_an_unknown_one_after_the_memory_of_it_is_gone() -> None:
    frames = collector()
    for frame in range(MAX_REMEMBERED + 10):
        frames.open(ticket(frame), {"a"}, now_s=0.0)
        frames.expire(now_s=1.0)
    assert frames.receive("a", answer(frame=0), now_s=1.0) is Drop.LATE
    assert frames.receive("a", answer(frame=5000), now_s=1.0) is Drop.UNKNOWN_FRAME


def test_frame_numbers_may_wrap_round() -> None:
    frames = collector()
    for frame in (2**32 - 1, 0):
        frames.open(ticket(frame), {"a"}, now_s=0.0)
    assert decided(frames.receive("a", answer(2**32 - 1), now_s=0.1)).ticket.frame == 2**32 - 1
    assert decided(frames.receive("a", answer(0), now_s=0.1)).ticket.frame == 0
    assert frames.receive("a", answer(2**32 - 5), now_s=0.1) is Drop.LATE
    assert frames.receive("a", answer(3), now_s=0.1) is Drop.UNKNOWN_FRAME


def test_too_many_waiting_frames_push_the_oldest_out() -> None:
    frames = collector(max_in_flight=2)
    for frame in (1, 2):
        frames.open(ticket(frame), {"a"}, now_s=0.0)
    (pushed_out,) = frames.open(ticket(3), {"a"}, now_s=0.1)
    assert (pushed_out.ticket.frame, pushed_out.decided) == (1, "deadline")
    assert (frames.in_flight, frames.evicted) == (2, 1)


def test_abandoned_frame_is_never_decided() -> None:
    frames = collector()
    frames.open(ticket(), {"a"}, now_s=0.0)
    frames.abandon(1)
    assert frames.expire(now_s=9.0) == []
    assert frames.forget("a", now_s=9.0) == []


def test_frame_cannot_wait_twice() -> None:
    frames = collector()
    frames.open(ticket(), {"a"}, now_s=0.0)
    with pytest.raises(ValueError, match="waits already"):
        frames.open(ticket(), {"a"}, now_s=0.0)


NODES = ("a", "b", "c", "d")
events = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sets(st.sampled_from(NODES))),
        st.tuples(
            st.just("answer"),
            st.tuples(
                st.sampled_from(NODES),
                st.integers(min_value=-6, max_value=2),  # which frame, from the last one
                st.sampled_from([SESSION] * 5 + [SESSION + 1]),
                st.sampled_from([1, 2, 3, 3, 9]),
            ),
        ),
        st.tuples(st.just("vanish"), st.sampled_from(NODES)),
        st.tuples(st.just("wait"), st.floats(min_value=0.01, max_value=0.4)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(events)
def test_any_interleaving_ends_each_frame_once_and_mixes_nothing(
    happenings: list[tuple[str, object]],
) -> None:
    frames = collector(max_in_flight=3)
    now_s, last, accepted, offered = 0.0, 0, 0, 0
    ended: list[Decision] = []
    sent: dict[tuple[int, str], int] = {}  # (frame, node): model of its first valid answer
    for kind, what in happenings:
        if kind == "wait":
            assert isinstance(what, float)
            now_s += what
            ended += frames.expire(now_s)
        elif kind == "vanish":
            ended += frames.forget(str(what), now_s)
        elif kind == "open":
            assert isinstance(what, Collection)
            last += 1
            ended += frames.open(ticket(last), what, now_s)
        else:
            assert isinstance(what, tuple)
            node, back, session, model = what
            frame = last + back
            if frame < 0:
                continue
            offered += 1
            outcome = frames.receive(node, answer(frame, session=session, model=model), now_s)
            if not isinstance(outcome, Drop):
                accepted += 1
                assert session == SESSION
                assert model in VOTERS
                assert (frame, node) not in sent
                sent[frame, node] = model
            if isinstance(outcome, Decision):
                ended.append(outcome)
    ended += frames.expire(now_s + 1)

    assert sorted(decision.ticket.frame for decision in ended) == list(range(1, last + 1))
    assert accepted + frames.drops.total() == offered
    for decision in ended:
        frame = decision.ticket.frame
        nodes = [part.node for part in decision.contributions]
        assert sorted(nodes) == sorted(node for number, node in sent if number == frame)
        assert not set(decision.missing) & set(nodes)
        assert (decision.scores is None) == (not nodes)
        if decision.scores is not None:
            assert np.isfinite(decision.scores).all()
            assert decision.scores.sum() == pytest.approx(1)
    assert frames.in_flight == 0
