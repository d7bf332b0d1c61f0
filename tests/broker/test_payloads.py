import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PayloadError
from broker.payloads import (
    MAX_JSON_BYTES,
    OFFLINE,
    ONLINE,
    Assignment,
    Contributor,
    Counts,
    LabelScore,
    NodeCommand,
    NodeState,
    OwnerReport,
    Result,
    dump,
    parse,
    utc_now,
)

SHA = "ab" * 32
ASSIGNMENT = {"pack": "cifar10", "variant": "V1", "model": SHA, "cameras": ["porch"]}
RESULT: dict[str, Any] = {
    "camera": "porch",
    "frame": 1,
    "captured_at": "2025-01-31T13:00:00+01:00",
    "status": "answered",
    "label": "cat",
    "confidence": 0.5,
    "top": [{"label": "cat", "score": 0.5}],
    "decided": "all",
    "contributors": [{"node": "pi", "variant": "V1", "ms": 3.5}],
    "expected": 1,
    "missing": [],
    "latency_ms": 5.0,
    "deadline_ms": 500,
    "pack": "cifar10",
}
SILENT = {
    "status": "no_answer", "label": None, "confidence": None, "top": [], "contributors": [],
    "decided": "deadline", "missing": ["pi"],
}  # fmt: skip


def test_status_words() -> None:
    assert (ONLINE, OFFLINE) == ("online", "offline")


def test_state_comes_back() -> None:
    state = NodeState(
        node="pi",
        state="paused",
        reason="foreign CPU 80 %",
        pack="cifar10",
        variant="V1",
        model=SHA,
        inference_ms_p50=3.0,
        foreign_cpu=0.8,
        variants=["V1", "V2"],
        session="0123abcd",
        up_s=12.5,
        cause="core",
        paused_by_hand=True,
        foreign_cpu_core=0.99,
        memory_available_mib=812,
        temperature_c=54.3,
        battery=0.81,
        battery_discharging=False,
        counts=Counts(frames=3, answered=2, skipped=1),
        owner=OwnerReport(cpu_s=3.2, idle_share=0.01, yields=4, yield_ms_p50=3, yield_ms_max=80),
        version="0.1.0",
    )
    assert parse(NodeState, dump(state)) == state


@pytest.mark.parametrize(
    "command",
    [{"paused": True}, {"paused": True, "for_s": 7200}, {"paused": False}, {"announce": True}, {}],
)
def test_command_comes_back(command: dict[str, Any]) -> None:
    parsed = parse(NodeCommand, json.dumps(command).encode())
    assert parsed == NodeCommand.model_validate(command)
    assert parse(NodeCommand, dump(parsed)) == parsed


@pytest.mark.parametrize(
    "command", [{"paused": "maybe"}, {"for_s": 0}, {"for_s": 1e9}, {"for_s": "2h"}, []]
)
def test_what_is_no_command_is_refused(command: Any) -> None:
    with pytest.raises(PayloadError):
        parse(NodeCommand, json.dumps(command).encode())


def test_assignment_comes_back() -> None:
    assert parse(Assignment, json.dumps(ASSIGNMENT).encode()).cameras == ["porch"]


def test_result_comes_back_in_utc() -> None:
    result = parse(Result, json.dumps(RESULT).encode())
    assert result.captured_at == datetime(2025, 1, 31, 12, tzinfo=UTC)
    assert result.captured_at.utcoffset() == timedelta(0)
    assert json.loads(dump(result))["captured_at"] == "2025-01-31T12:00:00Z"
    assert parse(Result, dump(result)) == result


def test_time_of_another_zone_is_kept_as_utc() -> None:
    moment = datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    result = Result.model_validate(RESULT | {"captured_at": moment})
    assert result.captured_at.tzinfo == UTC
    assert utc_now().tzinfo == UTC


def test_no_answer_is_a_result_without_a_label() -> None:
    result = parse(Result, json.dumps(RESULT | SILENT).encode())
    assert result.status == "no_answer"
    assert result.label is None


@pytest.mark.parametrize(
    "claim",
    [
        {"label": "cat"},
        {"confidence": 0.0},
        {"top": [LabelScore(label="cat", score=0.1).model_dump()]},
        {"contributors": [Contributor(node="pi", variant="V1", ms=1).model_dump()]},
    ],
)
def test_no_answer_claims_nothing(claim: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="no_answer carries no label"):
        parse(Result, json.dumps(RESULT | SILENT | claim).encode())


def test_answer_has_a_label() -> None:
    with pytest.raises(PayloadError, match="carries a label"):
        parse(Result, json.dumps(RESULT | {"label": None}).encode())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "abc"}, "model"),
        ({"model": SHA + "\n"}, "model"),
        ({"cameras": ["a/b"]}, "cameras.0"),
        ({"cameras": ["porch\n"]}, "cameras.0"),
        ({"pack": ""}, "pack"),
        ({"variant": None}, "variant"),
    ],
)
def test_wrong_field_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(PayloadError, match=f"^Assignment {named}: ") as caught:
        parse(Assignment, json.dumps(ASSIGNMENT | change).encode())
    assert "\n" not in caught.value.reason


def test_fields_of_a_newer_version_are_ignored() -> None:
    more = {"new_in_2": {"a": 1}}
    assignment = parse(Assignment, json.dumps(ASSIGNMENT | more).encode())
    assert assignment == parse(Assignment, json.dumps(ASSIGNMENT).encode())
    state = {"node": "pi", "state": "working", "counts": {"frames": 3} | more, "version": "2.0"}
    assert parse(NodeState, json.dumps(state | more).encode()).counts == Counts(frames=3)
    nested = {
        "top": [RESULT["top"][0] | more],
        "contributors": [RESULT["contributors"][0] | more],
    }
    result = parse(Result, json.dumps(RESULT | nested | more).encode())
    assert result == parse(Result, json.dumps(RESULT).encode())
    assert b"new_in_2" not in dump(result)


@pytest.mark.parametrize(
    "change",
    [
        {"captured_at": "2025-01-31T12:00:00"},
        {"confidence": 1.5},
        {"confidence": float("nan")},
        {"latency_ms": -1},
        {"status": "seen"},
        {"frame": -1},
        {"frame": 1.5},
    ],
)
def test_result_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        parse(Result, json.dumps(RESULT | change).encode())


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 60_000, b'{"a": 1e999}']
)
def test_what_is_not_a_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(Assignment, payload)


def test_long_payload_is_refused_unread() -> None:
    with pytest.raises(PayloadError, match="bytes of JSON"):
        parse(Assignment, b" " * (MAX_JSON_BYTES + 1))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps(text).encode()))
def test_any_bytes_parse_or_raise_payload_error(payload: bytes) -> None:
    for model in (NodeState, Assignment, Result):
        with suppress(PayloadError):
            parse(model, payload)


def test_the_reason_does_not_repeat_the_payload() -> None:
    with pytest.raises(PayloadError) as caught:
        parse(Assignment, json.dumps(ASSIGNMENT | {"model": "hunter2"}).encode())
    assert "hunter2" not in caught.value.reason
