"""The finder with a link in memory; parts are real messages."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import PayloadError
from broker.model_parts import ModelPart, encode_model_part
from broker.payloads import Assignment, ModelDescription
from broker.session import Message
from broker.topics import Topics, parse
from node_agent.model_finder import LAST_RETRY_S, ModelFinder, retry_delay_s
from node_agent.model_keeper import Choice
from node_agent.model_store import ModelStore
from node_agent.settings import ModelSettings

BOUND_S = 20.0
TOPICS = Topics("home")
MODEL = b"0123456789"
SHA256 = hashlib.sha256(MODEL).hexdigest()


class Desk:
    """A finder, its link, and what it found."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.found: list[Choice] = []
        self.filters: set[str] = set()
        self.subscribed = 0
        self.store = ModelStore(folder, 1000)
        self.finder = ModelFinder(
            TOPICS,
            self.store,
            ModelSettings.model_validate({"timeout_s": 3600, **settings}),
            random.Random(1),
            on_found=self.found.append,
            on_change=lambda: None,
        )

    async def run(self) -> None:
        """The link's, which is not needed."""

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        raise AssertionError("a finder says nothing")

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        assert qos == 1
        self.filters.add(topic_filter)
        self.subscribed += 1

    async def unsubscribe(self, topic_filter: str) -> None:
        self.filters.remove(topic_filter)

    def leave_quietly(self) -> None:
        """The link's, which is not needed."""

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not condition():  # noqa: ASYNC110 - any condition, so there is no event
                await asyncio.sleep(0.005)

    async def wants(self, told: Assignment) -> None:
        self.finder.want(told)
        await self.until(lambda: self.filters == {TOPICS.model_parts(told.model)})

    def give(self, topic_part: int, part: ModelPart, sha256: str = SHA256) -> None:
        self.give_bytes(topic_part, encode_model_part(part), sha256)

    def give_bytes(self, topic_part: int, payload: bytes, sha256: str = SHA256) -> None:
        topic = TOPICS.model_part(sha256, topic_part)
        self.finder.receive(parse(TOPICS, topic), Message(topic, payload, True, 1))

    async def refuses(self, words: str) -> None:
        await self.until(lambda: words in (self.finder.problem or ""))
        await self.until(lambda: not self.filters)
        assert self.finder.progress is None
        assert self.found == []


def assignment(sha256: str = SHA256, **description: Any) -> Assignment:
    fields: dict[str, Any] = {"precision": "float32", "classes": 10, "k": 2, "resolution": 32}
    return Assignment(
        pack="foreign",
        variant="V1",
        model=sha256,
        description=ModelDescription(**(fields | description)),
    )


def parts(count: int = 3) -> list[ModelPart]:
    size = -(-len(MODEL) // count)
    data = [MODEL[start : start + size] for start in range(0, len(MODEL), size)]
    return [ModelPart(i, len(data), len(MODEL), one) for i, one in enumerate(data)]


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Desk]:
    task = asyncio.create_task(desk.finder.run(desk))
    yield desk
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, BOUND_S)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with running(Desk(tmp_path / "cache")) as one:
        yield one


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Desk]:
    """One that waits for no part longer than it has to."""
    async with running(Desk(tmp_path / "cache", timeout_s=0.05)) as one:
        yield one


async def test_parts_in_disorder_and_twice_are_fetched_and_kept(desk: Desk) -> None:
    await desk.wants(assignment(size_bytes=len(MODEL)))
    assert desk.finder.progress == "V1 of pack foreign is being fetched"
    first, second, third = parts()
    for part in (third, first, third):
        desk.give(part.part, part)
    assert desk.finder.progress == "V1 of pack foreign is being fetched: 2 of 3 parts"
    desk.give(1, second)
    await desk.until(lambda: desk.found)
    (choice,) = desk.found
    assert choice.pack.model("V1") == MODEL
    assert choice.pack.path == desk.store.folder
    assert desk.filters == set()
    assert (desk.finder.problem, desk.finder.busy) == (None, False)


async def test_what_was_fetched_once_is_not_fetched_again(desk: Desk) -> None:
    desk.store.keep(SHA256, MODEL)
    desk.finder.want(assignment())
    await desk.until(lambda: desk.found)
    assert desk.subscribed == 0


async def test_a_damaged_file_is_fetched_again(desk: Desk) -> None:
    desk.store.keep(SHA256, MODEL)
    (desk.store.folder / desk.store.file_name(SHA256)).write_bytes(b"012345678X")
    await desk.wants(assignment())
    for part in parts():
        desk.give(part.part, part)
    await desk.until(lambda: desk.found)
    assert desk.store.has(SHA256)


async def test_where_no_disk_takes_it_it_is_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    async with running(Desk(tmp_path / "cache")) as desk:
        await desk.wants(assignment())
        for part in parts():
            desk.give(part.part, part)
        await desk.until(lambda: desk.found)
        assert desk.found[0].pack.model("V1") == MODEL


@pytest.mark.parametrize(
    ("number", "part", "words"),
    [
        (1, ModelPart(0, 3, 10, b"0123"), "part 0 came on the topic of part 1"),
        (0, ModelPart(0, 3, 11, b"0123"), "a file of 11 bytes, not of 10"),
    ],
)
async def test_a_part_that_is_not_of_this_file_is_refused(
    desk: Desk, number: int, part: ModelPart, words: str
) -> None:
    await desk.wants(assignment(size_bytes=10))
    with pytest.raises(PayloadError):
        desk.give(number, part)
    await desk.refuses(words)


async def test_bytes_that_are_no_part_are_refused(desk: Desk) -> None:
    await desk.wants(assignment())
    with pytest.raises(PayloadError):
        desk.give_bytes(0, b"TFL3 and more")
    await desk.refuses("a model part begins with")


async def test_parts_that_make_another_file_are_refused(desk: Desk) -> None:
    await desk.wants(assignment())
    desk.give(0, ModelPart(0, 1, 10, b"9876543210"))
    await desk.refuses("another SHA-256")
    assert not desk.store.has(SHA256)
    lacked = desk.finder.lacks
    desk.finder.want(None)
    assert (lacked, desk.finder.lacks) == (SHA256, None)


async def test_missing_parts_are_not_awaited_for_ever(hasty: Desk) -> None:
    await hasty.wants(assignment())
    hasty.give(1, parts()[1])
    await hasty.refuses("1 of 3 parts came, and none for 0.05 s")


async def test_the_same_assignment_again_tries_again_at_once(desk: Desk) -> None:
    await desk.wants(assignment())
    with pytest.raises(PayloadError):
        desk.give_bytes(0, b"no part")
    await desk.refuses("header bytes")
    await desk.wants(assignment())
    assert "header bytes" in (desk.finder.problem or "")  # until it is there
    for part in parts():
        desk.give(part.part, part)
    await desk.until(lambda: desk.found)
    assert desk.finder.problem is None


async def test_the_same_assignment_again_does_not_begin_a_fetch_anew(desk: Desk) -> None:
    await desk.wants(assignment())
    first, *others = parts()
    desk.give(0, first)
    desk.finder.want(assignment())  # the link was lost and is back
    for part in others:
        desk.give(part.part, part)
    await desk.until(lambda: desk.found)
    assert desk.subscribed == 1


async def test_another_wish_ends_a_fetch(desk: Desk) -> None:
    await desk.wants(assignment())
    other = hashlib.sha256(b"other").hexdigest()
    await desk.wants(assignment(other))
    desk.give(0, parts()[0])  # on its way already; nobody waits for it
    assert desk.finder.progress == "V1 of pack foreign is being fetched"
    desk.finder.want(None)
    await desk.until(lambda: not desk.filters)
    assert (desk.finder.problem, desk.found) == (None, [])


async def test_a_cleared_part_is_none(desk: Desk) -> None:
    await desk.wants(assignment())
    desk.give_bytes(0, b"")
    assert desk.finder.progress == "V1 of pack foreign is being fetched"
    assert desk.finder.problem is None


async def test_an_owner_may_forbid_it(tmp_path: Path) -> None:
    async with running(Desk(tmp_path / "cache", fetch=False)) as desk:
        desk.finder.want(assignment())
        await desk.refuses("may not fetch models")
        assert desk.finder.lacks is None  # to send it again would not help
        assert desk.subscribed == 0


@given(failures=st.integers(1, 10_000), seed=st.integers(0, 2**32))
def test_tries_are_spaced_and_capped(failures: int, seed: int) -> None:
    assert 5.0 <= retry_delay_s(failures, random.Random(seed)) <= LAST_RETRY_S
