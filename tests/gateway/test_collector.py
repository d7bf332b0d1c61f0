from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from broker.codecs import PredictionMessage
from gateway.collector import MAX_REMEMBERED, Collector, Decision, Drop, Ticket, Voter
from gateway.results import build_result
from models.rules import Rule

SESSION = 4711
CLASSES = 10
VOTERS = {1: Voter("V1", 0.6), 2: Voter("V2", 0.8), 3: Voter("V3", 1.0)}
LABELS = tuple("abcdefghij")
CAPTURED = datetime(2025, 6, 1, tzinfo=UTC)


def collector(rule: Rule = "residual", max_in_flight: int = 64) -> Collector:
    return Collector(
        session=SESSION,
        voters=VOTERS,
        class_count=CLASSES,
        rule=rule,
        max_in_flight=max_in_flight,
    )


def ticket(
    frame: int = 1,
    deadline_ms: int = 500,
    min_confidence: float = 0.0,
    decide_early: bool = False,
) -> Ticket:
    return Ticket(frame, "porch", CAPTURED, deadline_ms, min_confidence, decide_early)


def nodes(*names: str) -> dict[str, int | None]:
    """Expected nodes of which it is not known what they run."""
    return dict.fromkeys(names)


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
    assert frames.open(ticket(), nodes("a", "b"), now_s=10.0) == []
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
    frames.open(ticket(), nodes("a", "b"), now_s=0)
    frames.receive("a", answer(model=1, label=3), now_s=0.1)
    # all scores, in the order of the classes: the best need not come first
    scores = tuple(0.5 if index == 7 else 0.05 for index in range(CLASSES))
    every = replace(answer(model=2), indices=tuple(range(CLASSES)), values=scores)
    decision = decided(frames.receive("b", every, now_s=0.2))
    assert [part.best for part in decision.contributions] == [3, 7]


def test_deadline_ends_a_frame_with_what_there_is() -> None:
    frames = collector()
    frames.open(ticket(deadline_ms=500), nodes("a", "b"), now_s=10.0)
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
    frames.open(ticket(), nodes("a"), now_s=0.0)
    (decision,) = frames.expire(now_s=0.5)
    assert (decision.scores, decision.probabilities, decision.contributions) == (None, None, ())
    assert decision.missing == ("a",)


def test_frame_nobody_is_expected_to_answer_is_open_until_its_deadline() -> None:
    frames = collector()
    frames.open(ticket(), {}, now_s=0.0)
    assert frames.receive("a", answer(), now_s=0.1) is None
    (decision,) = frames.expire(now_s=0.5)
    assert (decision.decided, decision.expected, decision.missing) == ("deadline", 0, ())
    assert [part.node for part in decision.contributions] == ["a"]


def test_answer_that_was_not_expected_counts() -> None:
    frames = collector()
    frames.open(ticket(), nodes("a"), now_s=0.0)
    assert frames.receive("paused", answer(model=2), now_s=0.1) is None
    decision = decided(frames.receive("a", answer(model=1), now_s=0.2))
    assert [part.node for part in decision.contributions] == ["paused", "a"]
    assert decision.expected == 1


def test_vanished_node_is_no_longer_waited_for() -> None:
    frames = collector()
    frames.open(ticket(1), nodes("a", "b"), now_s=0.0)
    frames.open(ticket(2), nodes("a", "b"), now_s=0.0)
    frames.receive("a", answer(1), now_s=0.1)
    (decision,) = frames.forget("b", now_s=0.2)
    assert (decision.ticket.frame, decision.decided, decision.missing) == (1, "all", ("b",))
    # Frame 2 has no answer yet and waits for a.
    assert decided(frames.receive("a", answer(2), now_s=0.3)).missing == ("b",)


def test_frame_whose_nodes_all_vanished_without_an_answer_waits_for_its_deadline() -> None:
    frames = collector()
    frames.open(ticket(), nodes("a"), now_s=0.0)
    assert frames.forget("a", now_s=0.1) == []
    late_comer = decided(frames.receive("b", answer(), now_s=0.2))
    assert late_comer.missing == ("a",)


def test_same_model_on_two_nodes_weighs_once() -> None:
    alone, twice = collector(), collector()
    alone.open(ticket(), nodes("a", "b"), now_s=0.0)
    alone.receive("a", answer(model=1, label=4), now_s=0.1)
    one = decided(alone.receive("b", answer(model=3, label=7), now_s=0.1))
    twice.open(ticket(), nodes("a", "b", "c"), now_s=0.0)
    twice.receive("a", answer(model=1, label=4), now_s=0.1)
    twice.receive("c", answer(model=1, label=4), now_s=0.1)
    two = decided(twice.receive("b", answer(model=3, label=7), now_s=0.1))
    assert one.scores is not None
    assert two.scores is not None
    assert_allclose(two.scores, one.scores)
    assert len(two.contributions) == 3


def test_same_variant_in_two_precisions_weighs_once() -> None:
    once = collector()
    both = Collector(
        session=SESSION,
        voters=VOTERS | {11: Voter("V1", 0.6)},  # another file of V1
        class_count=CLASSES,
        rule="residual",
    )
    outcomes = []
    for frames in (once, both):
        frames.open(ticket(), nodes("a", "b", "c"), now_s=0.0)
        frames.receive("a", answer(model=1, label=4), now_s=0.1)
        frames.receive("c", answer(model=11 if frames is both else 1, label=4), now_s=0.1)
        outcomes.append(decided(frames.receive("b", answer(model=3, label=7), now_s=0.1)))
    same, other = outcomes
    assert same.scores is not None
    assert other.scores is not None
    assert_allclose(other.scores, same.scores)
    assert {one.variant for one in other.contributions} == {"V1", "V3"}


def test_papers_rule_ranks_and_probabilities_come_from_the_residual_one() -> None:
    frames = collector("paper")
    frames.open(ticket(), nodes("a"), now_s=0.0)
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
    frames.open(ticket(1), nodes("a"), now_s=0.0)
    assert frames.receive("a", message, now_s=0.1) is reason
    assert frames.drops == Counter({reason: 1})
    assert frames.in_flight == 1


def test_late_answer_is_counted_and_dropped() -> None:
    frames = collector()
    frames.open(ticket(1), nodes("a", "b"), now_s=0.0)
    frames.receive("a", answer(), now_s=0.1)
    # Past the deadline, though the timer has not fired yet.
    assert frames.receive("b", answer(), now_s=0.5) is Drop.LATE
    frames.expire(now_s=0.5)
    assert frames.receive("b", answer(), now_s=0.6) is Drop.LATE
    assert frames.receive("a", answer(), now_s=0.6) is Drop.DUPLICATE
    assert frames.drops == {Drop.LATE: 2, Drop.DUPLICATE: 1}


def test_repeated_answer_is_counted_and_changes_nothing() -> None:
    frames = collector()
    frames.open(ticket(), nodes("a", "b"), now_s=0.0)
    frames.receive("a", answer(label=4), now_s=0.1)
    assert frames.receive("a", answer(label=8), now_s=0.1) is Drop.DUPLICATE
    decision = decided(frames.receive("b", answer(model=2, label=4), now_s=0.2))
    assert decision.scores is not None
    assert decision.scores.argmax() == 4


def test_late_answer_is_told_from_an_unknown_one_after_the_memory_of_it_is_gone() -> None:
    frames = collector()
    for frame in range(MAX_REMEMBERED + 10):
        frames.open(ticket(frame), nodes("a"), now_s=0.0)
        frames.expire(now_s=1.0)
    assert frames.receive("a", answer(frame=0), now_s=1.0) is Drop.LATE
    assert frames.receive("a", answer(frame=5000), now_s=1.0) is Drop.UNKNOWN_FRAME


def test_frame_numbers_may_wrap_round() -> None:
    frames = collector()
    for frame in (2**32 - 1, 0):
        frames.open(ticket(frame), nodes("a"), now_s=0.0)
    assert decided(frames.receive("a", answer(2**32 - 1), now_s=0.1)).ticket.frame == 2**32 - 1
    assert decided(frames.receive("a", answer(0), now_s=0.1)).ticket.frame == 0
    assert frames.receive("a", answer(2**32 - 5), now_s=0.1) is Drop.LATE
    assert frames.receive("a", answer(3), now_s=0.1) is Drop.UNKNOWN_FRAME


def test_too_many_waiting_frames_push_the_oldest_out() -> None:
    frames = collector(max_in_flight=2)
    for frame in (1, 2):
        frames.open(ticket(frame), nodes("a"), now_s=0.0)
    (pushed_out,) = frames.open(ticket(3), nodes("a"), now_s=0.1)
    assert (pushed_out.ticket.frame, pushed_out.decided) == (1, "deadline")
    assert (frames.in_flight, frames.evicted) == (2, 1)


def test_abandoned_frame_is_never_decided() -> None:
    frames = collector()
    frames.open(ticket(), nodes("a"), now_s=0.0)
    frames.abandon(1)
    assert frames.expire(now_s=9.0) == []
    assert frames.forget("a", now_s=9.0) == []


def test_frame_cannot_wait_twice() -> None:
    frames = collector()
    frames.open(ticket(), nodes("a"), now_s=0.0)
    with pytest.raises(ValueError, match="waits already"):
        frames.open(ticket(), nodes("a"), now_s=0.0)


def test_frame_ends_when_nobody_can_change_the_winner() -> None:
    frames = collector()
    frames.open(ticket(decide_early=True), {"a": 1, "b": 2, "c": 3}, now_s=0.0)
    assert frames.receive("c", answer(model=3, score=0.875), now_s=0.1) is None
    # 0.75 · (1.0 + 0.8) ahead, and V1 weighs 0.6.
    decision = decided(frames.receive("b", answer(model=2, score=0.875), now_s=0.2))
    assert (decision.decided, decision.expected, decision.missing) == ("certain", 3, ("a",))
    assert [part.node for part in decision.contributions] == ["c", "b"]
    assert decision.probabilities is not None
    assert decision.probabilities[4] == pytest.approx(0.875)
    assert frames.next_deadline_s() is None


def test_frame_that_is_not_to_end_early_waits_for_all() -> None:
    frames = collector()
    frames.open(ticket(decide_early=False), {"a": 1, "b": 2, "c": 3}, now_s=0.0)
    frames.receive("c", answer(model=3), now_s=0.1)
    assert frames.receive("b", answer(model=2), now_s=0.2) is None
    assert decided(frames.receive("a", answer(model=1), now_s=0.3)).decided == "all"


def test_certain_winner_waits_for_its_quorum() -> None:
    for quorum, outcome in ((2, "certain"), (3, None)):
        frames = collector()
        asked = replace(ticket(decide_early=True), quorum=quorum)
        frames.open(asked, {"a": 1, "b": 2, "c": 3}, now_s=0.0)
        frames.receive("c", answer(model=3, score=0.875), now_s=0.1)
        found = frames.receive("b", answer(model=2, score=0.875), now_s=0.2)
        assert (decided(found).decided if found else None) == outcome


def test_certain_winner_whose_status_may_change_is_waited_for() -> None:
    # Confidence is 0.875 · 1.8 / 2.4 = 0.656 if V1 says another class.
    for min_confidence, outcome in ((0.6562, "certain"), (0.6563, None), (0.95, "certain")):
        frames = collector()
        expected = {"a": 1, "b": 2, "c": 3}
        frames.open(ticket(min_confidence=min_confidence, decide_early=True), expected, 0.0)
        frames.receive("c", answer(model=3, score=0.875), now_s=0.1)
        found = frames.receive("b", answer(model=2, score=0.875), now_s=0.2)
        assert (decided(found).decided if found else None) == outcome


@pytest.mark.parametrize("model", [None, 9])
def test_nothing_is_certain_while_it_is_not_known_what_a_node_runs(model: int | None) -> None:
    frames = collector()
    frames.open(ticket(decide_early=True), {"a": 1, "b": 2, "c": 3, "d": model}, now_s=0.0)
    for node, number in (("a", 1), ("b", 2), ("c", 3)):
        assert frames.receive(node, answer(model=number), now_s=0.1) is None


def test_second_node_with_the_same_model_is_not_waited_for() -> None:
    frames = collector()
    frames.open(ticket(decide_early=True), {"a": 3, "b": 3}, now_s=0.0)
    decision = decided(frames.receive("b", answer(model=3), now_s=0.1))
    assert (decision.decided, decision.missing) == ("certain", ("a",))


def test_vanishing_node_may_leave_the_rest_certain() -> None:
    frames = collector()
    frames.open(ticket(decide_early=True), {"a": 1, "b": 2, "c": 3}, now_s=0.0)
    assert frames.receive("c", answer(model=3, score=0.875), now_s=0.1) is None
    (decision,) = frames.forget("b", now_s=0.2)
    assert (decision.decided, decision.missing) == ("certain", ("a", "b"))


def test_answer_after_an_early_decision_is_neither_late_nor_a_duplicate() -> None:
    frames = collector()
    frames.open(ticket(decide_early=True), {"a": 1, "b": 2, "c": 3}, now_s=0.0)
    frames.receive("c", answer(model=3, score=0.875), now_s=0.1)
    decided(frames.receive("b", answer(model=2, score=0.875), now_s=0.2))
    assert frames.receive("a", answer(), now_s=0.3) is Drop.AFTER_DECISION
    assert frames.receive("a", answer(), now_s=0.3) is Drop.DUPLICATE
    assert frames.receive("b", answer(model=2), now_s=0.3) is Drop.DUPLICATE
    # It would have been too late anyhow.
    assert frames.receive("d", answer(), now_s=0.5) is Drop.LATE


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[str, PredictionMessage]]:
    """Some of four nodes, in any order, mostly of one mind, each with its own model and k."""
    said = []
    for node in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        label = draw(st.sampled_from([4, 4, 4, 4, 7]))
        score = draw(st.sampled_from([1.0, 0.96875, 0.75, 0.5]))
        message = answer(model="abcd".index(node) + 1, label=label, score=score)
        if draw(st.booleans()):  # k = 1: the index alone
            message = replace(message, indices=(label,), values=(1.0,))
        elif score == 1.0:
            message = replace(message, values=(1.0, 0.0))
        said.append((node, message))
    return said


@pytest.mark.parametrize("rule", get_args(Rule))
@settings(max_examples=200, deadline=None)
@given(
    said=conversations(),
    min_confidence=st.sampled_from([0.0, 0.5, 0.7, 0.9, 1.0]),
    weights=st.lists(st.floats(0.2, 2), min_size=4, max_size=4),
)
def test_early_winner_and_status_are_those_of_every_completion(
    rule: Rule,
    said: list[tuple[str, PredictionMessage]],
    min_confidence: float,
    weights: list[float],
) -> None:
    voters = {index + 1: Voter(f"V{index}", weight) for index, weight in enumerate(weights)}
    outcomes = []
    for early in (True, False):
        frames = Collector(session=SESSION, voters=voters, class_count=CLASSES, rule=rule)
        expected = dict(zip("abcd", voters, strict=True))
        frames.open(ticket(min_confidence=min_confidence, decide_early=early), expected, 0.0)
        found = [frames.receive(node, message, 0.1) for node, message in said]
        decisions = [one for one in found if isinstance(one, Decision)] + frames.expire(0.5)
        assert len(decisions) == 1
        outcomes.append(build_result(decisions[0], LABELS, pack="p"))
        assert len(said) == len(outcomes[-1].contributors) + frames.drops[Drop.AFTER_DECISION]
    first, last = outcomes
    assert (first.label, first.status) == (last.label, last.status)
    assert last.decided in ("all", "deadline")


NODES = ("a", "b", "c", "d")
HOLDS = {"a": 1, "b": 2, "c": 3, "d": 3}
events = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.tuples(st.sets(st.sampled_from(NODES)), st.booleans())),
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
            assert isinstance(what, tuple)
            asked, early = what
            last += 1
            expected = {name: HOLDS[name] for name in asked}
            ended += frames.open(ticket(last, decide_early=early), expected, now_s)
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
        answered = [part.node for part in decision.contributions]
        assert sorted(answered) == sorted(node for number, node in sent if number == frame)
        assert not set(decision.missing) & set(answered)
        assert (decision.scores is None) == (not answered)
        if decision.scores is not None:
            assert np.isfinite(decision.scores).all()
            assert decision.scores.sum() == pytest.approx(1)
    assert frames.in_flight == 0


def test_a_variant_that_has_answered_in_another_precision_is_not_waited_for_to_be_certain() -> None:
    frames = Collector(
        session=SESSION,
        voters={1: Voter("V1", 0.6), 11: Voter("V1", 0.6), 3: Voter("V3", 1.0)},
        class_count=CLASSES,
        rule="residual",
    )
    frames.open(ticket(decide_early=True), {"a": 1, "b": 11, "c": 3}, now_s=0.0)
    assert frames.receive("a", answer(model=1, score=0.9), now_s=0.1) is None
    decision = decided(frames.receive("c", answer(model=3, score=0.9), now_s=0.1))
    assert (decision.decided, decision.missing) == ("certain", ("b",))
