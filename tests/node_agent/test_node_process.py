"""The real command as a real process, on a real Mosquitto."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from broker.codecs import FrameMessage, PredictionMessage, decode_prediction, encode_frame
from broker.mosquitto import MosquittoBroker, find_mosquitto
from broker.payloads import Assignment, NodeState, dump
from broker.payloads import parse as parse_payload
from broker.session import BrokerSettings, Message, Session
from broker.topics import Topics
from models.pack import Pack

pytestmark = pytest.mark.mosquitto

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
async def mosquitto(port: int, password_file: Path | None = None) -> AsyncIterator[None]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker = MosquittoBroker(
        program,
        bind="127.0.0.1",
        port=port,
        allow_anonymous=password_file is None,
        password_file=password_file,
    )
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


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
async def node(broker: str, pack: Pack, *options: str) -> AsyncIterator[Node]:
    arguments = ["--broker", broker, "--name", NAME, "--pack", str(pack.path), *options]
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

    def __init__(self, port: int) -> None:
        self.statuses: list[str] = []
        self.states: list[NodeState] = []
        self.answers: list[PredictionMessage] = []
        self.session = Session(
            BrokerSettings(port=port),
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

    async def ask(self, number: int, jpeg: bytes) -> PredictionMessage:
        frame = encode_frame(FrameMessage(7, number, 60000, jpeg))
        await self.session.publish(TOPICS.frames("porch"), frame)
        await until(lambda: any(answer.frame == number for answer in self.answers))
        return self.answers[-1]


@asynccontextmanager
async def hub(port: int) -> AsyncIterator[Hub]:
    """A hub that is connected."""
    other = Hub(port)
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


async def test_assigned_answers_switches_and_leaves_politely(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--always") as guest:
            await home.phase("unassigned")
            for number, variant in enumerate(("V1", "V2")):
                entry = pack.variant(variant)
                assignment = Assignment(
                    pack="tiny", variant=variant, model=entry.sha256, cameras=["porch"]
                )
                await home.session.publish(
                    TOPICS.assignment(NAME), dump(assignment), qos=1, retain=True
                )
                await until(lambda name=variant: home.states[-1].variant == name)  # type: ignore[misc]
                answer = await home.ask(number, jpeg)
                assert (answer.session, answer.model) == (7, entry.model_id)
            (worker,) = workers_of(guest.process.pid)
            guest.process.send_signal(signal.SIGTERM)
            assert await guest.exit_code() == 0
            await until(lambda: home.statuses[-1] == "offline")
            assert state(worker) == "gone"
        assert home.statuses == ["online", "offline"]
        assert "Traceback" not in guest.log


async def test_an_assignment_that_was_there_before_is_taken(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        assignment = Assignment(pack="tiny", variant="V2", model=pack.variant("V2").sha256)
        await home.session.publish(TOPICS.assignment(NAME), dump(assignment), qos=1, retain=True)
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--always"):
            await home.phase("working")
            assert (await home.ask(1, jpeg)).model == pack.variant("V2").model_id


async def test_ctrl_c_ends_it_with_130(pack: Pack) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1") as guest:
            await home.phase("working", "paused")
            guest.process.send_signal(signal.SIGINT)
            guest.process.send_signal(signal.SIGINT)
            assert await guest.exit_code() == 130
            assert "Traceback" not in guest.log
        await until(lambda: home.statuses[-1] == "offline")


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["terminal", "nohup"])
def hangup(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    """What SIGHUP does here, and so at first in children: that is how nohup works."""
    handler: signal.Handlers = request.param
    own = signal.signal(signal.SIGHUP, handler)
    yield handler
    signal.signal(signal.SIGHUP, own)


async def test_a_terminal_that_closes_ends_it_but_not_under_nohup(
    pack: Pack, jpeg: bytes, hangup: signal.Handlers
) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1", "--always") as guest:
            await home.phase("working")
            guest.process.send_signal(signal.SIGHUP)
            if hangup is signal.SIG_IGN:
                await home.ask(1, jpeg)
                guest.process.send_signal(signal.SIGTERM)
            assert await guest.exit_code() == 0
        await until(lambda: home.statuses[-1] == "offline")


async def test_a_killed_agent_is_offline_and_its_worker_gone(pack: Pack) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1") as guest:
            await home.phase("working", "paused")
            (worker,) = workers_of(guest.process.pid)
            guest.process.kill()
            await until(lambda: home.statuses[-1] == "offline")
        # Adopted by whoever is process 1 here, which may leave it a zombie.
        await until(lambda: state(worker) in ("gone", "Z"))


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


async def test_a_killed_worker_comes_back(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1", "--always") as guest:
            await home.phase("working")
            (worker,) = workers_of(guest.process.pid)
            os.kill(worker, signal.SIGKILL)
            await until(lambda: "SIGKILL" in guest.log)
            await home.phase("working")
            await home.ask(1, jpeg)
        assert home.statuses[:1] == ["online"]


async def test_a_broker_that_is_away_is_named_once_and_awaited(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1", "--always") as guest:
        await until(lambda: "cannot be reached" in guest.log)
        for number in range(2):  # it comes, goes and comes again
            async with mosquitto(port), hub(port) as home:
                await home.phase("working")
                await home.ask(number, jpeg)
        guest.process.send_signal(signal.SIGTERM)
        assert await guest.exit_code() == 0
    assert guest.log.count("cannot be reached") <= 3  # at the start and after each loss
    assert "Traceback" not in guest.log


def passwords(tmp_path: Path, logins: Sequence[tuple[str, str]]) -> Path:
    file = tmp_path / "passwords"
    file.touch(mode=0o600)
    for user, password in logins:
        subprocess.run(["mosquitto_passwd", "-b", file, user, password], check=True)
    return file


async def test_a_wrong_password_is_exit_code_2_and_one_sentence(pack: Pack, tmp_path: Path) -> None:
    port = free_port()
    async with mosquitto(port, passwords(tmp_path, [("guest", "right")])):
        async with node(f"mqtt://guest:wrong@127.0.0.1:{port}", pack, "--variant", "V1") as guest:
            assert await guest.exit_code() == 2
        errors = [line for line in guest.log.splitlines() if line.startswith("idlesight-node: ")]
        assert len(errors) == 1
        assert "refuses the login" in errors[0]
        assert "wrong" not in errors[0]
        assert "Traceback" not in guest.log
