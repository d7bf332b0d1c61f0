"""The shelf on a broker in memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.errors import NotConnectedError
from broker.model_parts import (
    ModelAssembly,
    ModelPart,
    decode_model_part,
    encode_model_part,
    split_model,
)
from broker.session import BrokerSettings, Message
from broker.topics import Topics, parse
from gateway.model_shelf import ModelShelf
from models.pack import Pack, PackManifest, load_pack, write_pack

if TYPE_CHECKING:
    from tests.gateway.conftest import Memory

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]
TOPICS = Topics("home")
STRANGER = "ab" * 32


@pytest.fixture(scope="module")
def large(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A pack whose files take several parts each; nobody runs them here."""
    models = {
        entry.name: pack.model(entry.name) + bytes(2 * 10**5) for entry in pack.manifest.variants
    }
    entries = [
        entry.model_copy(update={"sha256": hashlib.sha256(models[entry.name]).hexdigest()})
        for entry in pack.manifest.variants
    ]
    manifest = PackManifest.model_validate(
        pack.manifest.model_dump(exclude={"variants"}) | {"variants": entries}
    )
    return write_pack(tmp_path_factory.mktemp("large") / "tiny", manifest, models)


class Shelved:
    """A shelf, its link and what stands on the broker."""

    def __init__(self, memory: "Memory", pack: Pack, *, send: bool = True) -> None:
        self.memory = memory
        self.pack = pack
        self.ready = 0
        self.shelf = ModelShelf(TOPICS, pack, send=send, on_ready=self._on_ready)
        self.link = memory.link(
            BrokerSettings(),
            client_id="gateway",
            on_message=self._on_message,
            on_connect=self._on_connect,
            subscriptions=[(TOPICS.all_first_model_parts, 1)],
        )

    @property
    def parts_there(self) -> set[str]:
        return {topic for topic in self.memory.retained if "/models/" in topic}

    @property
    def parts_sent(self) -> list[str]:
        return [one.topic for one in self.memory.log if "/models/" in one.topic and one.payload]

    def sha256(self, variant: str) -> str:
        return self.pack.variant(variant).sha256

    def model_there(self, sha256: str) -> bytes:
        """Return the file as a node would fetch it."""
        assembly = ModelAssembly(sha256)
        for topic in self.parts_there:
            if sha256 in topic:
                assembly.add(decode_model_part(self.memory.retained[topic].payload))
        return assembly.model()

    def _on_ready(self) -> None:
        self.ready += 1

    def _on_message(self, message: Message) -> None:
        self.shelf.receive(parse(TOPICS, message.topic).id, message.payload)

    async def _on_connect(self) -> None:
        self.shelf.connected()


@asynccontextmanager
async def at_work(shelved: Shelved) -> AsyncIterator[Shelved]:
    tasks = [
        asyncio.create_task(one) for one in (shelved.link.run(), shelved.shelf.run(shelved.link))
    ]
    yield shelved
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def stand(memory: "Memory", sha256: str, parts: list[ModelPart]) -> None:
    for part in parts:
        topic = TOPICS.model_part(sha256, part.part)
        memory.publish(topic, encode_model_part(part), retain=True)


async def test_a_wanted_file_stands_there_once_part_0_last(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    async with at_work(Shelved(memory, large)) as shelved:
        sha256 = shelved.sha256("V1")
        shelved.shelf.want(sha256)
        assert not shelved.shelf.is_ready(sha256)
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        assert shelved.ready == 1
        assert shelved.model_there(sha256) == large.model("V1")
        count = len(list(split_model(large.model("V1"))))
        assert shelved.parts_sent == [
            TOPICS.model_part(sha256, number) for number in reversed(range(count))
        ]
        shelved.shelf.want(sha256)
        shelved.shelf.want(shelved.sha256("V2"))
        await until_true(lambda: shelved.shelf.is_ready(shelved.sha256("V2")))
        assert len(shelved.parts_sent) == 2 * count


async def test_what_no_assignment_names_is_not_sent_and_waited_for_by_nobody(
    memory: "Memory", large: Pack
) -> None:
    shelved = Shelved(memory, large)
    shelved.shelf.want(STRANGER)
    assert shelved.shelf.is_ready(STRANGER)
    assert shelved.shelf.is_ready(shelved.sha256("V1"))


async def test_the_next_gateway_finds_it_there(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    model = large.model("V1")
    stand(memory, hashlib.sha256(model).hexdigest(), list(split_model(model)))
    before = len(memory.log)
    async with at_work(Shelved(memory, large)) as shelved:
        shelved.shelf.want(shelved.sha256("V1"))
        await until_true(lambda: shelved.shelf.is_ready(shelved.sha256("V1")))
        assert [one.payload for one in memory.log[before:]] == [b""]  # the question to itself


async def test_a_broker_that_forgot_gets_it_again_and_one_that_did_not_does_not(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    async with at_work(Shelved(memory, large)) as shelved:
        sha256 = shelved.sha256("V1")
        shelved.shelf.want(sha256)
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        once = len(shelved.parts_sent)
        memory.go_away()
        memory.come_back()
        await until_true(lambda: shelved.ready == 2)
        assert len(shelved.parts_sent) == once
        memory.go_away(forget=True)
        memory.come_back()
        await until_true(lambda: shelved.ready == 3)
        assert len(shelved.parts_sent) == 2 * once
        assert shelved.model_there(sha256) == large.model("V1")


async def test_half_a_file_is_completed(memory: "Memory", large: Pack, until_true: Until) -> None:
    """The gateway before this one ended while it published: part 0 is not there yet."""
    model = large.model("V1")
    stand(memory, hashlib.sha256(model).hexdigest(), list(split_model(model))[1:])
    async with at_work(Shelved(memory, large)) as shelved:
        sha256 = shelved.sha256("V1")
        shelved.shelf.want(sha256)
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        assert shelved.model_there(sha256) == model


async def test_a_file_in_parts_of_another_size_is_replaced(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    model = large.model("V1")
    chunks = [model[start : start + 10_000] for start in range(0, len(model), 10_000)]
    parts = [ModelPart(i, len(chunks), len(model), chunk) for i, chunk in enumerate(chunks)]
    stand(memory, hashlib.sha256(model).hexdigest(), parts)
    async with at_work(Shelved(memory, large)) as shelved:
        sha256 = shelved.sha256("V1")
        shelved.shelf.want(sha256)
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        assert shelved.model_there(sha256) == model


async def test_a_broker_that_takes_no_more_just_now_is_asked_again(
    memory: "Memory", large: Pack, until_true: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.model_shelf.CROWDED_S", 0.01)
    shelved = Shelved(memory, large)
    crowded, publish = 3, shelved.link.publish

    async def refuse(*arguments: Any, **options: Any) -> None:
        nonlocal crowded
        if crowded:
            crowded -= 1
            raise NotConnectedError("the broker takes no more: 64 messages wait")
        await publish(*arguments, **options)

    monkeypatch.setattr(shelved.link, "publish", refuse)
    async with at_work(shelved):
        sha256 = shelved.sha256("V1")
        shelved.shelf.want(sha256)
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        assert shelved.model_there(sha256) == large.model("V1")


async def test_what_somebody_else_writes_over_part_0_is_put_right(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    async with at_work(Shelved(memory, large)) as shelved:
        sha256 = shelved.sha256("V1")
        shelved.shelf.want(sha256)
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        memory.publish(TOPICS.model_part(sha256, 0), b"hostile", retain=True)
        await until_true(
            lambda: memory.retained[TOPICS.model_part(sha256, 0)].payload != b"hostile"
        )
        await until_true(lambda: shelved.shelf.is_ready(sha256))
        assert shelved.model_there(sha256) == large.model("V1")


async def test_a_file_that_a_node_cannot_put_together_is_sent_again_but_not_all_day(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    async with at_work(Shelved(memory, large)) as shelved:
        sha256 = shelved.sha256("V1")
        shelved.shelf.send_again(sha256)  # nobody was to have it
        shelved.shelf.want(sha256)
        await until_true(lambda: shelved.ready == 1)
        memory.publish(TOPICS.model_part(sha256, 1), b"hostile", retain=True)
        once = len(shelved.parts_sent)
        shelved.shelf.send_again(sha256)
        await until_true(lambda: shelved.ready == 2)
        assert shelved.model_there(sha256) == large.model("V1")
        sent = len(shelved.parts_sent)
        assert sent > once
        shelved.shelf.send_again(sha256)
        assert shelved.shelf.is_ready(sha256)


async def test_what_no_pack_of_its_own_holds_goes_and_what_may_be_used_stays(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    stand(memory, STRANGER, [ModelPart(i, 3, 3, b"x") for i in range(3)])
    model = large.model("V3")
    stand(memory, hashlib.sha256(model).hexdigest(), list(split_model(model)))
    elsewhere = Topics("cottage").model_part(STRANGER, 0)
    memory.publish(elsewhere, b"another gateway's", retain=True)
    async with at_work(Shelved(memory, large)) as shelved:
        await until_true(
            lambda: not any(STRANGER in one for one in shelved.parts_there - {elsewhere})
        )
        assert elsewhere in shelved.parts_there
        assert shelved.model_there(shelved.sha256("V3")) == model


async def test_who_sends_no_models_leaves_none_there(
    memory: "Memory", large: Pack, until_true: Until
) -> None:
    model = large.model("V1")
    stand(memory, hashlib.sha256(model).hexdigest(), list(split_model(model)))
    async with at_work(Shelved(memory, large, send=False)) as shelved:
        shelved.shelf.want(shelved.sha256("V1"))
        assert shelved.shelf.is_ready(shelved.sha256("V1"))
        await until_true(lambda: shelved.parts_there == set())


async def test_a_file_that_is_gone_keeps_no_assignment_waiting(
    memory: "Memory", large: Pack, tmp_path: Path, until_true: Until
) -> None:
    models = {entry.name: large.model(entry.name) for entry in large.manifest.variants}
    fleeting = load_pack(write_pack(tmp_path / "tiny", large.manifest, models).path)
    (fleeting.path / "V1.tflite").unlink()
    async with at_work(Shelved(memory, fleeting)) as shelved:
        shelved.shelf.want(shelved.sha256("V1"))
        await until_true(lambda: shelved.shelf.is_ready(shelved.sha256("V1")))
        assert (shelved.parts_there, shelved.ready) == (set(), 1)
