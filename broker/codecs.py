"""The two binary messages, byte for byte as `PROTOCOL.md` says.

Little-endian throughout. Pure: bytes in, values out; every defect is one `PayloadError`.
"""

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from broker.errors import PayloadError

MAX_MESSAGE_BYTES = 256 * 1024  # no message is larger, so any broker's default limit holds it

FRAME_MAGIC = 0xF5
FRAME_VERSION = 1
_FRAME_HEADER = struct.Struct("<BBHII")  # magic, version, deadline_ms, session, frame
FRAME_HEADER_BYTES = _FRAME_HEADER.size  # 12
MAX_JPEG_BYTES = MAX_MESSAGE_BYTES - FRAME_HEADER_BYTES  # 262 132
MAX_DEADLINE_MS = 0xFFFF

PREDICTION_MAGIC = 0xA5
PREDICTION_VERSION = 1
# magic, version, k, class_count, session, frame, model, inference_us
_PREDICTION_HEADER = struct.Struct("<BBHHIIII")
PREDICTION_HEADER_BYTES = _PREDICTION_HEADER.size  # 22
_SCORE_BYTES = 4  # f32
# A dense vector must still fit into one message: (262 144 − 22) / 4.
MAX_CLASS_COUNT = (MAX_MESSAGE_BYTES - PREDICTION_HEADER_BYTES) // _SCORE_BYTES  # 65 530
_BYTE_INDEX_CLASSES = 256  # up to here one byte holds an index
SCORE_TOLERANCE = 1e-4  # a softmax in half precision may end a little above 1; read as 1

_MAX_U32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """One picture on its way to the nodes.

    Attributes:
        session: the gateway's session, new at each of its starts; u32.
        frame: the frame's number in that session; u32.
        deadline_ms: time the gateway waits for answers, 1 to 65 535.
        jpeg: the encoded picture, 1 to `MAX_JPEG_BYTES` bytes; not looked into here.
    """

    session: int
    frame: int
    deadline_ms: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class PredictionMessage:
    """One node's answer to one frame.

    Attributes:
        session: as in the frame it answers.
        frame: as in the frame it answers.
        model: first four bytes of the `.tflite` file's SHA-256, read little-endian.
        inference_us: time the model took for this frame, on the node's own clock; u32.
        class_count: C, 1 to `MAX_CLASS_COUNT`.
        indices: (k,) distinct classes; (C,) and ascending when all scores are given.
        values: (k,) their scores in [0, 1], descending; (C,) in class order when all are
            given. With k = 1 only the index is sent and the value reads as 1.0.
    """

    session: int
    frame: int
    model: int
    inference_us: int
    class_count: int
    indices: tuple[int, ...]
    values: tuple[float, ...]


def encode_frame(message: FrameMessage) -> bytes:
    """Return the frame message's bytes.

    Raises:
        PayloadError: a field is outside its range.
    """
    _check_u32(session=message.session, frame=message.frame)
    _check_deadline(message.deadline_ms)
    _check_jpeg_bytes(len(message.jpeg))
    header = _FRAME_HEADER.pack(
        FRAME_MAGIC, FRAME_VERSION, message.deadline_ms, message.session, message.frame
    )
    return header + message.jpeg


def decode_frame(payload: bytes) -> FrameMessage:
    """Return the frame in `payload`.

    Raises:
        PayloadError: the bytes are not a frame message.
    """
    if len(payload) < FRAME_HEADER_BYTES:
        raise PayloadError(f"a frame has {FRAME_HEADER_BYTES} header bytes, not {len(payload)}")
    magic, version, deadline_ms, session, frame = _FRAME_HEADER.unpack_from(payload)
    check_kind("frame", magic, version, FRAME_MAGIC, FRAME_VERSION)
    _check_deadline(deadline_ms)
    _check_jpeg_bytes(len(payload) - FRAME_HEADER_BYTES)
    return FrameMessage(session, frame, deadline_ms, bytes(payload[FRAME_HEADER_BYTES:]))


def body_bytes(k: int, class_count: int) -> int:
    """Return h(k), the bytes that follow a prediction's header (paper Eq. 3).

    k = 1 costs the index alone, k ≤ C/2 costs k values and k indices, a larger k the dense
    vector. An index takes one byte up to 256 classes, two above.

    Raises:
        PayloadError: k or the class count is outside its range.
    """
    _check_counts(k, class_count)
    index_bytes = 1 if class_count <= _BYTE_INDEX_CLASSES else 2
    if k == 1:
        return index_bytes
    if 2 * k > class_count:
        return _SCORE_BYTES * class_count
    return k * (_SCORE_BYTES + index_bytes)


def encode_prediction(message: PredictionMessage) -> bytes:
    """Return the prediction message's bytes: 22 header bytes and h(k) more.

    More than half of the scores go out as all of them (k > C/2), so such a message must hold
    all of them.

    Raises:
        PayloadError: a field is outside its range, or the scores are not what k promises.
    """
    k = len(message.indices)
    _check_u32(
        session=message.session,
        frame=message.frame,
        model=message.model,
        inference_us=message.inference_us,
    )
    if len(message.values) != k:
        raise PayloadError(f"{len(message.values)} scores for {k} classes")
    body = struct.Struct(_body_format(k, message.class_count))
    dense = k > 1 and 2 * k > message.class_count
    if dense and message.indices != _all_indices(message.class_count):
        raise PayloadError("more than half of the classes: give all of them in class order")
    _check_indices(message.indices, message.class_count)
    if k == 1:
        parts: tuple[float, ...] = message.indices
    else:
        _check_values(message.values, descending=not dense)
        parts = message.values if dense else message.values + message.indices
    header = _PREDICTION_HEADER.pack(
        PREDICTION_MAGIC,
        PREDICTION_VERSION,
        k,
        message.class_count,
        message.session,
        message.frame,
        message.model,
        message.inference_us,
    )
    return header + body.pack(*parts)


def decode_prediction(payload: bytes) -> PredictionMessage:
    """Return the prediction in `payload`.

    Raises:
        PayloadError: the bytes are not a prediction message.
    """
    if len(payload) < PREDICTION_HEADER_BYTES:
        raise PayloadError(
            f"a prediction has {PREDICTION_HEADER_BYTES} header bytes, not {len(payload)}"
        )
    magic, version, k, class_count, session, frame, model, inference_us = (
        _PREDICTION_HEADER.unpack_from(payload)
    )
    check_kind("prediction", magic, version, PREDICTION_MAGIC, PREDICTION_VERSION)
    expected_bytes = PREDICTION_HEADER_BYTES + body_bytes(k, class_count)
    if len(payload) != expected_bytes:
        raise PayloadError(
            f"a prediction of {k} in {class_count} classes has {expected_bytes} bytes, "
            f"not {len(payload)}"
        )
    numbers = struct.unpack_from(_body_format(k, class_count), payload, PREDICTION_HEADER_BYTES)
    indices: tuple[int, ...]
    values: tuple[float, ...]
    if k == 1:
        indices, values = numbers, (1.0,)
    elif 2 * k > class_count:
        if k != class_count:
            raise PayloadError(f"all {class_count} scores follow, so k must say so, not {k}")
        indices, values = _all_indices(class_count), numbers
        values = _check_values(values, descending=False)
    else:
        indices, values = numbers[k:], _check_values(numbers[:k], descending=True)
    _check_indices(indices, class_count)
    return PredictionMessage(session, frame, model, inference_us, class_count, indices, values)


@lru_cache(maxsize=32)  # a household runs a handful of (k, C)
def _body_format(k: int, class_count: int) -> str:
    _check_counts(k, class_count)
    index = "B" if class_count <= _BYTE_INDEX_CLASSES else "H"
    if k == 1:
        return f"<{index}"
    if 2 * k > class_count:
        return f"<{class_count}f"
    return f"<{k}f{k}{index}"


@lru_cache(maxsize=8)
def _all_indices(class_count: int) -> tuple[int, ...]:
    return tuple(range(class_count))


def check_kind(what: str, magic: int, version: int, own_magic: int, own_version: int) -> None:
    """Refuse a message that begins otherwise than its kind does.

    Raises:
        PayloadError: another magic byte or version.
    """
    if magic != own_magic:
        raise PayloadError(f"a {what} begins with 0x{own_magic:02X}, not 0x{magic:02X}")
    if version != own_version:
        raise PayloadError(f"{what} version {version} is unknown, {own_version} is known")


def _check_u32(**fields: int) -> None:
    for name, value in fields.items():
        if not 0 <= value <= _MAX_U32:
            raise PayloadError(f"{name} {value} does not fit 32 bits")


def _check_deadline(deadline_ms: int) -> None:
    if not 1 <= deadline_ms <= MAX_DEADLINE_MS:
        raise PayloadError(f"deadline of {deadline_ms} ms is outside 1 to {MAX_DEADLINE_MS}")


def _check_jpeg_bytes(jpeg_bytes: int) -> None:
    if not 1 <= jpeg_bytes <= MAX_JPEG_BYTES:
        raise PayloadError(f"picture of {jpeg_bytes} bytes is outside 1 to {MAX_JPEG_BYTES}")


def _check_counts(k: int, class_count: int) -> None:
    if not 1 <= class_count <= MAX_CLASS_COUNT:
        raise PayloadError(f"class count {class_count} is outside 1 to {MAX_CLASS_COUNT}")
    if not 1 <= k <= class_count:
        raise PayloadError(f"k {k} is outside 1 to {class_count}")


def _check_indices(indices: tuple[int, ...], class_count: int) -> None:
    if min(indices) < 0 or max(indices) >= class_count:
        raise PayloadError(f"a class index is outside 0 to {class_count - 1}")
    if len(set(indices)) != len(indices):
        raise PayloadError("a class index repeats")


def _check_values(values: tuple[float, ...], *, descending: bool) -> tuple[float, ...]:
    # The sum alone tells NaN and infinities; min and max would pass a NaN by.
    if not math.isfinite(sum(values)) or min(values) < 0 or max(values) > 1 + SCORE_TOLERANCE:
        raise PayloadError("a score is outside 0 to 1")
    if descending and any(first < second for first, second in pairwise(values)):
        raise PayloadError("the scores do not descend")
    return values if max(values) <= 1 else tuple(min(value, 1.0) for value in values)
