import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.interface import Interface
from node_agent.worker_protocol import (
    HEADER,
    MAX_BODY_BYTES,
    Kind,
    LoadRequest,
    Ready,
    WorkerAnswer,
    WorkerProtocolError,
    decode_answer,
    decode_load,
    decode_ready,
    encode_answer,
    encode_load,
    encode_ready,
    pack_message,
    unpack_header,
)


def test_message_round_trip() -> None:
    message = pack_message(Kind.CLASSIFY, b"jpeg")
    assert unpack_header(message[: HEADER.size]) == (Kind.CLASSIFY, 4)
    assert message[HEADER.size :] == b"jpeg"


@pytest.mark.parametrize("header", [HEADER.pack(99, 1), HEADER.pack(1, MAX_BODY_BYTES + 1)])
def test_an_unknown_kind_or_a_huge_body_is_refused(header: bytes) -> None:
    with pytest.raises(WorkerProtocolError):
        unpack_header(header)


def test_load_round_trip_with_zero_bytes_in_the_model() -> None:
    request = LoadRequest(b"\0TFL\0", 96, 10, 2, (0.1, -0.25), 1)
    assert decode_load(encode_load(request)) == request


def test_load_says_what_the_model_takes_and_returns() -> None:
    request = LoadRequest(b"TFL3", 96, 10, 2, (0, 0), 1, Interface((-1.0, 0.992), "logits"))
    assert decode_load(encode_load(request)) == request


def test_ready_round_trip() -> None:
    ready = Ready(1.5, ("SCHED_IDLE was refused",))
    assert decode_ready(encode_ready(ready)) == ready


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"trial_ms": "x", "notes": []}', b"\xff"])
def test_a_ready_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(WorkerProtocolError):
        decode_ready(body)


def test_answer_round_trip() -> None:
    answer = WorkerAnswer(400, 1200, 1500, 1000, (999, 3), (0.75, 0.25))
    assert decode_answer(encode_answer(answer)) == answer


@given(st.binary(max_size=64))
def test_any_bytes_are_an_answer_or_refused(body: bytes) -> None:
    try:
        answer = decode_answer(body)
    except WorkerProtocolError:
        return
    assert len(answer.indices) == len(answer.values)
