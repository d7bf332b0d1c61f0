"""A household on this machine: real broker, gateway and agents, each a process of its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.codecs import FrameMessage, decode_frame
from broker.errors import PayloadError
from broker.mosquitto import find_mosquitto
from broker.payloads import Result, parse
from broker.session import BrokerSettings, Message, Session
from broker.topics import Kind, Topics
from broker.topics import parse as parse_topic

CAMERA = "porch"
PACK = "cifar10"
# On two busy cores the imports of five processes take seconds; nothing here measures time.
START_TIMEOUT_S = 60.0
WAIT_TIMEOUT_S = 60.0


@dataclass
class House:
    """Starts and ends processes, and listens to what they say on the broker."""

    folder: Path
    embedded: bool
    port: int
    pack: Path | str = PACK
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    frames: dict[int, FrameMessage] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    retained: dict[str, bytes] = field(default_factory=dict)
    topics: Topics = field(default_factory=lambda: Topics("home"))
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def broker_url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self, name: str, module: str, *arguments: str, ready: bool = False) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if ready else log,
                stderr=log,
            )
        self.processes[name] = process
        if ready:
            assert process.stdout is not None
            async with asyncio.timeout(START_TIMEOUT_S):
                line = (await process.stdout.readline()).decode()
            assert line.startswith("ready: "), f"{name} said {line!r}; {self.log(name)}"

    async def start_broker(self) -> None:
        kind = "--embedded" if self.embedded else "--mosquitto"
        data = str(self.folder / "broker")
        await self.start(
            "broker", "broker.cli", "up", kind, "--port", str(self.port), "--data-dir", data,
            ready=True,
        )  # fmt: skip

    async def start_node(self, name: str, *arguments: str) -> None:
        """Start an agent that always runs: at idle priority it gets nothing on a busy machine."""
        await self.start(
            name, "node_agent.cli", "run", "--broker", self.broker_url, "--name", name, "--always",
            "--priority", "normal", "--pack", str(self.pack), *arguments,
        )  # fmt: skip

    async def start_three_nodes(self) -> None:
        for variant in ("V1", "V2", "V3"):
            await self.start_node(f"n{variant}", "--variant", variant)

    async def start_gateway(self, *arguments: str, **camera: Any) -> None:
        config = self.folder / "home.yaml"
        settings = {
            "broker": self.broker_url,
            "pack": str(self.pack),
            "cameras": {CAMERA: camera},
        }
        config.write_text(yaml.safe_dump(settings))
        await self.start(
            "gateway", "gateway.cli", "run", "--config", str(config), *arguments, ready=True
        )

    async def start_all(
        self,
        *arguments: str,
        source: Path,
        fps: int,
        deadline_ms: int = 2_000,
        decide_early: bool = False,
        **camera: Any,
    ) -> None:
        """Start three nodes and a gateway that waits for them before it opens its camera.

        Who answered shows only where no frame ends before the slowest of them could.
        """
        await self.start_three_nodes()
        await self.start_gateway(
            "--wait-for-nodes", "3", *arguments,
            source=str(source), fps=fps, deadline_ms=deadline_ms, decide_early=decide_early,
            **camera,
        )  # fmt: skip

    async def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> int:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
            if how is not signal.SIGCONT:
                process.send_signal(signal.SIGCONT)  # one that was frozen can't end otherwise
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            return await process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds; it is asked again after every message."""
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            logs = "\n".join(f"--- {name}\n{self.log(name)[-2000:]}" for name in self.processes)
            pytest.fail(f"never came: {what}; {len(self.results)} results\n{logs}")

    async def next_results(self, count: int) -> list[Result]:
        """Return the next results from now on."""
        begin = len(self.results)
        await self.until(lambda: len(self.results) >= begin + count, f"{count} more results")
        return self.results[begin : begin + count]

    def hear(self, message: Message) -> None:
        if message.retain:
            self.retained[message.topic] = message.payload
        topic = parse_topic(self.topics, message.topic)
        if topic.kind is Kind.FRAME:
            # The broken frames that a test sends are meant for the agents.
            with contextlib.suppress(PayloadError):
                frame = decode_frame(message.payload)
                self.frames[frame.frame] = frame
        elif topic.kind is Kind.RESULT and not message.retain:
            self.results.append(parse(Result, message.payload))
        self.changed.set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Session]:
        """Listen to every topic from now on."""
        connected = asyncio.Event()

        async def on_connect() -> None:
            connected.set()

        session = Session(
            BrokerSettings(port=self.port),
            client_id="listener",
            on_message=self.hear,
            on_connect=on_connect,
            subscriptions=[("idlesight/home/#", 1)],
        )
        task = asyncio.create_task(session.run(), name="listener")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await connected.wait()
            yield session
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _open_house(folder: Path, *, embedded: bool) -> AsyncIterator[House]:
    house = House(folder, embedded, _free_port())
    try:
        await house.start_broker()
        yield house
    finally:
        for name in reversed(list(house.processes)):
            with contextlib.suppress(TimeoutError):
                await house.end(name)
        for process in house.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(
    params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "embedded"],
)
async def any_house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A house on real Mosquitto, and one on the embedded broker."""
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    async for house in _open_house(tmp_path, embedded=request.param == "embedded"):
        yield house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house on real Mosquitto."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    async for one in _open_house(tmp_path, embedded=False):
        yield one


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs that scikit-image carries."""
    skimage = pytest.importorskip("skimage")
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        shutil.copy(Path(skimage.__file__).parent / "data" / name, folder)
    return folder
