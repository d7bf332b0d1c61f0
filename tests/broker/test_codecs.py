import math
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.codecs import (
    MAX_CLASS_COUNT,
    MAX_JPEG_BYTES,
    MAX_MESSAGE_BYTES,
    PREDICTION_HEADER_BYTES,
    FrameMessage,
    PredictionMessage,
    body_bytes,
    decode_frame,
    decode_prediction,
    encode_frame,
    encode_prediction,
)
from broker.errors import PayloadError

U32 = st.integers(0, 0xFFFF_FFFF)
SCORES = st.floats(0, 1, width=32)

frames = st.builds(FrameMessage, U32, U32, st.integers(1, 0xFFFF), st.binary(min_size=1))


@st.composite
def predictions(draw: st.DrawFn) -> PredictionMessage:
    class_count = draw(st.integers(1, 600))
    k = draw(st.sampled_from([1, 2, 3, class_count // 2, class_count]))
    k = min(max(k, 1), class_count)
    values: tuple[float, ...]
    indices: tuple[int, ...]
    if k == 1:
        indices, values = (draw(st.integers(0, class_count - 1)),), (1.0,)
    elif 2 * k > class_count:
        indices = tuple(range(class_count))
        values = tuple(draw(st.lists(SCORES, min_size=class_count, max_size=class_count)))
    else:
        one_index = st.integers(0, class_count - 1)
        indices = tuple(draw(st.lists(one_index, min_size=k, max_size=k, unique=True)))
        values = tuple(sorted(draw(st.lists(SCORES, min_size=k, max_size=k)), reverse=True))
    return PredictionMessage(
        draw(U32), draw(U32), draw(U32), draw(U32), class_count, indices, values
    )


def mutated(encoded: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Valid messages with bytes changed, cut off or added."""

    def change(original: bytes, edits: list[tuple[int, int]], end: int, tail: bytes) -> bytes:
        changed = bytearray(original)
        for place, value in edits:
            changed[place % len(changed)] = value
        return bytes(changed[: len(changed) - end % len(changed)] if end else changed) + tail

    edit = st.tuples(st.integers(0, 2000), st.integers(0, 255))
    return st.builds(
        change, encoded, st.lists(edit, max_size=4), st.integers(0, 40), st.binary(max_size=4)
    )


@pytest.mark.parametrize(
    ("k", "class_count", "expected"),
    [
        (1, 10, 1),
        (2, 10, 10),  # the paper's default: 10 bytes at 32-bit floats
        (5, 10, 25),
        (6, 10, 40),  # more than half: dense
        (10, 10, 40),
        (1, 256, 1),
        (1, 257, 2),
        (2, 256, 10),
        (2, 257, 12),
        (2, 1000, 12),
        (500, 1000, 3000),
        (501, 1000, 4000),
        (1, 1, 1),
        (2, 2, 8),
        (2, 3, 12),
    ],
)
def test_body_bytes_follow_equation_3(k: int, class_count: int, expected: int) -> None:
    assert body_bytes(k, class_count) == expected


@pytest.mark.parametrize(
    ("k", "class_count"), [(0, 10), (11, 10), (-1, 10), (1, 0), (1, MAX_CLASS_COUNT + 1)]
)
def test_impossible_counts_are_refused(k: int, class_count: int) -> None:
    with pytest.raises(PayloadError, match="outside"):
        body_bytes(k, class_count)


def test_default_prediction_has_32_bytes() -> None:
    message = PredictionMessage(1, 2, 3, 4, 256, (255, 0), (0.5, 0.25))
    assert len(encode_prediction(message)) == 32


def test_largest_messages_fit_the_limit() -> None:
    assert len(encode_frame(FrameMessage(0, 0, 1, bytes(MAX_JPEG_BYTES)))) == MAX_MESSAGE_BYTES
    values = (0.5,) * MAX_CLASS_COUNT
    dense = PredictionMessage(0, 0, 0, 0, MAX_CLASS_COUNT, tuple(range(MAX_CLASS_COUNT)), values)
    encoded = encode_prediction(dense)
    assert len(encoded) <= MAX_MESSAGE_BYTES
    assert decode_prediction(encoded) == dense


@given(frames)
def test_frame_comes_back(message: FrameMessage) -> None:
    assert decode_frame(encode_frame(message)) == message


@given(predictions())
def test_prediction_comes_back_in_exactly_the_promised_bytes(message: PredictionMessage) -> None:
    encoded = encode_prediction(message)
    body = body_bytes(len(message.indices), message.class_count)
    assert len(encoded) == PREDICTION_HEADER_BYTES + body
    assert decode_prediction(encoded) == message


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_raise_payload_error(payload: bytes) -> None:
    for decode in (decode_frame, decode_prediction):
        with suppress(PayloadError):
            decode(payload)


@given(st.binary(max_size=60), st.integers(0, 4), st.integers(0, 12))
def test_any_body_behind_a_plausible_header_decodes_or_raises(
    body: bytes, k: int, class_count: int
) -> None:
    header = struct.pack("<BBHHIIII", 0xA5, 1, k, class_count, 1, 2, 3, 4)
    with suppress(PayloadError):
        _check(decode_prediction(header + body))


@given(mutated(predictions().map(encode_prediction)))
def test_mutated_prediction_decodes_soundly_or_raises(payload: bytes) -> None:
    with suppress(PayloadError):
        _check(decode_prediction(payload))


@given(mutated(frames.map(encode_frame)))
def test_mutated_frame_decodes_soundly_or_raises(payload: bytes) -> None:
    with suppress(PayloadError):
        message = decode_frame(payload)
        assert encode_frame(message) == payload


def _check(message: PredictionMessage) -> None:
    """Whatever a decoder lets through is sound, and can be sent on."""
    assert len(message.indices) == len(message.values) == len(set(message.indices))
    assert all(0 <= index < message.class_count for index in message.indices)
    assert all(0 <= value <= 1 for value in message.values)
    assert decode_prediction(encode_prediction(message)) == message


def test_score_a_little_above_one_reads_as_one() -> None:
    header = struct.pack("<BBHHIIII", 0xA5, 1, 2, 10, 1, 2, 3, 4)
    decoded = decode_prediction(header + struct.pack("<2f2B", 1.00005, 0.0, 4, 5))
    assert decoded.values == (1.0, 0.0)


def test_all_of_two_classes_may_be_in_any_order_of_value() -> None:
    message = PredictionMessage(1, 2, 3, 4, 2, (0, 1), (0.25, 0.75))
    assert decode_prediction(encode_prediction(message)) == message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"indices": ()}, "score"),
        ({"indices": (), "values": ()}, "k 0"),
        ({"values": (0.5,)}, "1 scores for 2 classes"),
        ({"indices": (1, 1)}, "repeats"),
        ({"indices": (1, 10)}, "outside 0 to 9"),
        ({"indices": (-1, 1)}, "outside 0 to 9"),
        ({"values": (0.25, 0.5)}, "descend"),
        ({"values": (math.nan, 0.5)}, "outside 0 to 1"),
        ({"values": (0.5, math.nan)}, "outside 0 to 1"),
        ({"values": (math.inf, 0.5)}, "outside 0 to 1"),
        ({"values": (0.5, -0.1)}, "outside 0 to 1"),
        ({"class_count": 3}, "class order"),
        ({"class_count": 70_000}, "class count"),
        ({"session": -1}, "session"),
        ({"frame": 2**32}, "frame"),
        ({"inference_us": 2**32}, "inference_us"),
        ({"model": -1}, "model"),
    ],
)
def test_unsound_prediction_is_not_sent(changes: dict[str, object], reason: str) -> None:
    sound: dict[str, object] = {
        "session": 1, "frame": 2, "model": 3, "inference_us": 4,
        "class_count": 10, "indices": (3, 4), "values": (0.5, 0.25),
    }  # fmt: skip
    with pytest.raises(PayloadError, match=reason):
        encode_prediction(PredictionMessage(**(sound | changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (FrameMessage(1, 2, 0, b"x"), "deadline"),
        (FrameMessage(1, 2, 65_536, b"x"), "deadline"),
        (FrameMessage(1, 2, 3, b""), "picture"),
        (FrameMessage(1, 2, 3, bytes(MAX_JPEG_BYTES + 1)), "picture"),
        (FrameMessage(2**32, 2, 3, b"x"), "session"),
    ],
)
def test_unsound_frame_is_not_sent(message: FrameMessage, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        encode_frame(message)


def test_oversized_frame_is_refused() -> None:
    encoded = encode_frame(FrameMessage(1, 2, 3, bytes(MAX_JPEG_BYTES)))
    with pytest.raises(PayloadError, match="picture"):
        decode_frame(encoded + b"x")
