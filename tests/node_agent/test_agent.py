"""The agent with a link in memory, a scripted machine and real worker processes."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.codecs import FrameMessage, PredictionMessage, decode_prediction, encode_frame
from broker.errors import AuthenticationError, NotConnectedError
from broker.memory import MemoryBroker, MemorySession
from broker.payloads import Assignment, NodeState, dump
from broker.payloads import parse as parse_payload
from broker.session import Message
from broker.topics import Topics
from models.errors import VariantNotFoundError
from models.pack import Pack
from node_agent.agent import NodeAgent
from node_agent.errors import NameTakenError
from node_agent.foreign_cpu import CpuSample
from node_agent.governor_settings import GovernorSettings
from node_agent.pause import PauseClock, PauseKeeper
from node_agent.sensors import Device
from node_agent.settings import NodeSettings, WorkerSettings
from tests.node_agent.children import children
from tests.node_agent.readers.trees import plant

BOUND_S = 60.0
NOWHERE = Path("/nowhere")  # a device that offers no signal but its processor
TOPICS = Topics("home")
NAME = "kitchen"
# Quick windows: a scripted machine needs no averaging.
GOVERNOR = GovernorSettings(fast_window_s=0.05, slow_window_s=0.1, hold_off_s=0.2)
WORKER = WorkerSettings(priority="normal", load_timeout_s=60, answer_timeout_s=60)


class FakeLink:
    """An MQTT session in memory that can be lost and come back."""

    def __init__(
        self, on_message: Callable[[Message], None], on_connect: Callable[[], Awaitable[None]]
    ) -> None:
        self._on_message = on_message
        self._on_connect = on_connect
        self.connected = False
        self.published: list[tuple[str, bytes, int, bool]] = []
        self.subscribed: set[str] = set()
        self.refusal: Exception | None = None
        self.left_quietly = False
        self.echoes = True

    async def run(self) -> None:
        if self.refusal is not None:
            raise self.refusal
        await self.connect()
        await asyncio.Event().wait()

    async def connect(self) -> None:
        self.connected = True
        await self._on_connect()

    def lose(self) -> None:
        self.connected = False

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        if not self.connected:
            raise NotConnectedError("lost")
        payload = payload.encode() if isinstance(payload, str) else payload
        self.published.append((topic, payload, qos, retain))
        if topic == TOPICS.node_set(NAME) and self.echoes:  # the agent hears its own question
            asyncio.get_running_loop().call_soon(self.deliver, topic, payload)

    def leave_quietly(self) -> None:
        self.left_quietly = True

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        assert qos == (1 if "/models/" in topic_filter else 0)
        self.subscribed.add(topic_filter)

    async def unsubscribe(self, topic_filter: str) -> None:
        self.subscribed.remove(topic_filter)

    def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._on_message(Message(topic, payload, retain, 0))


class FakeMachine:
    """A clock that can be moved, and a processor used by others to a given share."""

    def __init__(self) -> None:
        self.share: float | None = 0.0
        self.ahead_s = 0.0
        self.wall = datetime(2025, 1, 31, 12, tzinfo=UTC)
        self._busy = self._total = 0.0

    def clock_s(self) -> float:
        return time.monotonic() + self.ahead_s

    def read_cpu(self, _pids: Iterable[int]) -> CpuSample | None:
        if self.share is None:
            return None
        self._total += 100
        self._busy += 100 * self.share
        return CpuSample(self._busy, self._total, 0)


class House:
    """One agent with its link and its machine."""

    def __init__(self, pack: Pack, jpeg: bytes, root: Path = NOWHERE, **options: object) -> None:
        self.settings = NodeSettings.model_validate(
            {"name": NAME, "governor": GOVERNOR, "worker": WORKER, **options}
        )
        self.pack = pack
        self.jpeg = jpeg
        self.machine = FakeMachine()
        self.device = Device(
            clock_s=self.machine.clock_s,
            read_cpu=self.machine.read_cpu,
            root=root,
            now=lambda: self.machine.wall,
        )
        self._links: list[FakeLink] = []
        self.agent = NodeAgent(
            self.settings, pack, self._open, device=self.device, rng=random.Random(1)
        )

    @property
    def link(self) -> FakeLink:
        return self._links[0]

    @property
    def answers(self) -> list[PredictionMessage]:
        topic = TOPICS.predictions(NAME)
        return [decode_prediction(sent[1]) for sent in self.link.published if sent[0] == topic]

    @property
    def states(self) -> list[NodeState]:
        topic = TOPICS.node_state(NAME)
        sent = [sent[1] for sent in self.link.published if sent[0] == topic]
        return [parse_payload(NodeState, payload) for payload in sent]

    def _open(
        self, on_message: Callable[[Message], None], on_connect: Callable[[], Awaitable[None]]
    ) -> FakeLink:
        self._links.append(FakeLink(on_message, on_connect))
        return self._links[0]

    def send(
        self,
        number: int,
        *,
        camera: str = "porch",
        jpeg: bytes | None = None,
        deadline: int = 60000,
    ) -> None:
        message = FrameMessage(7, number, deadline, jpeg or self.jpeg)
        self.link.deliver(TOPICS.frames(camera), encode_frame(message))

    def assign(self, variant: str, *cameras: str, model: str | None = None) -> None:
        sha256 = model or self.pack.variant(variant).sha256
        assignment = Assignment(pack="tiny", variant=variant, model=sha256, cameras=list(cameras))
        self.link.deliver(TOPICS.assignment(NAME), dump(assignment), retain=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not condition():  # noqa: ASYNC110 - bounded, and what it awaits has no event
                await asyncio.sleep(0.01)

    async def phase(self, phase: str) -> NodeState:
        """Wait until the published state is in that phase, and return it."""
        await self.until(lambda: bool(self.states) and self.states[-1].state == phase)
        return self.states[-1]

    async def ask(self, number: int, *, camera: str = "porch") -> PredictionMessage:
        """Send one frame and wait for its answer."""
        self.send(number, camera=camera)
        await self.until(lambda: any(answer.frame == number for answer in self.answers))
        return self.answers[-1]

    def worker_pid(self) -> int:
        (pid,) = children()
        return pid


@asynccontextmanager
async def running(house: House) -> AsyncIterator[House]:
    task = asyncio.create_task(house.agent.run())
    try:
        yield house
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, BOUND_S)
        assert children() == []


@pytest.fixture
async def house(pack: Pack, jpeg: bytes) -> AsyncIterator[House]:
    """A running agent that waits for its assignment."""
    async with running(House(pack, jpeg)) as house:
        yield house


@pytest.fixture
async def fixed(pack: Pack, jpeg: bytes) -> AsyncIterator[House]:
    """A running agent whose owner chose V1, once it is ready."""
    async with running(House(pack, jpeg, variant="V1")) as house:
        await house.phase("working")
        yield house


async def test_it_announces_itself_and_waits_for_an_assignment(house: House) -> None:
    state = await house.phase("unassigned")
    question, online, first_state, *_ = house.link.published
    assert (question[0], question[2:]) == (TOPICS.node_set(NAME), (1, False))
    assert online == (TOPICS.node_status(NAME), b"online", 1, True)
    assert (first_state[0], first_state[2:]) == (TOPICS.node_state(NAME), (1, True))
    assert state.variants == ["V1", "V2", "V9"]
    assert not state.fixed_variant
    assert house.link.subscribed == set()


async def test_answers_carry_the_frame_the_model_and_two_classes(fixed: House) -> None:
    answer = await fixed.ask(3)
    assert (answer.session, answer.frame) == (7, 3)
    assert answer.model == fixed.pack.variant("V1").model_id
    assert len(answer.indices) == len(answer.values) == 2
    assert answer.inference_us > 0
    _, payload, qos, retain = next(
        sent for sent in fixed.link.published if sent[0] == TOPICS.predictions(NAME)
    )
    assert (len(payload), qos, retain) == (32, 0, False)


async def test_the_owners_variant_stands_above_the_assignment(fixed: House) -> None:
    fixed.assign("V2", "porch")
    await fixed.until(lambda: fixed.link.subscribed == {TOPICS.frames("porch")})
    assert (await fixed.ask(1)).model == fixed.pack.variant("V1").model_id
    assert fixed.states[-1].fixed_variant


async def test_an_assignment_brings_the_model_and_the_cameras(house: House) -> None:
    house.assign("V2", "porch", "garden")
    state = await house.phase("working")
    assert (state.variant, state.model) == ("V2", house.pack.variant("V2").sha256)
    assert house.link.subscribed == {TOPICS.frames("porch"), TOPICS.frames("garden")}
    house.send(1, camera="cellar")
    assert (await house.ask(2, camera="garden")).frame == 2
    assert house.agent.state().counts.frames == 1


async def test_it_switches_variants_without_losing_the_link(house: House) -> None:
    house.assign("V1")
    await house.phase("working")
    first = await house.ask(1)
    assert house.link.subscribed == {TOPICS.all_frames}
    house.assign("V2", "porch")
    await house.until(lambda: house.agent.state().variant == "V2")
    second = await house.ask(2)
    assert [first.model, second.model] == [
        house.pack.variant(name).model_id for name in ("V1", "V2")
    ]
    statuses = [sent for sent in house.link.published if sent[0] == TOPICS.node_status(NAME)]
    assert len(statuses) == 1
    assert len(children()) == 1


async def test_an_assignment_may_name_any_precision_of_a_variant(
    two_precisions: Pack, jpeg: bytes
) -> None:
    entry = two_precisions.variant("V1")
    other = two_precisions.file("V1", "int8")
    async with running(House(two_precisions, jpeg)) as house:
        house.assign("V1", model=other.sha256)
        state = await house.phase("working")
        assert (state.variant, state.model) == ("V1", other.sha256)
        answer = await house.ask(1)
        assert answer.model == other.model_id != entry.model_id
        assert two_precisions.by_model_id(answer.model) == entry


async def test_an_assignment_that_is_taken_back_ends_the_worker(house: House) -> None:
    house.assign("V1")
    await house.phase("working")
    house.link.deliver(TOPICS.assignment(NAME), b"", retain=True)
    await house.phase("unassigned")
    await house.until(lambda: house.link.subscribed == set() and children() == [])


async def test_a_model_that_is_in_no_pack_and_not_sent_fails_and_keeps_the_old_one(
    house: House,
) -> None:
    house.assign("V5", model="ab" * 32)
    state = await house.phase("failed")
    assert "assigned variant V5" in state.reason
    assert "is in no pack of this node and cannot be fetched: the gateway does not" in state.reason
    house.assign("V1")
    await house.phase("working")
    house.assign("V5", model="ab" * 32)
    state = await house.phase("failed")
    assert state.reason.endswith("V1 keeps answering")
    assert state.variant == "V1"
    await house.ask(1)


async def test_an_assignment_that_cannot_be_read_is_said_and_changes_nothing(house: House) -> None:
    house.link.deliver(TOPICS.assignment(NAME), b'{"pack": "tiny"}', retain=True)
    state = await house.phase("failed")
    assert "the gateway's assignment cannot be read (Assignment variant" in state.reason
    assert state.counts.dropped == 1
    house.assign("V1")
    await house.phase("working")
    house.link.deliver(TOPICS.assignment(NAME), b"\xff", retain=True)
    state = await house.phase("failed")
    assert state.reason.endswith("V1 keeps answering")
    await house.ask(1)
    house.link.deliver(TOPICS.assignment(NAME), b"", retain=True)
    await house.phase("unassigned")


async def test_a_stuck_worker_does_not_outlive_its_assignment(pack: Pack, jpeg: bytes) -> None:
    patient = WORKER.model_copy(update={"answer_timeout_s": 3600})
    async with running(House(pack, jpeg, worker=patient)) as house:
        house.assign("V1")
        await house.phase("working")
        os.kill(house.worker_pid(), signal.SIGSTOP)
        house.send(1)
        await house.until(lambda: len(house.agent._slots) == 0)
        house.link.deliver(TOPICS.assignment(NAME), b"", retain=True)
        await house.phase("unassigned")
        await house.until(lambda: children() == [])
        await house.until(lambda: house.agent.state().counts.skipped == 1)


async def test_a_model_that_the_worker_refuses_keeps_the_old_one(house: House) -> None:
    house.assign("V1")
    await house.phase("working")
    house.assign("V9")
    state = await house.phase("failed")
    assert "V9 cannot be served" in state.reason
    assert (await house.ask(1)).model == house.pack.variant("V1").model_id
    os.kill(house.worker_pid(), signal.SIGKILL)  # the last good one also comes back
    await house.until(lambda: house.agent.state().variant is None)
    await house.ask(2)
    house.assign("V2")
    await house.phase("working")


async def test_a_refused_model_with_nothing_to_fall_back_to(house: House) -> None:
    house.assign("V9")
    state = await house.phase("failed")
    assert state.variant is None
    house.assign("V1")
    await house.phase("working")


async def test_bad_messages_are_counted_and_dropped(fixed: House) -> None:
    frame = encode_frame(FrameMessage(7, 1, 60000, fixed.jpeg))
    for topic, payload in [
        (TOPICS.frames("porch"), b""),
        (TOPICS.frames("porch"), frame[:11]),
        (TOPICS.frames("porch"), b"\x00" + frame[1:]),
        (TOPICS.assignment(NAME), b"\xff"),
        (TOPICS.assignment(NAME), b'{"pack": "tiny"}'),
        ("foreign/topic", b"x"),
    ]:
        fixed.link.deliver(topic, payload)
    fixed.link.deliver(TOPICS.frames("porch"), frame, retain=True)
    fixed.link.deliver(TOPICS.assignment("somebody-else"), b"\xff")
    await fixed.ask(2)
    counts = fixed.agent.state().counts
    assert (counts.dropped, counts.answered) == (7, 1)
    fixed.assign("V1")  # one that can be read
    assert fixed.agent.state().state == "working"


async def test_a_picture_that_cannot_be_decoded_is_dropped(fixed: House) -> None:
    fixed.send(1, jpeg=b"no picture")
    await fixed.until(lambda: fixed.agent.state().counts.dropped == 1)
    await fixed.ask(2)


async def test_foreign_load_pauses_it_and_it_says_why(fixed: House) -> None:
    fixed.machine.share = 0.9
    state = await fixed.phase("paused")
    assert state.reason == "other programs use 90% of the processor, more than 50%"
    await fixed.until(lambda: fixed.link.subscribed == set())  # frames cost the device time
    fixed.send(1)  # on its way already
    await fixed.until(lambda: fixed.agent.state().counts.skipped == 1)
    fixed.machine.share = 0.1
    await fixed.phase("working")
    await fixed.until(lambda: fixed.link.subscribed == {TOPICS.all_frames})
    await fixed.ask(2)
    assert fixed.agent.state().foreign_cpu == 0.1
    assert [answer.frame for answer in fixed.answers] == [2]


async def test_a_device_that_hides_its_load_runs_and_says_so(pack: Pack, jpeg: bytes) -> None:
    blind = House(pack, jpeg, variant="V1")
    blind.machine.share = None
    async with running(blind):
        state = await blind.phase("working")
        assert "cannot be read" in state.reason
        assert state.foreign_cpu is None


async def test_always_runs_under_load(pack: Pack, jpeg: bytes) -> None:
    dedicated = House(pack, jpeg, variant="V1", governor=GovernorSettings(always=True))
    dedicated.machine.share = 1.0
    async with running(dedicated):
        await dedicated.phase("working")
        await dedicated.ask(1)


async def test_a_killed_worker_comes_back(fixed: House) -> None:
    await fixed.ask(1)
    first = fixed.worker_pid()
    os.kill(first, signal.SIGKILL)
    await fixed.until(lambda: any("SIGKILL" in state.reason for state in fixed.states))
    await fixed.phase("working")
    assert fixed.worker_pid() != first
    await fixed.ask(2)


async def test_a_hung_worker_is_replaced_and_its_frame_skipped(pack: Pack, jpeg: bytes) -> None:
    impatient = WORKER.model_copy(update={"answer_timeout_s": 0.3})
    async with running(House(pack, jpeg, variant="V1", worker=impatient)) as house:
        await house.phase("working")
        os.kill(house.worker_pid(), signal.SIGSTOP)
        house.send(1)
        await house.until(lambda: house.agent.state().counts.skipped == 1)
        await house.ask(2)


async def test_only_the_newest_frame_waits_and_a_late_one_is_not_started(fixed: House) -> None:
    os.kill(fixed.worker_pid(), signal.SIGSTOP)
    fixed.send(1)
    await asyncio.sleep(0)
    await fixed.until(lambda: len(fixed.agent._slots) == 0)  # taken, and stuck in the worker
    fixed.send(2)
    fixed.send(3, deadline=1000)
    fixed.machine.ahead_s = 5.0
    os.kill(fixed.worker_pid(), signal.SIGCONT)
    await fixed.until(lambda: fixed.agent.state().counts.answered == 1)
    await fixed.ask(4)
    counts = fixed.agent.state().counts
    assert [answer.frame for answer in fixed.answers] == [1, 4]
    assert (counts.frames, counts.answered, counts.evicted, counts.skipped) == (4, 2, 1, 1)


async def test_a_burst_of_a_thousand_frames_loses_none_from_the_counts(fixed: House) -> None:
    for number in range(1000):
        fixed.send(number, camera=f"camera{number % 3}")
    await fixed.ask(1000)
    await fixed.until(lambda: len(fixed.agent._slots) == 0)
    counts = fixed.agent.state().counts
    assert counts.frames == 1001
    assert counts.frames == counts.answered + counts.evicted + counts.skipped + counts.dropped
    assert counts.evicted > 900


async def test_everything_is_announced_anew_after_a_loss(fixed: House) -> None:
    fixed.link.lose()
    fixed.send(1)
    await fixed.until(lambda: fixed.agent.state().counts.skipped == 1)
    fixed.link.published.clear()
    await fixed.link.connect()
    await fixed.phase("working")
    assert fixed.link.published[1] == (TOPICS.node_status(NAME), b"online", 1, True)
    await fixed.ask(2)


async def test_a_refused_login_ends_it_and_its_worker(pack: Pack, jpeg: bytes) -> None:
    house = House(pack, jpeg, variant="V1")
    house.link.refusal = AuthenticationError("mqtt://hub", "not authorised")
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(house.agent.run(), BOUND_S)
    assert caught.group_contains(AuthenticationError)
    assert children() == []


async def test_cancelled_while_loading_it_leaves_no_process(pack: Pack, jpeg: bytes) -> None:
    house = House(pack, jpeg, variant="V1")
    async with running(house):
        await house.until(lambda: len(children()) == 1)


async def test_on_a_rough_link_every_answer_is_to_a_frame_that_was_sent(
    pack: Pack, jpeg: bytes
) -> None:
    broker = MemoryBroker(random.Random(3), loss=0.3, delay_s=0.05)

    def open_rough(
        on_message: Callable[[Message], None], on_connect: Callable[[], Awaitable[None]]
    ) -> MemorySession:
        filters = [(TOPICS.assignment(NAME), 1), (TOPICS.node_set(NAME), 1)]
        return broker.session(
            client_id=NAME, on_message=on_message, on_connect=on_connect, subscriptions=filters
        )

    def sent(topic: str) -> list[bytes]:
        return [message.payload for message in broker.published if message.topic == topic]

    async def answered(count: int) -> None:
        """Send frames until so many are answered."""
        async with asyncio.timeout(BOUND_S):
            while len(sent(TOPICS.predictions(NAME))) < count:
                frame = FrameMessage(7, len(sent(TOPICS.frames("porch"))), 60000, jpeg)
                broker.publish(Message(TOPICS.frames("porch"), encode_frame(frame), False, 0))
                await asyncio.sleep(0.01)

    house = House(pack, jpeg)
    house.agent = NodeAgent(
        house.settings, pack, open_rough, device=house.device, rng=random.Random(1)
    )
    entry = pack.variant("V1")
    assignment = Assignment(pack="tiny", variant="V1", model=entry.sha256, cameras=["porch"])
    async with running(house):
        broker.publish(Message(TOPICS.assignment(NAME), dump(assignment), True, 1))
        await answered(20)
        broker.cut(NAME)
        broker.restore(NAME)
        await house.until(lambda: len(sent(TOPICS.node_status(NAME))) == 2)
        await answered(40)
        frames = len(sent(TOPICS.frames("porch")))
        numbers = [decode_prediction(body).frame for body in sent(TOPICS.predictions(NAME))]
        assert len(set(numbers)) == len(numbers)
        assert set(numbers) <= set(range(frames))
        counts = house.agent.state().counts
        assert counts.frames < frames
        assert (counts.dropped, counts.answered) == (0, len(numbers))


def test_an_unknown_variant_names_those_that_are_there(pack: Pack, jpeg: bytes) -> None:
    with pytest.raises(VariantNotFoundError, match="it offers V1, V2, V9"):
        House(pack, jpeg, variant="V7")


def command(house: House, retain: bool = False, **fields: object) -> None:
    payload = json.dumps(fields).encode()
    house.link.deliver(TOPICS.node_set(NAME), payload, retain=retain)


async def test_a_pause_from_home_assistant_holds_and_outlives_the_agent(
    pack: Pack, jpeg: bytes
) -> None:
    async with running(House(pack, jpeg, variant="V1")) as house:
        await house.phase("working")
        command(house, paused=True, for_s=3600)
        state = await house.phase("paused")
        assert (state.cause, state.paused_by_hand) == ("pause", True)
        assert state.reason.startswith("paused by hand until ")
        house.send(1)
        await house.until(lambda: house.agent.state().counts.skipped == 1)
        await house.until((house.settings.folder / "pause.json").exists)
    async with running(House(pack, jpeg, variant="V1")) as house:
        assert (await house.phase("paused")).paused_by_hand
        command(house, paused=False)
        state = await house.phase("working")
        assert (state.cause, state.paused_by_hand) == (None, False)
        await house.until(lambda: not (house.settings.folder / "pause.json").exists())


async def test_a_pause_from_the_command_line_is_noticed(fixed: House) -> None:
    keeper = PauseKeeper(fixed.settings.folder, PauseClock.of_this_device())
    keeper.set(None)
    keeper.save()
    assert (await fixed.phase("paused")).reason == "paused by hand until it is resumed"
    keeper.clear()
    keeper.save()
    await fixed.phase("working")


async def test_the_owners_pause_stands_above_always(pack: Pack, jpeg: bytes) -> None:
    dedicated = House(pack, jpeg, variant="V1", governor=GovernorSettings(always=True))
    async with running(dedicated):
        await dedicated.phase("working")
        command(dedicated, paused=True)
        await dedicated.phase("paused")


async def test_a_pause_that_the_disk_does_not_take_holds_all_the_same(
    pack: Pack, jpeg: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    async with running(House(pack, jpeg, variant="V1", state_dir=tmp_path / "file")) as house:
        await house.phase("working")
        command(house, paused=True)
        await house.phase("paused")
        await house.until(lambda: "holds until the next start" in caplog.text)


async def test_commands_that_are_none_are_dropped(fixed: House) -> None:
    command(fixed, retain=True, paused=True)
    command(fixed, paused="perhaps")
    fixed.link.deliver(TOPICS.node_set(NAME), b"\xff")
    fixed.link.deliver(TOPICS.node_set("somebody-else"), b'{"paused": true}')
    await fixed.ask(1)
    state = fixed.agent.state()
    assert (state.counts.dropped, state.paused_by_hand) == (3, False)


async def test_a_device_on_its_battery_rests_and_says_so(
    pack: Pack, jpeg: bytes, tmp_path: Path
) -> None:
    supply: dict[str, str | int] = {
        "type": "Battery",
        "status": "Discharging",
        "capacity": 64,
        "temp": 300,
    }
    plant(tmp_path / "sys" / "class" / "power_supply" / "BAT0", supply)
    plant(tmp_path / "proc", {"meminfo": "MemTotal: 2048000 kB\nMemAvailable: 1024000 kB"})
    async with running(House(pack, jpeg, variant="V1", root=tmp_path)) as house:
        state = await house.phase("paused")
        assert (state.cause, state.reason) == ("battery", "the device runs on its battery")
        assert (state.battery, state.battery_discharging) == (0.64, True)
        assert (state.temperature_c, state.memory_available_mib) == (30.0, 1000)


async def test_quiet_hours_follow_the_wall_clock(pack: Pack, jpeg: bytes) -> None:
    night = GOVERNOR.model_copy(
        update={"quiet_hours": ("22:00-07:00",), "timezone": "Europe/Berlin"}
    )
    house = House(pack, jpeg, variant="V1", governor=night)
    house.machine.wall = datetime(2025, 1, 6, 20, 59, tzinfo=UTC)  # 21:59 in Berlin
    async with running(house):
        await house.phase("working")
        house.machine.wall = datetime(2025, 1, 6, 21, 0, tzinfo=UTC)
        state = await house.phase("paused")
        assert (state.cause, state.reason) == ("quiet_hours", "quiet hours (22:00-07:00)")


async def test_a_wall_clock_that_jumps_changes_nothing_else(fixed: House) -> None:
    for hours in (5, -10, 24 * 400):
        fixed.machine.wall += timedelta(hours=hours)
        await fixed.ask(hours % 1000)
    state = fixed.agent.state()
    assert (state.state, state.counts.answered, state.counts.skipped) == ("working", 3, 0)
    assert state.up_s is not None
    assert state.up_s < BOUND_S


async def test_the_owners_account_is_part_of_the_state(fixed: House) -> None:
    await fixed.ask(1)
    fixed.machine.share = 0.9
    await fixed.phase("paused")
    owner = fixed.agent.state().owner
    assert owner is not None
    assert (owner.yields, owner.yield_ms_max) == (1, 0.0)  # no inference was in hand


def rival(up_s: float) -> bytes:
    return dump(NodeState(node=NAME, state="working", session="00000000", up_s=up_s, version="9"))


async def test_the_younger_of_two_of_one_name_ends_and_says_nothing(
    pack: Pack, jpeg: bytes
) -> None:
    house = House(pack, jpeg, variant="V1")
    task = asyncio.create_task(house.agent.run())
    await house.until(lambda: len(house.states) > 0)
    house.link.deliver(TOPICS.node_state(NAME), rival(1e6))
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(task, BOUND_S)
    assert caught.group_contains(NameTakenError, match="another node named kitchen is at work")
    assert house.link.left_quietly
    assert children() == []


async def test_the_elder_of_two_of_one_name_stays_and_answers(fixed: House) -> None:
    fixed.machine.ahead_s = 3600  # at work for an hour
    said = len(fixed.states)
    fixed.link.deliver(TOPICS.node_state(NAME), rival(60))
    await fixed.until(lambda: len(fixed.states) > said)
    await fixed.ask(1)


async def test_nothing_is_answered_before_the_name_is_its_own(pack: Pack, jpeg: bytes) -> None:
    house = House(pack, jpeg, variant="V1")
    house.link.echoes = False
    async with running(house):
        await house.until(lambda: house.agent.state().state == "working")
        house.link.deliver(TOPICS.node_status(NAME), b"online", retain=True)
        house.link.deliver(TOPICS.node_state(NAME), rival(60), retain=True)
        house.send(1)
        await house.until(lambda: house.agent.state().counts.skipped == 1)
        assert house.states == []
        await house.phase("working")  # nobody answered for the name
        await house.ask(2)


async def test_a_last_will_that_comes_late_is_corrected(fixed: House) -> None:
    fixed.link.published.clear()
    fixed.link.deliver(TOPICS.node_status(NAME), b"offline")
    online = (TOPICS.node_status(NAME), b"online", 1, True)
    await fixed.until(lambda: online in fixed.link.published)
    await fixed.ask(1)


async def test_whoever_asks_for_the_name_gets_the_state_at_once(fixed: House) -> None:
    said = len(fixed.states)
    command(fixed, announce=True)
    await fixed.until(lambda: len(fixed.states) > said)
