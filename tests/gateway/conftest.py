"""A household: scripted nodes, pictures, somebody who watches, and a broker in memory."""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from broker.codecs import FrameMessage, PredictionMessage, decode_frame, encode_prediction
from broker.errors import NotConnectedError
from broker.memory import MemoryBroker, MemorySession
from broker.payloads import Assignment, NodeState, Result, dump, parse
from broker.session import BrokerSettings, Message, Will
from broker.topics import Kind, Topics
from broker.topics import parse as parse_topic
from gateway.gateway import Gateway
from gateway.link import Link
from gateway.settings import GatewaySettings
from models.pack import Pack, PackManifest, VariantEntry, write_pack

TINY = Path(__file__).parent.parent / "models" / "data" / "tiny.tflite"
LABELS = tuple(f"label{number}" for number in range(10))
WAIT_S = 20.0  # generous: the machine may be busy


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Three variants of a tiny model, told apart by a byte after its end."""
    models = {f"V{i}": TINY.read_bytes() + bytes([i]) for i in (1, 2, 3)}
    entries = tuple(
        VariantEntry(
            name=name,
            file=f"{name}.tflite",
            sha256=hashlib.sha256(model).hexdigest(),
            precision="float32",
            resolution=32,
            width=0.35,
            weight=0.5 + number / 4,
            parameters=40,
            macs=40,
        )
        for number, (name, model) in enumerate(models.items())
    )
    manifest = PackManifest(
        name="tiny", version="1", labels=LABELS, rule="residual", k=2, alpha=1.0, variants=entries
    )
    return write_pack(tmp_path_factory.mktemp("packs") / "tiny", manifest, models)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail when it does not within a generous time."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - any condition, so there is no event
            await asyncio.sleep(0.005)


class Memory:
    """A broker in memory that can go away as a whole, and be slow to acknowledge."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.sessions: dict[str, MemorySession] = {}
        self.stalled: set[str] = set()  # topics on which publishing never returns

    def link(self, settings: BrokerSettings, *, client_id: str, **options: Any) -> Link:
        session = self.broker.session(client_id=client_id, **options)
        self.sessions[client_id] = session
        return StallingLink(session, self.stalled)

    @property
    def log(self) -> list[Message]:
        return self.broker.published

    @property
    def retained(self) -> dict[str, Message]:
        return self.broker.retained

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish as a stranger."""
        self.broker.publish(Message(topic, payload, retain, qos))

    def sent(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.log if message.topic == topic]

    def go_away(self, *, forget: bool = False) -> None:
        """Drop every link, and all that is retained if asked for."""
        for session in self.sessions.values():
            session.broken(publish_will=False)
        if forget:
            self.retained.clear()

    def come_back(self, *, without: str | None = None) -> None:
        for client_id, session in self.sessions.items():
            if client_id != without:
                session.reachable.set()


class StallingLink:
    """A session whose publishing on some topics gets through but never returns."""

    def __init__(self, session: MemorySession, stalled: set[str]) -> None:
        self._session = session
        self._stalled = stalled

    @property
    def connected(self) -> bool:
        return self._session.connected

    async def run(self) -> None:
        await self._session.run()

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        await self._session.publish(topic, payload, qos=qos, retain=retain)
        if topic in self._stalled:
            await asyncio.Event().wait()


class ScriptedNode:
    """A node that answers each frame with the label it was told, or keeps the frame."""

    def __init__(
        self,
        link: Callable[..., Link],
        broker: BrokerSettings,
        topics: Topics,
        name: str,
        entry: VariantEntry | None,
        *,
        fixed: bool = True,
        phase: str = "working",
    ) -> None:
        self.name = name
        self.entry = entry
        self.topics = topics
        self.fixed = fixed
        self.phase = phase
        self.label: int | Callable[[FrameMessage], int] = 4
        self.answers = True
        self.frames: list[FrameMessage] = []
        self.assignments: list[Assignment] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.on_answer: Callable[[FrameMessage], None] = lambda _: None
        self.client_id = f"node-{name}"
        offline = Will(topics.node_status(name), b"offline")
        self.link = link(
            broker,
            client_id=self.client_id,
            will=offline,
            on_message=self._on_message,
            on_connect=self._on_connect,
            subscriptions=[(topics.all_frames, 0), (topics.assignment(name), 1)],
            farewell=[offline],
        )

    async def _on_connect(self) -> None:
        await self.link.publish(self.topics.node_status(self.name), b"online", qos=1, retain=True)
        await self.say_state()

    async def say_state(self, **changes: Any) -> None:
        state = NodeState.model_validate(
            {
                "node": self.name,
                "state": self.phase,
                "variant": self.entry.name if self.entry else None,
                "model": self.entry.sha256 if self.entry else None,
                "fixed_variant": self.fixed,
                "version": "test",
            }
            | changes
        )
        await self.link.publish(self.topics.node_state(self.name), dump(state), qos=1, retain=True)

    def prediction(self, frame: FrameMessage, /, **changes: Any) -> bytes:
        label = self.label if isinstance(self.label, int) else self.label(frame)
        fields: dict[str, Any] = {
            "session": frame.session,
            "frame": frame.frame,
            "model": self.entry.model_id if self.entry else 0,
            "inference_us": 1500,
            "class_count": len(LABELS),
            "indices": (label, (label + 1) % len(LABELS)),
            "values": (0.75, 0.125),
        }
        return encode_prediction(PredictionMessage(**(fields | changes)))

    async def answer(self, frame: FrameMessage, /, **changes: Any) -> None:
        payload = self.prediction(frame, **changes)
        self.on_answer(frame)
        with suppress(NotConnectedError):
            await self.link.publish(self.topics.predictions(self.name), payload)

    def _on_message(self, message: Message) -> None:
        if parse_topic(self.topics, message.topic).kind is Kind.ASSIGNMENT:
            self.assignments.append(parse(Assignment, message.payload))
            return
        frame = decode_frame(message.payload)
        self.frames.append(frame)
        if self.answers and self.entry is not None:
            task = asyncio.get_running_loop().create_task(self.answer(frame))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)


class House:
    """One gateway, its nodes and somebody who watches, over whatever link they are given."""

    def __init__(
        self, link: Callable[..., Link], broker: BrokerSettings, pack: Pack, directory: Path
    ) -> None:
        self.topics = Topics("home")
        self.link = link
        self.broker = broker
        self.pack = pack
        self.directory = directory
        self.results: list[Result] = []
        self.result_messages: list[Message] = []
        self.on_result: Callable[[Result], None] = lambda _: None
        self._tasks: list[asyncio.Task[None]] = []

    def pictures(self, count: int = 3) -> str:
        folder = self.directory / f"pictures{count}"
        folder.mkdir(exist_ok=True)
        for number in range(count):
            shade = (number * 255 // max(1, count - 1), 100, 50)
            Image.new("RGB", (64, 48), shade).save(folder / f"{number:03}.png")
        return str(folder)

    def gateway(
        self, cameras: dict[str, Any], *, discovery: str = "component", **options: Any
    ) -> Gateway:
        settings = GatewaySettings.model_validate(
            {"cameras": cameras, "homeassistant": {"discovery": discovery}}
        )
        settings = settings.model_copy(update={"broker": self.broker})
        return Gateway(settings, self.pack, rng=random.Random(1), link=self.link, **options)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    async def node(self, name: str, variant: str | None, **options: Any) -> ScriptedNode:
        entry = None if variant is None else self.pack.variant(variant)
        node = ScriptedNode(self.link, self.broker, self.topics, name, entry, **options)
        self.spawn(node.link.run())
        await until(lambda: node.link.connected)
        return node

    async def watch(self) -> None:
        """Collect every result from now on."""

        def on_message(message: Message) -> None:
            if message.retain or not message.payload:  # of before, or cleared
                return
            self.result_messages.append(message)
            result = parse(Result, message.payload)
            self.results.append(result)
            self.on_result(result)

        link = self.link(
            self.broker,
            client_id="watcher",
            on_message=on_message,
            subscriptions=[(self.topics.all_results, 1)],
        )
        self.spawn(link.run())
        await until(lambda: link.connected)

    async def has_results(self, count: int, status: str | None = None) -> None:
        await until(
            lambda: sum(status in (None, result.status) for result in self.results) >= count
        )

    async def close(self) -> None:
        for task in reversed(self._tasks):
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                logging.getLogger(__name__).error("left behind: %r", outcome)


@pytest.fixture
def until_true() -> Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]:
    return until


@pytest.fixture
async def memory() -> Memory:
    return Memory()


@pytest.fixture
async def house(memory: Memory, pack: Pack, tmp_path: Path) -> AsyncIterator[House]:
    house = House(memory.link, BrokerSettings(), pack, tmp_path)
    await house.watch()
    yield house
    await house.close()


@pytest.fixture
def make_house(
    pack: Pack, tmp_path: Path
) -> Callable[[Callable[..., Link], BrokerSettings], House]:
    return lambda link, broker: House(link, broker, pack, tmp_path)
