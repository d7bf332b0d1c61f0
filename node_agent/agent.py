"""The node agent: frames in, answers out, and in between the question whether it may.

Four tasks beside the MQTT session: one keeps the worker, one takes frames to it, one reads the
device, one publishes what the node has to say about itself.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from typing import Protocol

from broker.codecs import PredictionMessage, decode_frame, encode_prediction
from broker.errors import NotConnectedError, PayloadError, TopicError
from broker.payloads import ONLINE, Assignment, NodeState, dump
from broker.payloads import parse as parse_payload
from broker.session import Message
from broker.topics import Kind, Topics
from broker.topics import parse as parse_topic
from models.pack import Pack
from node_agent.errors import BadFrameError, WorkerError
from node_agent.foreign_cpu import CpuSample, ForeignCpuMeter, system_reader
from node_agent.governor import Decision, Governor, Readings
from node_agent.inference_times import InferenceTimes
from node_agent.model_keeper import Choice, ModelKeeper
from node_agent.settings import NodeSettings
from node_agent.slot import FrameSlots, WaitingFrame
from node_agent.state import Announcements, FrameCounts, describe
from node_agent.worker_protocol import WorkerAnswer

logger = logging.getLogger(__name__)

SAMPLE_INTERVAL_S = 0.25
_U32_MAX = 0xFFFF_FFFF


class Link(Protocol):
    """What the agent needs of an MQTT session."""

    async def run(self) -> None:
        """Hold the link until cancelled."""

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish, or raise NotConnectedError."""

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe now and after every reconnect."""

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe now and for ever."""


OpenLink = Callable[[Callable[[Message], None], Callable[[], Awaitable[None]]], Link]


@dataclass(frozen=True, slots=True)
class Device:
    """Where the agent reads the time and the processor from; tests bring their own."""

    clock_s: Callable[[], float] = time.monotonic
    read_cpu: Callable[[Iterable[int]], CpuSample | None] | None = None


class NodeAgent:
    """One node's life: `run` it."""

    def __init__(
        self,
        settings: NodeSettings,
        pack: Pack,
        open_link: OpenLink,
        *,
        device: Device | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare; nothing starts yet.

        Args:
            settings: what the owner decided.
            pack: where variants are looked up.
            open_link: makes the session from what to call for a message and after a connect.
            device: clock and processor readings; None is this device.
            rng: for the jitter of hold-offs and restarts.

        Raises:
            VariantNotFoundError: the pack lacks the variant that the settings name.
        """
        rng = rng or random.Random()
        device = device or Device()
        self._settings = settings
        self._pack = pack
        self._topics = Topics(settings.gateway, settings.prefix)
        self._clock_s = device.clock_s
        self._governor = Governor(settings.governor.limits, rng, always=settings.governor.always)
        self._meter = ForeignCpuMeter(
            device.read_cpu or system_reader(),
            fast_window_s=settings.governor.fast_window_s,
            slow_window_s=settings.governor.slow_window_s,
        )
        self._readings = Readings()
        self._decision = Decision(False, "starting")
        self._slots = FrameSlots()
        self._counts = FrameCounts(lambda: self._slots.evicted)
        self._times = InferenceTimes()
        self._announcements = Announcements()
        self._assignment_problem: str | None = None
        self._cameras: frozenset[str] = frozenset()  # empty: all
        self._frames_wanted = False
        self._subscribed: set[str] = set()
        self._version = _version()
        self._frame_waits = asyncio.Event()
        self._state_news = asyncio.Event()
        self._filters_changed = asyncio.Event()
        self._keeper = ModelKeeper(settings.worker, rng, self._model_changed)
        self._timed: Choice | None = None
        self._link = open_link(self.receive, self._greet)
        if settings.variant is not None:
            self._serve(Choice(pack, pack.variant(settings.variant)))

    async def run(self) -> None:
        """Work until cancelled, or until the broker refuses the first login."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample(), name="sampler")
            group.create_task(self._keeper.run(), name="worker keeper")
            group.create_task(self._link.run(), name="session")
            group.create_task(self._subscribe(), name="subscriptions")
            group.create_task(self._answer_frames(), name="runner")
            group.create_task(self._publish_state(), name="state")

    def receive(self, message: Message) -> None:
        """Take one message; a bad one is counted and dropped."""
        try:
            parsed = parse_topic(self._topics, message.topic)
            if parsed.kind is Kind.FRAME:
                self._receive_frame(parsed.id, message)
            elif parsed.kind is Kind.ASSIGNMENT and parsed.id == self._settings.name:
                self._receive_assignment(message.payload)
        except (TopicError, PayloadError) as exc:
            self._counts.dropped += 1
            logger.debug("a message on %s is dropped: %s", message.topic, exc)

    def state(self) -> NodeState:
        """Return what the node says about itself now."""
        phase, reason = describe(self._keeper.situation, self._decision, self._assignment_problem)
        serving = self._keeper.serving
        cpu = self._readings.foreign_cpu
        return NodeState(
            node=self._settings.name,
            state=phase,
            reason=reason,
            pack=self._pack.name,
            variant=serving.entry.name if serving else None,
            model=serving.file.sha256 if serving else None,
            inference_ms_p50=self._times.percentile(0.50),
            inference_ms_p95=self._times.percentile(0.95),
            foreign_cpu=_rounded(cpu.slow_share if cpu else None),
            fixed_variant=self._settings.variant is not None,
            variants=[variant.name for variant in self._pack.manifest.variants],
            counts=self._counts.payload(),
            version=self._version,
        )

    def _receive_frame(self, camera: str, message: Message) -> None:
        if not self._frames_wanted or (self._cameras and camera not in self._cameras):
            return  # sent before an unsubscribe arrived
        self._counts.frames += 1
        if message.retain:
            raise PayloadError("a retained frame is of unknown age")
        frame = decode_frame(message.payload)
        self._slots.put(WaitingFrame(camera, frame, self._clock_s()))
        self._frame_waits.set()

    def _receive_assignment(self, payload: bytes) -> None:
        """Take what the gateway wants; an empty payload takes the assignment back.

        One that cannot be read changes nothing but what the node says about itself.
        """
        try:
            assignment = parse_payload(Assignment, payload) if payload else None
        except PayloadError as exc:
            self._counts.dropped += 1
            self._assignment_problem = f"the gateway's assignment cannot be read ({exc.reason})"
            self._state_news.set()
            logger.error("%s", self._assignment_problem)
            return
        self._assignment_problem = None
        self._cameras = frozenset(assignment.cameras if assignment else ())
        self._filters_changed.set()
        self._state_news.set()
        if self._settings.variant is None:  # else the owner chose
            self._obey(assignment)

    def _obey(self, assignment: Assignment | None) -> None:
        if assignment is None:
            self._serve(None)
            return
        for entry in self._pack.manifest.variants:
            for file in entry.files:
                if file.sha256 == assignment.model:
                    logger.info("assigned variant %s of pack %s", entry.name, self._pack.name)
                    self._serve(Choice(self._pack, entry, file.precision))
                    return
        self._assignment_problem = (
            f"assigned variant {assignment.variant} of pack {assignment.pack} "
            f"(model {assignment.model[:12]}…) is not in the pack {self._pack.name} of this node"
        )
        logger.error("%s", self._assignment_problem)

    def _serve(self, choice: Choice | None) -> None:
        self._keeper.want(choice)
        self._frames_wanted = choice is not None
        self._filters_changed.set()

    def _model_changed(self) -> None:
        self._state_news.set()
        self._frame_waits.set()
        serving = self._keeper.serving
        if serving is not None and not serving.same_model(self._timed):
            self._timed = serving
            self._times.clear()

    async def _greet(self) -> None:
        """Announce the node after each connect."""
        await self._link.publish(
            self._topics.node_status(self._settings.name), ONLINE, qos=1, retain=True
        )
        self._announcements.forget()
        self._state_news.set()

    async def _subscribe(self) -> None:
        """Keep the frame subscriptions those of the assigned cameras."""
        while True:
            await self._filters_changed.wait()
            self._filters_changed.clear()
            wanted: set[str] = set()
            if self._frames_wanted:
                wanted = {self._topics.frames(camera) for camera in self._cameras}
                wanted = wanted or {self._topics.all_frames}
            # First fewer, then more: overlapping filters would bring a frame twice.
            for topic_filter in sorted(self._subscribed - wanted):
                await self._link.unsubscribe(topic_filter)
            for topic_filter in sorted(wanted - self._subscribed):
                await self._link.subscribe(topic_filter, 0)
            self._subscribed = wanted

    async def _answer_frames(self) -> None:
        while True:
            await self._frame_waits.wait()
            self._frame_waits.clear()
            # While no worker serves, the newest frame of each camera waits for one.
            while self._keeper.serving is not None and (frame := self._slots.take()) is not None:
                await self._answer(frame)

    async def _answer(self, frame: WaitingFrame) -> None:
        """Answer one frame, or count why not."""
        if not self._decide().allowed or frame.is_late(self._clock_s()):
            self._counts.skipped += 1
            return
        try:
            answer, choice = await self._keeper.classify(frame.message.jpeg)
            prediction = encode_prediction(_prediction(frame, answer, choice))
            await self._link.publish(self._topics.predictions(self._settings.name), prediction)
        except (BadFrameError, PayloadError) as exc:
            self._counts.dropped += 1
            logger.debug("a frame of %s gets no answer: %s", frame.camera, exc)
        except (WorkerError, NotConnectedError) as exc:
            self._counts.skipped += 1
            logger.debug("a frame of %s is lost: %s", frame.camera, exc)
        else:
            self._counts.answered += 1
            self._times.add((answer.decode_us + answer.inference_us) / 1000)

    def _decide(self) -> Decision:
        """Read the device and decide; cheap enough to stand before every inference."""
        now_s = self._clock_s()
        self._readings = Readings(self._meter.measure(self._keeper.worker_pids, now_s))
        decision = self._governor.decide(self._readings, now_s)
        if decision.allowed != self._decision.allowed:
            self._state_news.set()
            logger.info("%s: %s", "free" if decision.allowed else "pausing", decision.reason)
        self._decision = decision
        return decision

    async def _sample(self) -> None:
        while True:
            self._decide()
            await asyncio.sleep(SAMPLE_INTERVAL_S)

    async def _publish_state(self) -> None:
        topic = self._topics.node_state(self._settings.name)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_INTERVAL_S):
                    await self._state_news.wait()
            self._state_news.clear()
            state, now_s = self.state(), self._clock_s()
            if self._announcements.is_due(state, now_s):
                # Without a link: after the next connect everything is announced anew.
                with suppress(NotConnectedError):
                    await self._link.publish(topic, dump(state), qos=1, retain=True)
                    self._announcements.published(state, now_s)


def _prediction(frame: WaitingFrame, answer: WorkerAnswer, choice: Choice) -> PredictionMessage:
    """Return the message that answers a frame: the time is that from JPEG to scores."""
    return PredictionMessage(
        session=frame.message.session,
        frame=frame.message.frame,
        model=choice.file.model_id,
        inference_us=min(answer.decode_us + answer.inference_us, _U32_MAX),
        class_count=answer.class_count,
        indices=answer.indices,
        values=answer.values,
    )


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 2)


def _version() -> str:
    try:
        return distribution_version("idlesight")
    except PackageNotFoundError:
        return "0"  # run from a checkout that was not installed
