import hashlib
import random
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PayloadError
from broker.model_parts import (
    MAX_MODEL_FILE_BYTES,
    MAX_MODEL_PART_BYTES,
    MAX_PART_DATA_BYTES,
    ModelAssembly,
    ModelPart,
    decode_model_part,
    encode_model_part,
    split_model,
)
from models.manifest import MAX_MODEL_BYTES


def sha256(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


def cut(model: bytes, ends: list[int]) -> list[ModelPart]:
    """Return a model's parts, of sizes that another gateway may choose."""
    places = sorted({0, len(model), *(end for end in ends if 0 < end < len(model))})
    chunks = [model[a:b] for a, b in pairwise(places)]
    return [ModelPart(i, len(chunks), len(model), data) for i, data in enumerate(chunks)]


cuts = st.builds(cut, st.binary(min_size=1, max_size=200), st.lists(st.integers(1, 199)))


def test_the_bound_is_that_of_the_packs() -> None:
    assert MAX_MODEL_FILE_BYTES == MAX_MODEL_BYTES


@given(parts=cuts)
def test_what_is_encoded_is_decoded(parts: list[ModelPart]) -> None:
    for part in parts:
        assert decode_model_part(encode_model_part(part)) == part


@given(payload=st.binary(max_size=64) | st.binary(max_size=64).map(b"\xc5\x01".__add__))
def test_any_bytes_are_a_part_or_refused(payload: bytes) -> None:
    with suppress(PayloadError):
        assert encode_model_part(decode_model_part(payload)) == payload


@given(parts=cuts, seed=st.integers(0, 2**32))
def test_parts_in_any_order_and_twice_make_the_file(parts: list[ModelPart], seed: int) -> None:
    model = b"".join(part.data for part in parts)
    assembly = ModelAssembly(sha256(model))
    shuffled = parts * 2
    random.Random(seed).shuffle(shuffled)
    assert sum(assembly.add(part) for part in shuffled) == len(parts)
    assert assembly.progress == (len(parts), len(parts))
    assert assembly.model() == model


@given(parts=cuts, others=cuts, seed=st.integers(0, 2**32))
def test_of_two_files_parts_no_third_file_is_made(
    parts: list[ModelPart], others: list[ModelPart], seed: int
) -> None:
    model = b"".join(part.data for part in parts)
    assembly = ModelAssembly(sha256(model))
    mixed = parts + others
    random.Random(seed).shuffle(mixed)
    with suppress(PayloadError):
        for part in mixed:
            assembly.add(part)
            assert sum(map(len, assembly._parts.values())) <= part.total_bytes
            if assembly.complete:
                assert assembly.model() == model


@pytest.mark.parametrize(
    "size", [1, MAX_PART_DATA_BYTES, MAX_PART_DATA_BYTES + 1, 3 * MAX_PART_DATA_BYTES + 7]
)
def test_a_file_is_split_into_messages_of_at_most_96_kib(size: int) -> None:
    model = random.Random(size).randbytes(size)
    messages = [encode_model_part(part) for part in split_model(model)]
    assert len(messages) == -(-size // MAX_PART_DATA_BYTES)
    assert all(len(message) == MAX_MODEL_PART_BYTES for message in messages[:-1])
    assembly = ModelAssembly(sha256(model))
    for message in reversed(messages):
        assert not assembly.complete
        assembly.add(decode_model_part(message))
    assert assembly.model() == model


@pytest.mark.parametrize("size", [0, MAX_MODEL_FILE_BYTES + 1])
def test_a_file_that_is_empty_or_too_large_is_not_split(size: int) -> None:
    with pytest.raises(PayloadError, match="outside 1 to 67108864"):
        list(split_model(bytes(size)))


FIRST = ModelPart(0, 3, 6, b"ab")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (replace(FIRST, part=1, part_count=2), "contradict"),
        (replace(FIRST, part=1, total_bytes=7), "contradict"),
        (replace(FIRST, data=b"ba"), "part 0 came twice"),
        (replace(FIRST, part=1, data=b"cdef"), "more than the 6 bytes"),
        (replace(FIRST, part=1, data=b"cdefgh"), "more than the 6 bytes"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(second: ModelPart, words: str) -> None:
    assembly = ModelAssembly("0" * 64)
    assembly.add(FIRST)
    with pytest.raises(PayloadError, match=words):
        assembly.add(second)


def test_a_file_of_too_few_bytes_is_refused() -> None:
    assembly = ModelAssembly(sha256(b"abcd"))
    for part in (FIRST, replace(FIRST, part=1, data=b"c"), replace(FIRST, part=2, data=b"d")):
        assembly.add(part)
    with pytest.raises(PayloadError, match="4 bytes, not the 6"):
        assembly.model()


def test_a_file_of_another_hash_is_refused() -> None:
    assembly = ModelAssembly(sha256(b"another"))
    assembly.add(ModelPart(0, 1, 2, b"ab"))
    with pytest.raises(PayloadError, match="another SHA-256"):
        assembly.model()


def test_an_incomplete_file_is_asked_for_by_mistake_only() -> None:
    assembly = ModelAssembly("0" * 64)
    assert assembly.progress == (0, None)
    assert not assembly.complete
    with pytest.raises(ValueError, match="not complete"):
        assembly.model()


def test_a_promise_of_64_mib_takes_no_memory() -> None:
    part = ModelPart(0, 10_000, MAX_MODEL_FILE_BYTES, b"x")
    tracemalloc.start()
    try:
        assembly = ModelAssembly("0" * 64)
        assembly.add(decode_model_part(encode_model_part(part)))
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()
