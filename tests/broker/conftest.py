"""Real brokers as child processes, a link that can be cut, and sessions that remember."""

import asyncio
import contextlib
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from broker.mosquitto import find_mosquitto
from broker.session import BrokerSettings, Message, Session

READY_TIMEOUT_S = 40.0  # on a busy machine the embedded broker takes seconds to load
WAIT_TIMEOUT_S = 20.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Command:
    """`idlesight-broker` as a child process."""

    arguments: list[str]
    process: subprocess.Popen[str] | None = None
    ready_line: str = ""

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "broker.cli", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_TIMEOUT_S)
        self.ready_line = self.process.stdout.readline().rstrip("\n") if readable else ""
        if not self.ready_line.startswith("ready: "):
            pytest.fail(f"no ready line but {self.ready_line!r}: {self.stop()}")

    def stop(self, *, kill: bool = False) -> tuple[int, str]:
        """End it; return its exit code and what it wrote to stderr."""
        process, self.process = self.process, None
        if process is None:
            return 0, ""
        if kill:
            process.kill()
        else:
            process.terminate()
        _, said = process.communicate(timeout=READY_TIMEOUT_S)
        return process.returncode, said


@dataclass
class RunningBroker:
    """A broker of one kind on one port."""

    kind: str
    port: int
    command: Command

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings(port=self.port)

    def restart(self) -> None:
        self.command.stop()
        self.command.start()


def need_mosquitto() -> Path:
    found = find_mosquitto()
    if found is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    return found


def _start(kind: str, *more: str) -> RunningBroker:
    if kind == "mosquitto":
        need_mosquitto()
    port = _free_port()
    command = Command(["up", f"--{kind}", "--port", str(port), *more])
    command.start()
    return RunningBroker(kind, port, command)


@pytest.fixture
def free_port() -> int:
    return _free_port()


@pytest.fixture(
    scope="session", params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "embedded"]
)
def any_broker(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """Each of the two brokers; tests must not leave retained messages of a common name."""
    broker = _start(request.param)
    yield broker
    broker.command.stop()


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "embedded"])
def own_broker(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """Each of the two brokers, to stop and start at will."""
    broker = _start(request.param)
    yield broker
    broker.command.stop()


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[RunningBroker]:
    broker = _start("mosquitto")
    yield broker
    broker.command.stop()


@pytest.fixture(scope="session")
def embedded() -> Iterator[RunningBroker]:
    broker = _start("embedded")
    yield broker
    broker.command.stop()


@pytest.fixture
def configured() -> Iterator[Callable[[Path, int], Command]]:
    """Starts Mosquitto with a configuration of the test's own."""
    need_mosquitto()
    started: list[Command] = []

    def start(config: Path, port: int) -> Command:
        command = Command(["up", "--config", str(config), "--port", str(port)])
        command.start()
        started.append(command)
        return command

    yield start
    for command in started:
        command.stop()


@dataclass
class Recorder:
    """A session that runs, and what it heard."""

    session: Session
    task: asyncio.Task[None]
    messages: list[Message]
    connects: list[float]

    async def connected(self, times: int = 1) -> None:
        await until(lambda: len(self.connects) >= times and self.session.connected)

    async def heard(self, payload: bytes, times: int = 1) -> None:
        await until(lambda: [one.payload for one in self.messages].count(payload) >= times)

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def until(condition: Callable[[], bool], timeout_s: float = WAIT_TIMEOUT_S) -> None:
    """Wait for a condition, or fail after a generous bound."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            pytest.fail("the condition did not come true in time")
        await asyncio.sleep(0.005)


class Until(Protocol):
    """`until`, for annotations."""

    def __call__(
        self, condition: Callable[[], bool], timeout_s: float = WAIT_TIMEOUT_S
    ) -> Awaitable[None]: ...


@pytest.fixture(name="until")
def _until() -> Until:
    return until


@pytest.fixture
async def record() -> AsyncIterator[Callable[..., Recorder]]:
    """Runs sessions that remember their messages; all end with the test."""
    recorders: list[Recorder] = []

    def start(settings: BrokerSettings, client_id: str, **more: Any) -> Recorder:
        messages: list[Message] = []
        connects: list[float] = []
        then = more.pop("on_connect", None)

        async def on_connect() -> None:
            connects.append(time.monotonic())
            if then is not None:
                await then()

        session = Session(
            settings,
            client_id=client_id,
            on_message=more.pop("on_message", messages.append),
            on_connect=on_connect,
            **more,
        )
        task = asyncio.create_task(session.run(), name=client_id)
        recorders.append(Recorder(session, task, messages, connects))
        return recorders[-1]

    yield start
    for recorder in recorders:
        recorder.task.cancel()
    await asyncio.gather(*(recorder.task for recorder in recorders), return_exceptions=True)


@dataclass
class Link:
    """A TCP link to a broker that can be cut or frozen."""

    port: int
    frozen: bool = False
    refuse: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    seen: int = 0

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@pytest.fixture
async def link_to() -> AsyncIterator[Callable[[int], Awaitable[Link]]]:
    """Opens links to a broker's port; their own ports are what a session connects to."""
    servers: list[tuple[asyncio.Server, Link]] = []

    async def make(broker_port: int) -> Link:
        link = Link(0)

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    await until(lambda: not link.frozen, timeout_s=60)
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link.seen += 1
            if link.refuse:
                writer.transport.abort()
                return
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", broker_port)
            link.writers += [writer, there_writer]
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, there_writer))
                group.create_task(pump(there_reader, writer))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        servers.append((server, link))
        return link

    yield make
    for server, link in servers:
        link.frozen = False
        server.close()
        link.cut()
        await server.wait_closed()


_CONNECT, _PUBLISH, _SUBSCRIBE, _UNSUBSCRIBE = 1, 3, 8, 10  # MQTT 3.1.1, 2.2.1


@dataclass
class HesitantBroker:
    """A broker of MQTT 3.1.1 that can hold back what it owes; it delivers no messages.

    Attributes:
        answers: clear to hold back SUBACK, UNSUBACK and PUBACK.
        connects: CONNECT packets so far.
        requests: SUBSCRIBE and UNSUBSCRIBE packets so far.
        subscribed: filters and QoS of the newest connection.
    """

    port: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    connects: int = 0
    requests: int = 0
    subscribed: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> BrokerSettings:
        return BrokerSettings(port=self.port, protocol="3.1.1", connect_timeout_s=2.0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                kind, body = await self._packet(reader)
                packet_id = body[:2]
                if kind == _CONNECT:
                    self.connects += 1
                    self.subscribed = {}
                    writer.write(b"\x20\x02\x00\x00")
                    continue
                owed = b""
                if kind == _PUBLISH:
                    topic_end = 2 + int.from_bytes(body[:2])
                    owed = b"\x40\x02" + body[topic_end : topic_end + 2]
                elif kind == _SUBSCRIBE:
                    filters = list(self._filters(body, 1))
                    self.subscribed |= {one: code[0] for one, code in filters}
                    codes = b"".join(code for _, code in filters)
                    owed = bytes([0x90, 2 + len(codes)]) + packet_id + codes
                elif kind == _UNSUBSCRIBE:
                    for topic_filter, _ in self._filters(body, 0):
                        self.subscribed.pop(topic_filter, None)
                    owed = b"\xb0\x02" + packet_id
                self.requests += kind in (_SUBSCRIBE, _UNSUBSCRIBE)
                if owed:
                    await self.answers.wait()
                    writer.write(owed)
        writer.close()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind = (await reader.readexactly(1))[0] >> 4
        length = shift = 0
        while True:
            (byte,) = await reader.readexactly(1)
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return kind, await reader.readexactly(length)

    def _filters(self, body: bytes, code_bytes: int) -> Iterator[tuple[str, bytes]]:
        at = 2
        while at < len(body):
            end = at + 2 + int.from_bytes(body[at : at + 2])
            yield body[at + 2 : end].decode(), body[end : end + code_bytes]
            at = end + code_bytes


@pytest.fixture
async def hesitant_broker() -> AsyncIterator[HesitantBroker]:
    """A broker that answers only while told to; at first it does."""
    broker = HesitantBroker()
    broker.answers.set()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    yield broker
    broker.answers.set()
    server.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA (`ca.pem`) and a server's `cert.pem` and `key.pem` for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    steps = [
        ["req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
         "-subj", "/CN=test CA"],
        ["req", *new_key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=broker"],
        ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
         "-CAcreateserial", "-out", "cert.pem", "-days", "2", "-extfile", "ext"],
    ]  # fmt: skip
    for step in steps:
        subprocess.run(["openssl", *step], cwd=folder, check=True, capture_output=True, timeout=60)
    (folder / "key.pem").chmod(0o644)
    return folder
