"""Nodes that lack the gateway's pack get its models over a real broker."""

import asyncio
import contextlib
import hashlib
import io
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from broker.codecs import FrameMessage, PredictionMessage, decode_prediction, encode_frame
from broker.model_parts import ModelPart, encode_model_part, split_model
from broker.payloads import Assignment, ModelDescription, NodeState, dump, parse
from broker.session import BrokerSettings, Message, Session
from broker.topics import Topics
from models.ensemble import Answer, combine, compress
from models.pack import Pack, PackManifest, load_pack, write_pack
from models.preprocess import decode_jpeg
from models.runtime import Classifier
from tests.system.conftest import PACK, House

pytestmark = [pytest.mark.system, pytest.mark.mosquitto]

NODE = "attic"
TOPICS = Topics("home")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A pack that no node has: the networks of a shipped one, in files of other hashes."""
    shipped = load_pack(PACK)
    models = {
        entry.name: shipped.model(entry.name) + bytes(16) for entry in shipped.manifest.variants
    }
    variants = [
        entry.model_copy(
            update={"sha256": hashlib.sha256(models[entry.name]).hexdigest(), "size_bytes": None}
        )
        for entry in shipped.manifest.variants
    ]
    manifest = PackManifest.model_validate(
        shipped.manifest.model_dump(exclude={"variants"})
        | {"name": "foreign", "format": 2, "variants": variants}
    )
    return write_pack(tmp_path_factory.mktemp("packs") / "foreign", manifest, models)


@dataclass
class Desk:
    """Stands in for the gateway: what the node says, and what it is told."""

    house: House
    states: list[NodeState] = field(default_factory=list)
    answers: list[PredictionMessage] = field(default_factory=list)
    session: Session | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, message: Message) -> None:
        if message.topic == TOPICS.node_state(NODE) and message.payload:
            self.states.append(parse(NodeState, message.payload))
        elif message.topic == TOPICS.predictions(NODE):
            self.answers.append(decode_prediction(message.payload))
        self.house.changed.set()

    @property
    def last(self) -> NodeState | None:
        return self.states[-1] if self.states else None

    async def publish(self, topic: str, payload: bytes) -> None:
        assert self.session is not None
        await self.session.publish(topic, payload, qos=1, retain=True)

    async def give(self, sha256: str, parts: list[ModelPart]) -> None:
        for part in parts:
            await self.publish(TOPICS.model_part(sha256, part.part), encode_model_part(part))

    async def assign(self, pack: Pack, variant: str, **changes: Any) -> None:
        entry = pack.variant(variant)
        told = Assignment(
            pack=pack.name,
            variant=variant,
            model=entry.sha256,
            description=ModelDescription(
                precision=entry.precision,
                classes=len(pack.labels),
                k=pack.manifest.k,
                resolution=entry.resolution,
                input_offset=entry.input_offset,
            ),
        )
        await self.publish(TOPICS.assignment(NODE), dump(told.model_copy(update=changes)))

    async def says(self, phase: str, words: str = "", model: str | None = None) -> NodeState:
        def said() -> bool:
            last = self.last
            return (
                last is not None
                and last.state == phase
                and words in last.reason
                and model in (None, last.model)
            )

        await self.house.until(said, f"{phase} {words!r}; last {self.last}")
        assert self.last is not None
        return self.last

    async def answers_with(self, pack: Pack, variant: str, frame: int) -> None:
        assert self.session is not None
        stream = io.BytesIO()
        Image.new("RGB", (96, 96), (frame % 256, 90, 30)).save(stream, "JPEG")
        message = encode_frame(FrameMessage(7, frame, 60_000, stream.getvalue()))
        await self.session.publish(TOPICS.frames("porch"), message)
        await self.house.until(
            lambda: any(one.frame == frame for one in self.answers), f"an answer to {frame}"
        )
        (answer,) = [one for one in self.answers if one.frame == frame]
        assert answer.model == pack.variant(variant).model_id


@contextlib.asynccontextmanager
async def desk_in(house: House) -> AsyncIterator[Desk]:
    desk = Desk(house)

    async def on_connect() -> None:
        desk.connected.set()

    desk.session = Session(
        BrokerSettings(port=house.port),
        client_id="desk",
        on_message=desk.hear,
        on_connect=on_connect,
        subscriptions=[(TOPICS.all_node_states, 1), (TOPICS.all_predictions, 0)],
    )
    task = asyncio.create_task(desk.session.run(), name="desk")
    try:
        async with asyncio.timeout(60):
            await desk.connected.wait()
        yield desk
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_node_without_the_pack_gets_it_answers_right_and_keeps_it(
    house: House, foreign: Pack, photographs: Path
) -> None:
    async with house.listening(), desk_in(house) as desk:
        await house.start_node(NODE)  # its own pack is the shipped one
        house.pack = foreign.path
        await house.start_gateway(
            "--wait-for-nodes", "1",
            source=str(photographs), pan=True, loop=True, fps=4, deadline_ms=20_000,
            min_confidence=0,
        )  # fmt: skip
        results = await house.next_results(5)
        variant = results[0].contributors[0].variant
        entry, manifest = foreign.variant(variant), foreign.manifest
        classifier = Classifier(foreign.model(variant), interface=entry.interface)
        for result in results:
            assert [one.variant for one in result.contributors] == [variant]
            jpeg = house.frames[result.frame].jpeg
            scores = classifier.classify(decode_jpeg(jpeg, entry.resolution, entry.input_offset))
            answer = Answer(*compress(scores, manifest.k), entry.weight)
            combined = combine([answer], len(manifest.labels), manifest.rule)
            assert result.label == manifest.labels[int(np.argmax(combined))]
        state = await desk.says("working", model=entry.sha256)
        assert (state.pack, state.variant) == ("foreign", variant)
        assert f"fetching variant {variant} of pack foreign" in house.log(NODE)

        await house.end("gateway")
        await house.end(NODE)
        count = len(list(split_model(foreign.model(variant))))
        for number in range(count):
            await desk.publish(TOPICS.model_part(entry.sha256, number), b"")
        desk.states.clear()
        fetched = house.log(NODE).count("fetching variant")
        house.pack = PACK
        await house.start_node(NODE)  # the assignment stands on the broker, the parts do not
        await desk.says("working", model=entry.sha256)
        assert house.log(NODE).count("fetching variant") == fetched == 1


async def test_parts_that_somebody_wrote_over_are_sent_again_for_the_node_that_lacks_them(
    house: House, foreign: Pack, photographs: Path, tmp_path: Path
) -> None:
    async with desk_in(house) as desk:
        await house.start_node(NODE)
        house.pack = foreign.path
        await house.start_gateway(source=str(photographs), loop=True, fps=1)
        model = (await desk.says("working")).model
        assert model is not None
        await house.end(NODE)
        shutil.rmtree(tmp_path / "cache")
        await desk.publish(TOPICS.model_part(model, 1), b"hostile")
        desk.states.clear()
        house.pack = PACK
        await house.start_node(NODE)
        state = await desk.says("failed", "cannot be fetched")
        assert state.lacks == model
        state = await desk.says("working", model=model)
        assert state.lacks is None


async def test_the_next_gateway_sends_no_file_again_and_another_pack_clears_them(
    house: House, foreign: Pack, photographs: Path
) -> None:
    async with desk_in(house) as desk:
        await house.start_node(NODE)
        house.pack = foreign.path
        camera: dict[str, Any] = {"source": str(photographs), "loop": True, "fps": 1}
        await house.start_gateway(**camera)
        state = await desk.says("working")
        assert state.pack == "foreign"
        await house.end("gateway")
        await house.start_gateway("--wait-for-nodes", "1", **camera)
        await house.end("gateway")
        assert house.log("gateway").count("was sent to the broker") == 1

        house.pack = PACK
        await house.start_gateway(**camera)
        await desk.says("working", model=load_pack(PACK).variant(state.variant or "").sha256)
        async with house.listening():
            await house.until(
                lambda: "was removed from the broker" in house.log("gateway"), "the removal"
            )
        house.retained.clear()
        async with house.listening():
            await house.next_results(1)  # what is retained has come before it
            assert TOPICS.status in house.retained
            left = [topic for topic in house.retained if f"/models/{state.model}" in topic]
            assert left == []


@dataclass(frozen=True)
class Hostile:
    """A file that is sent, whether its hash is the one that is assigned, and what is said of it."""

    spoil: Callable[[bytes], bytes]
    named: bool
    words: str


HOSTILE = [
    pytest.param(Hostile(lambda model: model[::-1], False, "another SHA-256"), id="another file"),
    pytest.param(Hostile(lambda model: model[::-1], True, "cannot be served"), id="no TFLite"),
    pytest.param(
        Hostile(lambda model: model[:1000] + bytes(len(model) - 1000), True, "cannot be served"),
        id="a broken TFLite",
    ),
]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_hostile_parts_are_refused_while_the_old_model_answers(
    house: House, foreign: Pack, hostile: Hostile
) -> None:
    own, model = load_pack(PACK), foreign.model("V2")
    sent = hostile.spoil(model)
    sha256 = hashlib.sha256(sent if hostile.named else model).hexdigest()
    async with desk_in(house) as desk:
        await house.start_node(NODE)
        await desk.says("unassigned")
        await desk.assign(own, "V1")
        await desk.says("working")
        await desk.give(sha256, list(split_model(sent)))
        await desk.assign(foreign, "V2", model=sha256)
        state = await desk.says("failed", hostile.words)
        assert state.reason.endswith("V1 keeps answering")
        await desk.answers_with(own, "V1", 1)
        await desk.assign(own, "V3")
        await desk.says("working", model=own.variant("V3").sha256)
        await desk.answers_with(own, "V3", 2)
        assert house.processes[NODE].returncode is None


async def test_missing_and_contradicting_parts_are_said(house: House, foreign: Pack) -> None:
    config = house.folder / "node.toml"
    config.write_text("[models]\ntimeout_s = 2\n")
    own, entry = load_pack(PACK), foreign.variant("V1")
    parts = list(split_model(foreign.model("V1")))
    async with desk_in(house) as desk:
        await house.start_node(NODE, "--config", str(config))
        await desk.says("unassigned")
        await desk.assign(own, "V1")
        await desk.says("working")
        await desk.give(entry.sha256, parts[:-1])
        await desk.assign(foreign, "V1")
        await desk.says("failed", f"{len(parts) - 1} of {len(parts)} parts came")
        await desk.answers_with(own, "V1", 1)
        last = parts[-1]
        wrong = ModelPart(last.part, last.part_count, last.total_bytes + 1, last.data)
        await desk.give(entry.sha256, [wrong])
        await desk.assign(foreign, "V1")
        await desk.says("failed", "contradict each other")
        await desk.answers_with(own, "V1", 2)
        await desk.give(entry.sha256, [last])
        await desk.assign(foreign, "V1")
        await desk.says("working", model=entry.sha256)
        await desk.answers_with(foreign, "V1", 3)


async def test_a_broker_that_restarts_amid_a_fetch_costs_nothing_but_time(
    house: House, foreign: Pack
) -> None:
    entry, parts = foreign.variant("V1"), list(split_model(foreign.model("V1")))
    async with desk_in(house) as desk:
        await house.start_node(NODE)
        await desk.says("unassigned")
        await desk.give(entry.sha256, parts[:-1])
        await desk.assign(foreign, "V1")
        await desk.says("starting", f"{len(parts) - 1} of {len(parts)} parts")
        desk.connected.clear()
        await house.end("broker", signal.SIGTERM)  # it keeps what is retained
        await house.start_broker()
        async with asyncio.timeout(60):
            await desk.connected.wait()
        await desk.give(entry.sha256, parts[-1:])
        await desk.says("working", model=entry.sha256)
        await desk.answers_with(foreign, "V1", 1)
