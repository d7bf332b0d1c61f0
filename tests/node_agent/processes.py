"""A node, a broker and whoever else is on it, each a process of its own."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from broker.codecs import FrameMessage, PredictionMessage, decode_prediction, encode_frame
from broker.mosquitto import MosquittoBroker, find_mosquitto
from broker.payloads import NodeState
from broker.payloads import parse as parse_payload
from broker.session import BrokerSettings, Message, Session
from broker.topics import Topics
from models.pack import Pack

BOUND_S = 60.0
NAME = "kitchen"
TOPICS = Topics("home")
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def mosquitto(
    port: int, password_file: Path | None = None, config_file: Path | None = None
) -> AsyncIterator[None]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker = MosquittoBroker(
        program,
        bind="127.0.0.1",
        port=port,
        allow_anonymous=password_file is None,
        password_file=password_file,
        config_file=config_file,
    )
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


@asynccontextmanager
async def embedded(port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "broker.cli", "up", "--embedded", "--port", str(port)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            assert (await process.stdout.readline()).startswith(b"ready: ")
        yield
    finally:
        process.terminate()
        await process.wait()


class Node:
    """One agent process and what it writes to standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(4096):
            self.log += chunk.decode()

    async def exit_code(self) -> int:
        async with asyncio.timeout(BOUND_S):
            return await self.process.wait()


@asynccontextmanager
async def node(broker: str | None, pack: Pack, *options: str) -> AsyncIterator[Node]:
    """A node at normal priority; without a broker's URL its options name a file of settings."""
    arguments = ["--name", NAME, "--pack", str(pack.path), *options]
    if broker is not None:
        arguments += ["--broker", broker]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "node_agent.cli", "run", "--priority", "normal", *arguments),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    async with asyncio.TaskGroup() as group:
        child = Node(process)
        group.create_task(child.read_log())
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Hub:
    """The other end: what a gateway would see and send."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.statuses: list[str] = []
        self.states: list[NodeState] = []
        self.answers: list[PredictionMessage] = []
        self.session = Session(
            broker,
            client_id="hub",
            on_message=self._receive,
            subscriptions=[
                (TOPICS.all_node_status, 1),
                (TOPICS.all_node_states, 1),
                (TOPICS.all_predictions, 0),
            ],
        )

    def _receive(self, message: Message) -> None:
        if message.topic == TOPICS.node_status(NAME):
            self.statuses.append(message.payload.decode())
        elif message.topic == TOPICS.node_state(NAME):
            self.states.append(parse_payload(NodeState, message.payload))
        elif message.topic == TOPICS.predictions(NAME):
            self.answers.append(decode_prediction(message.payload))

    async def phase(self, *phases: str) -> NodeState:
        await until(lambda: bool(self.states) and self.states[-1].state in phases)
        return self.states[-1]

    async def send(self, number: int, jpeg: bytes, session: int = 7, camera: str = "porch") -> None:
        frame = encode_frame(FrameMessage(session, number, 60000, jpeg))
        await self.session.publish(TOPICS.frames(camera), frame)

    async def ask(self, number: int, jpeg: bytes, session: int = 7) -> PredictionMessage:
        await self.send(number, jpeg, session)
        await until(lambda: any(answer.frame == number for answer in self.answers))
        return self.answers[-1]


@asynccontextmanager
async def hub(port: int, url: str | None = None) -> AsyncIterator[Hub]:
    """A hub that is connected."""
    other = Hub(BrokerSettings(port=port) if url is None else BrokerSettings.parse_url(url))
    task = asyncio.create_task(other.session.run())
    try:
        await until(lambda: other.session.connected)
        yield other
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def workers_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def passwords(tmp_path: Path, logins: Sequence[tuple[str, str]]) -> Path:
    file = tmp_path / "passwords"
    file.touch(mode=0o600)
    for user, password in logins:
        subprocess.run(["mosquitto_passwd", "-b", file, user, password], check=True)
    return file
