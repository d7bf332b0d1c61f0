"""A model file in parts: the message that carries one, and what puts them together again.

Byte for byte as `PROTOCOL.md` says. Pure: bytes in, values out. Memory is taken only for bytes that
came, never for what a header promises.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from broker.codecs import check_kind
from broker.errors import PayloadError
from broker.topics import PART_COUNT_LIMIT

MODEL_PART_MAGIC = 0xC5
MODEL_PART_VERSION = 1
_HEADER = struct.Struct("<BBHHI")  # magic, version, part, part_count, total_bytes
MODEL_PART_HEADER_BYTES = _HEADER.size  # 10
# The whole message: below the smallest limit among common brokers, 128 KiB.
MAX_MODEL_PART_BYTES = 96 * 1024
MAX_PART_DATA_BYTES = MAX_MODEL_PART_BYTES - MODEL_PART_HEADER_BYTES  # 98 294
# As `models.manifest.MAX_MODEL_BYTES`, of which this package knows nothing; a test compares them.
MAX_MODEL_FILE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ModelPart:
    """One part of a model file.

    Attributes:
        part: its number, from 0.
        part_count: how many there are.
        total_bytes: size of the whole file.
        data: the file's bytes that follow those of the parts before; 1 to `MAX_PART_DATA_BYTES`.
    """

    part: int
    part_count: int
    total_bytes: int
    data: bytes


def encode_model_part(part: ModelPart) -> bytes:
    """Return the message's bytes.

    Raises:
        PayloadError: a field is outside its range.
    """
    _check(part)
    return (
        _HEADER.pack(
            MODEL_PART_MAGIC, MODEL_PART_VERSION, part.part, part.part_count, part.total_bytes
        )
        + part.data
    )


def decode_model_part(payload: bytes) -> ModelPart:
    """Return the part in `payload`.

    Raises:
        PayloadError: the bytes are not a model part.
    """
    if len(payload) < MODEL_PART_HEADER_BYTES:
        raise PayloadError(
            f"a model part has {MODEL_PART_HEADER_BYTES} header bytes, not {len(payload)}"
        )
    magic, version, number, part_count, total_bytes = _HEADER.unpack_from(payload)
    check_kind("model part", magic, version, MODEL_PART_MAGIC, MODEL_PART_VERSION)
    part = ModelPart(number, part_count, total_bytes, bytes(payload[MODEL_PART_HEADER_BYTES:]))
    _check(part)
    return part


def split_model(model: bytes) -> Iterator[ModelPart]:
    """Yield a model file's parts in their order, all but the last as large as they may be.

    Raises:
        PayloadError: the file is empty or larger than `MAX_MODEL_FILE_BYTES`.
    """
    _check_total(len(model))
    starts = range(0, len(model), MAX_PART_DATA_BYTES)
    for number, start in enumerate(starts):
        data = model[start : start + MAX_PART_DATA_BYTES]
        yield ModelPart(number, len(starts), len(model), data)


class ModelAssembly:
    """Puts one model file together from parts in any order, some perhaps twice.

    Attributes:
        sha256: of the file, in hex: what its parts' topic says.
    """

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        self._parts: dict[int, bytes] = {}
        self._part_count: int | None = None
        self._total_bytes = 0
        self._have_bytes = 0

    @property
    def progress(self) -> tuple[int, int | None]:
        """How many parts are here, and of how many; None until the first has come."""
        return len(self._parts), self._part_count

    @property
    def complete(self) -> bool:
        """Whether every part is here."""
        return len(self._parts) == self._part_count

    def add(self, part: ModelPart) -> bool:
        """Take a part and return whether it is a new one.

        Raises:
            PayloadError: it contradicts the parts before; the assembly is of no use any more.
        """
        if self._part_count is None:
            self._part_count, self._total_bytes = part.part_count, part.total_bytes
        if (part.part_count, part.total_bytes) != (self._part_count, self._total_bytes):
            raise PayloadError(
                f"its parts contradict each other: {self._part_count} of {self._total_bytes} bytes "
                f"in all, or {part.part_count} of {part.total_bytes}"
            )
        known = self._parts.get(part.part)
        if known is not None:
            if known != part.data:
                raise PayloadError(f"part {part.part} came twice with other bytes")
            return False
        missing = self._part_count - len(self._parts) - 1
        # Each part has a byte at least: so much must be left for those that are still to come.
        if self._have_bytes + len(part.data) + missing > self._total_bytes:
            raise PayloadError(f"its parts have more than the {self._total_bytes} bytes they say")
        self._parts[part.part] = part.data
        self._have_bytes += len(part.data)
        return True

    def model(self) -> bytes:
        """Return the whole file.

        Raises:
            PayloadError: its size or SHA-256 is another one than was said.
            ValueError: it is not complete.
        """
        if not self.complete:
            raise ValueError("the model is not complete yet")
        if self._have_bytes != self._total_bytes:
            raise PayloadError(
                f"its parts have {self._have_bytes} bytes, not the {self._total_bytes} they say"
            )
        model = b"".join(data for _, data in sorted(self._parts.items()))
        if hashlib.sha256(model).hexdigest() != self.sha256:
            raise PayloadError("what its parts make has another SHA-256")
        return model


def _check(part: ModelPart) -> None:
    _check_total(part.total_bytes)
    if not 1 <= part.part_count <= min(PART_COUNT_LIMIT, part.total_bytes):
        raise PayloadError(
            f"{part.part_count} parts of {part.total_bytes} bytes: outside 1 to "
            f"{min(PART_COUNT_LIMIT, part.total_bytes)}"
        )
    if not 0 <= part.part < part.part_count:
        raise PayloadError(f"part {part.part} is outside 0 to {part.part_count - 1}")
    if not 1 <= len(part.data) <= min(MAX_PART_DATA_BYTES, part.total_bytes):
        raise PayloadError(
            f"a part of {len(part.data)} bytes is outside 1 to "
            f"{min(MAX_PART_DATA_BYTES, part.total_bytes)}"
        )
    if part.part_count * MAX_PART_DATA_BYTES < part.total_bytes:
        raise PayloadError(f"{part.part_count} parts cannot hold {part.total_bytes} bytes")


def _check_total(total_bytes: int) -> None:
    if not 1 <= total_bytes <= MAX_MODEL_FILE_BYTES:
        raise PayloadError(f"a model of {total_bytes} bytes is outside 1 to {MAX_MODEL_FILE_BYTES}")
