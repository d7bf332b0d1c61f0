"""What passes between the agent and its worker process: length-prefixed messages over pipes.

A message is a kind (u8), the body's length (u32) and the body. Both ends are the same release
of the same package, so there is no version; the length is bounded all the same, because the
child has run foreign code (an interpreter, a decoder, a model).
"""

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from models.interface import OURS, Interface

HEADER: Final = struct.Struct("<BI")
MAX_BODY_BYTES: Final = 80 * 2**20
"""A model (64 MiB at most) with its description, and room to spare."""

_ANSWER: Final = struct.Struct("<IIIHH")
_INDEX_BYTES: Final = 2
_VALUE_BYTES: Final = 4


class Kind(IntEnum):
    """What a message is."""

    LOAD = 1  # agent → worker: a description in JSON, a zero byte, the model
    CLASSIFY = 2  # agent → worker: a JPEG
    READY = 3  # worker → agent: JSON about the loaded model
    REFUSED = 4  # worker → agent: why the model cannot be served
    ANSWER = 5  # worker → agent: times and top-k
    BAD_FRAME = 6  # worker → agent: why this picture gets no answer


class WorkerProtocolError(Exception):
    """The other end of the pipe sent what is no message."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """The model to serve, how to speak to it and what it must turn out to be."""

    model: bytes
    resolution: int
    class_count: int
    k: int
    input_offset: tuple[float, float]
    threads: int
    interface: Interface = OURS


@dataclass(frozen=True, slots=True)
class Ready:
    """A loaded model that has passed its trial inference.

    Attributes:
        trial_ms: the trial inference's time.
        notes: what the worker wanted to do for its host and could not, one sentence each.
    """

    trial_ms: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """The top k of one picture.

    Attributes:
        decode_us: JPEG to pixels, microseconds.
        inference_us: pixels to scores, microseconds.
        cpu_us: processor time of both; less than their sum where the worker was kept waiting.
        class_count: C.
        indices: classes, best first; all C in their order where k > C/2.
        values: their probabilities.
    """

    decode_us: int
    inference_us: int
    cpu_us: int
    class_count: int
    indices: tuple[int, ...]
    values: tuple[float, ...]


def pack_message(kind: Kind, body: bytes = b"") -> bytes:
    """Return one message's bytes."""
    return HEADER.pack(kind, len(body)) + body


def unpack_header(header: bytes) -> tuple[Kind, int]:
    """Return (kind, body length).

    Raises:
        WorkerProtocolError: no such kind, or a body beyond the bound.
    """
    number, length = HEADER.unpack(header)
    if length > MAX_BODY_BYTES:
        raise WorkerProtocolError(f"a message of {length} bytes")
    try:
        return Kind(number), length
    except ValueError as exc:
        raise WorkerProtocolError(f"a message of kind {number}") from exc


def encode_load(request: LoadRequest) -> bytes:
    """Return the body of a LOAD message."""
    description = {
        "resolution": request.resolution,
        "class_count": request.class_count,
        "k": request.k,
        "input_offset": request.input_offset,
        "threads": request.threads,
        "input_range": request.interface.input_range,
        "output": request.interface.output,
    }
    return json.dumps(description).encode() + b"\0" + request.model


def decode_load(body: bytes) -> LoadRequest:
    """Return the request in a LOAD body."""
    description, _, model = body.partition(b"\0")
    fields: dict[str, Any] = json.loads(description)
    dx, dy = fields.pop("input_offset")
    low, high = fields.pop("input_range")
    interface = Interface((low, high), fields.pop("output"))
    return LoadRequest(model=model, input_offset=(dx, dy), interface=interface, **fields)


def encode_ready(ready: Ready) -> bytes:
    """Return the body of a READY message."""
    return json.dumps({"trial_ms": ready.trial_ms, "notes": ready.notes}).encode()


def decode_ready(body: bytes) -> Ready:
    """Return what a READY body says.

    Raises:
        WorkerProtocolError: it says something else.
    """
    try:
        fields = json.loads(body)
        return Ready(float(fields["trial_ms"]), tuple(str(note) for note in fields["notes"]))
    except (ValueError, TypeError, KeyError) as exc:
        raise WorkerProtocolError("a READY message that is none") from exc


def encode_answer(answer: WorkerAnswer) -> bytes:
    """Return the body of an ANSWER message."""
    k = len(answer.indices)
    return (
        _ANSWER.pack(answer.decode_us, answer.inference_us, answer.cpu_us, answer.class_count, k)
        + struct.pack(f"<{k}H", *answer.indices)
        + struct.pack(f"<{k}f", *answer.values)
    )


def decode_answer(body: bytes) -> WorkerAnswer:
    """Return the answer in an ANSWER body.

    Raises:
        WorkerProtocolError: its length contradicts its k.
    """
    if len(body) < _ANSWER.size:
        raise WorkerProtocolError("an ANSWER message that is too short")
    decode_us, inference_us, cpu_us, class_count, k = _ANSWER.unpack_from(body)
    if len(body) != _ANSWER.size + k * (_INDEX_BYTES + _VALUE_BYTES):
        raise WorkerProtocolError("an ANSWER message of a wrong length")
    indices = struct.unpack_from(f"<{k}H", body, _ANSWER.size)
    values = struct.unpack_from(f"<{k}f", body, _ANSWER.size + k * _INDEX_BYTES)
    return WorkerAnswer(decode_us, inference_us, cpu_us, class_count, indices, values)
