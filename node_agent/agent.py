"""The node agent: frames in, answers out, and in between the question whether it may.

Beside the MQTT session one task keeps the worker, one finds its model, one takes frames to it, two
read the device, one sees that no other node has this one's name, one publishes what the node has to
say about itself.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version

from broker.codecs import PredictionMessage, decode_frame, encode_prediction
from broker.errors import NotConnectedError, PayloadError, TopicError
from broker.payloads import Assignment, NodeCommand, NodeState, dump
from broker.payloads import parse as parse_payload
from broker.session import Message
from broker.topics import Kind, Topics
from broker.topics import parse as parse_topic
from models.pack import Pack
from node_agent.errors import BadFrameError, PauseError, WorkerError
from node_agent.governor import Decision, Governor
from node_agent.inference_times import InferenceTimes
from node_agent.link import OpenLink
from node_agent.model_chooser import ModelChooser
from node_agent.model_keeper import Choice, ModelKeeper
from node_agent.name_holder import NameHolder
from node_agent.owner_report import OwnerLedger
from node_agent.pause import PauseClock, PauseKeeper
from node_agent.readings import Readings
from node_agent.sensors import REFRESH_S, Device, Sensors
from node_agent.settings import NodeSettings
from node_agent.slot import FrameSlots, WaitingFrame
from node_agent.state import Announcements, FrameCounts, describe, hottest, rounded
from node_agent.worker_protocol import WorkerAnswer

logger = logging.getLogger(__name__)

SAMPLE_INTERVAL_S = 0.25
# A look at the device costs it about 0.4 ms (measured): while it is needed there is no hurry, but
# for a while after a change, when the reason of it may pass.
RESTING_INTERVAL_S = 1.0
RESTING_AFTER_S = 5.0
STATE_INTERVAL_S = 1.0
_U32_MAX = 0xFFFF_FFFF


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
        session: str | None = None,
    ) -> None:
        """Prepare; nothing starts yet.

        Args:
            settings: what the owner decided.
            pack: where variants are looked up.
            open_link: makes the session from what to call for a message and after a connect. It
                subscribes to `nodes/<node>/` assignment, set, status and state.
            device: clock and readings; None is this device.
            rng: for the jitter of hold-offs and restarts.
            session: this process's token, 8 hexadecimal digits; None draws one.

        Raises:
            VariantNotFoundError: the pack lacks the variant that the settings name.
        """
        rng = rng or random.Random()
        device = device or Device()
        self._settings = settings
        self._pack = pack
        self._topics = Topics(settings.gateway, settings.prefix)
        self._clock_s = device.clock_s
        self._limits = settings.governor.limits
        self._governor = Governor(self._limits, rng, always=settings.governor.always)
        self._pause = PauseKeeper(settings.folder, PauseClock.of_this_device(device.root))
        self._sensors = Sensors(device, settings.governor, self._pause)
        self._readings = Readings()
        self._decision = Decision(False, "starting")
        self._session = session or f"{rng.getrandbits(32):08x}"
        self._ledger = OwnerLedger()
        self._slots = FrameSlots()
        self._counts = FrameCounts(lambda: self._slots.evicted)
        self._times = InferenceTimes()
        self._announcements = Announcements()
        self._assignment_problem: str | None = None
        self._cameras: frozenset[str] = frozenset()  # empty: all
        self._in_hand = False
        self._subscribed: set[str] = set()
        self._version = _version()
        self._frame_waits = asyncio.Event()
        self._state_news = asyncio.Event()
        self._filters_changed = asyncio.Event()
        self._pause_changed = asyncio.Event()
        self._keeper = ModelKeeper(settings.worker, rng, self._model_changed)
        self._timed: Choice | None = None
        self._models = ModelChooser(
            settings, pack, self._topics, self._keeper, rng, self._choice_changed
        )
        self._name = NameHolder(
            self._topics, settings.name, self._session, self._clock_s, self._announce
        )
        self._link = open_link(self.receive, self._greet)
        self._receivers: dict[Kind, Callable[[Message], None]] = {
            Kind.ASSIGNMENT: self._receive_assignment,
            Kind.NODE_SET: self._receive_command,
            Kind.NODE_STATUS: self._name.receive_status,
            Kind.NODE_STATE: self._name.receive_state,
        }

    async def run(self) -> None:
        """Work until cancelled, until the broker refuses the first login or the name is taken."""
        await self._sensors.refresh()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample(), name="sampler")
            group.create_task(self._refresh(), name="slow sensors")
            group.create_task(self._keeper.run(), name="worker keeper")
            group.create_task(self._models.finder.run(self._link), name="model finder")
            group.create_task(self._link.run(), name="session")
            group.create_task(self._name.run(self._link), name="name")
            group.create_task(self._subscribe(), name="subscriptions")
            group.create_task(self._answer_frames(), name="runner")
            group.create_task(self._keep_pause(), name="pause")
            group.create_task(self._publish_state(), name="state")

    def receive(self, message: Message) -> None:
        """Take one message; a bad one is counted and dropped."""
        try:
            parsed = parse_topic(self._topics, message.topic)
            if parsed.kind is Kind.FRAME:
                self._receive_frame(parsed.id, message)
            elif parsed.kind is Kind.MODEL_PART:
                self._models.finder.receive(parsed, message)
            elif parsed.kind in self._receivers and parsed.id == self._settings.name:
                self._receivers[parsed.kind](message)
        except (TopicError, PayloadError) as exc:
            self._counts.dropped += 1
            logger.debug("a message on %s is dropped: %s", message.topic, exc)

    def state(self) -> NodeState:
        """Return what the node says about itself now."""
        phase, reason = describe(
            self._keeper.situation,
            self._decision,
            self._assignment_problem or self._models.finder.problem,
            self._models.finder.progress,
        )
        serving, readings = self._keeper.serving, self._readings
        cpu, battery, memory = readings.foreign_cpu, readings.battery, readings.memory_available_mib
        return NodeState(
            node=self._settings.name,
            state=phase,
            session=self._session,
            up_s=round(self._name.up_s, 1),
            reason=reason,
            cause=self._decision.cause if phase == "paused" else None,
            paused_by_hand=readings.pause is not None,
            pack=serving.pack.name if serving else self._pack.name,
            variant=serving.entry.name if serving else None,
            model=serving.file.sha256 if serving else None,
            inference_ms_p50=self._times.percentile(0.50),
            inference_ms_p95=self._times.percentile(0.95),
            foreign_cpu=rounded(cpu.slow_share if cpu else None),
            foreign_cpu_core=rounded(cpu.core_slow_share if cpu else None),
            memory_available_mib=None if memory is None else round(memory),
            temperature_c=hottest(readings, self._limits),
            battery=rounded(battery.level if battery else None),
            battery_discharging=battery.discharging if battery else None,
            fixed_variant=self._settings.variant is not None,
            variants=[variant.name for variant in self._pack.manifest.variants],
            fetches=self._settings.models.fetch,
            lacks=self._models.finder.lacks,
            counts=self._counts.payload(),
            owner=self._ledger.report(),
            version=self._version,
        )

    def _receive_frame(self, camera: str, message: Message) -> None:
        if self._models.chosen is None or (self._cameras and camera not in self._cameras):
            return  # sent before an unsubscribe arrived
        self._counts.frames += 1
        if message.retain:
            raise PayloadError("a retained frame is of unknown age")
        frame = decode_frame(message.payload)
        self._slots.put(WaitingFrame(camera, frame, self._clock_s()))
        self._frame_waits.set()

    def _receive_assignment(self, message: Message) -> None:
        """Take what the gateway wants; an empty payload takes the assignment back.

        One that cannot be read changes nothing but what the node says about itself.
        """
        payload = message.payload
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
        self._choice_changed()
        self._models.obey(assignment)

    def _choice_changed(self) -> None:
        self._filters_changed.set()
        self._state_news.set()

    def _announce(self) -> None:
        """Publish the state soon, also one that is not new."""
        self._announcements.forget()
        self._state_news.set()

    def _model_changed(self) -> None:
        self._state_news.set()
        self._frame_waits.set()
        self._models.replace_lost_file()
        serving = self._keeper.serving
        if serving is not None and not serving.same_model(self._timed):
            self._timed = serving
            self._times.clear()

    def _receive_command(self, message: Message) -> None:
        """Do what a user asks; `announce` also comes from whoever wants to have this name."""
        if message.retain:
            raise PayloadError("a retained command is of unknown age")
        command = parse_payload(NodeCommand, message.payload)
        if command.announce:
            self._name.hear_question()
        if command.paused is None:
            return
        if command.paused:
            self._pause.set(command.for_s)
        else:
            self._pause.clear()
        logger.info("paused by hand" if command.paused else "resumed by hand")
        self._pause_changed.set()
        self._decide()

    async def _greet(self) -> None:
        """Ask for the name after each connect; what is announced follows."""
        self._name.ask()

    async def _subscribe(self) -> None:
        """Keep the frame subscriptions those of the assigned cameras, and none while it pauses.

        To receive a frame costs a millisecond, also one that is not looked at.
        """
        while True:
            await self._filters_changed.wait()
            self._filters_changed.clear()
            wanted: set[str] = set()
            if self._models.chosen is not None and self._decision.allowed:
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
        allowed = self._decide().allowed and self._name.granted
        if not allowed or frame.is_late(self._clock_s()):
            self._counts.skipped += 1
            return
        try:
            answer, choice = await self._classify(frame)
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

    async def _classify(self, frame: WaitingFrame) -> tuple[WorkerAnswer, Choice]:
        self._in_hand = True
        try:
            answer, choice = await self._keeper.classify(frame.message.jpeg)
        finally:
            self._in_hand = False
            self._ledger.ended(self._clock_s())
        wall_us = answer.decode_us + answer.inference_us
        self._sensors.waits.add(wall_us / 1000, answer.cpu_us / 1000, self._clock_s())
        return answer, choice

    def _decide(self) -> Decision:
        """Read the device and decide; cheap enough to stand before every inference."""
        now_s = self._clock_s()
        resting = not self._decision.allowed and not self._in_hand
        self._readings = self._sensors.read(self._keeper.worker_pids, now_s, resting=resting)
        self._ledger.add(self._sensors.cpu_sample)
        decision = self._governor.decide(self._readings, now_s)
        if decision.allowed != self._decision.allowed:
            if not decision.allowed:
                self._ledger.stopped(decision.cause, now_s, in_hand=self._in_hand)
            self._filters_changed.set()
            self._state_news.set()
            logger.info("%s: %s", "free" if decision.allowed else "pausing", decision.reason)
        self._decision = decision
        return decision

    async def _sample(self) -> None:
        changed_s, allowed = self._clock_s(), False
        while True:
            self._decide()
            if self._decision.allowed != allowed:
                changed_s, allowed = self._clock_s(), self._decision.allowed
            resting = not allowed and self._clock_s() - changed_s > RESTING_AFTER_S
            await asyncio.sleep(RESTING_INTERVAL_S if resting else SAMPLE_INTERVAL_S)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._sensors.refresh()

    async def _keep_pause(self) -> None:
        """Bring a pause that came over the link to the disk, which may be slow or full."""
        while True:
            await self._pause_changed.wait()
            self._pause_changed.clear()
            try:
                await asyncio.to_thread(self._pause.save)
            except PauseError as exc:
                logger.warning("%s; it holds until the next start", exc)

    async def _publish_state(self) -> None:
        topic = self._topics.node_state(self._settings.name)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(STATE_INTERVAL_S):
                    await self._state_news.wait()
            self._state_news.clear()
            state, now_s = self.state(), self._clock_s()
            if self._name.granted and self._announcements.is_due(state, now_s):
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


def _version() -> str:
    try:
        return distribution_version("idlesight")
    except PackageNotFoundError:
        return "0"  # run from a checkout that was not installed
