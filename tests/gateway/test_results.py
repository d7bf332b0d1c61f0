from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from gateway.collector import Contribution, Decided, Decision, Ticket
from gateway.regions import Box
from gateway.results import build_result

LABELS = ("cat", "dog", "fox", "owl")
CAPTURED = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)


def decision(scores: list[float] | None, min_confidence: float = 0.5, **changes: Any) -> Decision:
    array = None if scores is None else np.array(scores)
    decided: Decided = "deadline"
    fields: dict[str, Any] = {
        "ticket": Ticket(7, "porch", CAPTURED, 500, min_confidence),
        "decided": decided,
        "contributions": () if scores is None else (Contribution("a", "V1", 3.25, 1),),
        "expected": 2,
        "missing": ("b",),
        "latency_s": 0.123456,
        "scores": array,
        "probabilities": array,
    }
    return Decision(**(fields | changes))


def test_result_says_what_automations_need() -> None:
    result = build_result(decision([0.1, 0.7, 0.15, 0.05]), LABELS, pack="pets")
    assert result.model_dump(mode="json") == {
        "camera": "porch",
        "frame": 7,
        "captured_at": "2025-06-01T12:30:00Z",
        "status": "answered",
        "label": "dog",
        "confidence": 0.7,
        "top": [
            {"label": "dog", "score": 0.7},
            {"label": "fox", "score": 0.15},
            {"label": "cat", "score": 0.1},
        ],
        "decided": "deadline",
        "contributors": [{"node": "a", "variant": "V1", "ms": 3.25}],
        "expected": 2,
        "missing": ["b"],
        "latency_ms": 123.46,
        "deadline_ms": 500,
        "pack": "pets",
        "region": None,
        "quorum": 1,
        "agreement": 1.0,
        "slack_ms": 376.54,
        "age_ms": 123.46,
    }


@pytest.mark.parametrize(
    ("votes", "quorum", "status", "agreement"),
    [
        ([1], 1, "answered", 1.0),
        ([1], 2, "unsure", 1.0),
        ([1, 1], 2, "answered", 1.0),
        ([1, 0], 2, "answered", 0.5),
        ([0, 2, 3], 3, "answered", 0.0),
        ([1, 1, 0], 4, "unsure", 0.6667),
    ],
)
def test_fewer_answers_than_the_quorum_are_unsure(
    votes: list[int], quorum: int, status: str, agreement: float
) -> None:
    result = build_result(
        decision(
            [0.1, 0.7, 0.1, 0.1],
            ticket=Ticket(7, "porch", CAPTURED, 500, min_confidence=0.5, quorum=quorum),
            contributions=tuple(
                Contribution(f"n{number}", "V1", 1.0, best) for number, best in enumerate(votes)
            ),
        ),
        LABELS,
        pack="p",
    )
    assert (result.status, result.label, result.quorum) == (status, "dog", quorum)
    assert result.agreement == agreement


def test_age_counts_from_the_picture_and_slack_to_the_deadline() -> None:
    ticket = Ticket(7, "porch", CAPTURED, 500, age_s=0.04)
    result = build_result(
        decision([0.1, 0.9, 0, 0], ticket=ticket, latency_s=0.1), LABELS, pack="p"
    )
    assert (result.latency_ms, result.age_ms, result.slack_ms) == (100, 140, 400)
    late = build_result(decision(None, ticket=ticket, latency_s=0.501), LABELS, pack="p")
    assert (late.slack_ms, late.agreement) == (0, None)


def test_result_says_which_part_of_the_frame_it_is_about() -> None:
    ticket = Ticket(7, "porch", CAPTURED, 500, region=Box(0.25, 1 / 3, 0.5, 2 / 3))
    result = build_result(decision([0.1, 0.9, 0, 0], ticket=ticket), LABELS, pack="pets")
    assert result.model_dump()["region"] == {"x": 0.25, "y": 0.3333, "width": 0.5, "height": 0.6667}


@pytest.mark.parametrize(
    ("confidence", "min_confidence", "status"),
    [(0.7, 0.7, "answered"), (0.7, 0.71, "unsure"), (0.4, 0.0, "answered"), (1.0, 1.0, "answered")],
)
def test_a_guess_below_the_minimum_is_unsure(
    confidence: float, min_confidence: float, status: str
) -> None:
    rest = (1 - confidence) / 3
    result = build_result(
        decision([rest, rest, confidence, rest], min_confidence), LABELS, pack="p"
    )
    assert (result.status, result.label, result.confidence) == (status, "fox", confidence)


def test_no_answer_says_nothing_about_what_was_seen() -> None:
    result = build_result(decision(None, 0.0), LABELS, pack="p")
    assert result.status == "no_answer"
    assert (result.label, result.confidence, result.top, result.contributors) == (
        None,
        None,
        [],
        [],
    )


def test_the_rule_ranks_and_the_probabilities_are_the_confidence() -> None:
    result = build_result(
        decision([0.26, 0.25, 0.245, 0.245], probabilities=np.array([0.8, 0.1, 0.06, 0.04])),
        LABELS,
        pack="p",
    )
    assert (result.status, result.label, result.confidence) == ("answered", "cat", 0.8)


def test_rounding_never_leaves_the_range() -> None:
    result = build_result(decision([1.0000001, 0.0, -1e-12, 0.0]), LABELS, pack="p")
    assert [entry.score for entry in result.top] == [1.0, 0.0, 0.0]


def test_a_pack_of_two_labels_has_a_top_of_two() -> None:
    result = build_result(decision([0.4, 0.6]), LABELS[:2], pack="p")
    assert [entry.label for entry in result.top] == ["dog", "cat"]
