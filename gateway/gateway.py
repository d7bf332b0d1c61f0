"""The gateway: it moves frames, answers and results between cameras and the broker.

All that decides is elsewhere and pure (collector, roster, planner, discovery). Here is the event
loop: one task each for the session, for each camera, for retained messages, for model files, for
the cameras' health and for the plan, and a short-lived one for each result. One timer stands at the
earliest deadline.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from broker.codecs import FrameMessage, decode_prediction, encode_frame
from broker.errors import NotConnectedError, PayloadError, TopicError
from broker.payloads import OFFLINE, ONLINE, NodeState, Result, dump, parse
from broker.session import Message, Session
from broker.topics import Kind, Topics
from broker.topics import parse as parse_topic
from gateway.announcer import Announcer
from gateway.assigner import Assigner
from gateway.camera import Camera, Capture
from gateway.collector import Collector, Decision, Drop, Ticket, Voter
from gateway.control import Control
from gateway.deliveries import Deliveries
from gateway.health import Health
from gateway.images import Images
from gateway.link import Link, open_link
from gateway.outbox import Outbox
from gateway.results import build_result
from gateway.roster import Roster
from gateway.settings import GatewaySettings
from gateway.states import States
from gateway.tally import Tally
from models.pack import Pack

logger = logging.getLogger(__name__)

# How long the last results may take when a replay ends.
SETTLE_TIMEOUT_S = 5.0

_U32 = 1 << 32

_COMMANDS = (Kind.CAMERA_SET, Kind.GATEWAY_SET)


class Gateway:
    """One gateway from its start to its end; `run` does everything.

    Attributes:
        settings: all it was told.
        pack: the model pack in use.
        session: this run's number, u32: tells answers to it from answers to an earlier run.
        cameras: by id.
        roster: the nodes that announced themselves.
        collector: the frames that wait.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        pack: Pack,
        *,
        rng: random.Random,
        link: Callable[..., Link] = Session,
        retry: bool = True,
        state_file: Path | None = None,
        on_ready: Callable[[], None] = lambda: None,
        on_result: Callable[[Result], None] = lambda _: None,
    ) -> None:
        """Prepare everything; nothing is connected or opened yet.

        Args:
            settings: all it is told.
            pack: the model pack to use.
            rng: for the session's number and for jitter.
            link: makes the session with the broker; takes what `Session` takes.
            retry: whether a file or directory that cannot be read is tried again.
            state_file: where commands to the cameras outlive a restart; None for nowhere.
            on_ready: called once, when the broker is reached for the first time.
            on_result: called with each result, before it is published; must not block.
        """
        self.settings = settings
        self.pack = pack
        self.session = rng.getrandbits(32)
        self.roster = Roster()
        self.collector = Collector(
            session=self.session,
            voters={
                file.model_id: Voter(entry.name, entry.weight)
                for entry in pack.manifest.variants
                for file in entry.files
            },
            class_count=len(pack.labels),
            rule=pack.manifest.rule,
        )
        self.cameras = {
            name: Camera(
                name,
                camera,
                side=pack.largest_resolution,
                rng=rng,
                retry=retry,
                on_change=self._on_camera_change,
            )
            for name, camera in settings.cameras.items()
        }
        self._model_ids = {
            file.sha256: file.model_id for entry in pack.manifest.variants for file in entry.files
        }
        self._deliveries = Deliveries(self.cameras.values(), self._count)
        self._tally = Tally()
        self._topics = Topics(settings.gateway, settings.prefix)
        self._announcer = Announcer(settings, self._topics, pack)
        self._control = Control(
            settings.cameras,
            self.cameras,
            self._topics,
            self._announcer,
            state_file=state_file,
            complain=self._complain,
        )
        self._assigner = Assigner(settings, self._topics, pack, self.roster, self._announcer)
        self._health = Health(self.cameras, self._topics, self._announcer)
        self._link = open_link(
            link,
            settings,
            self._topics,
            more=[*self._announcer.subscriptions, *self._deliveries.subscriptions],
            on_message=self._on_message,
            on_connect=self._on_connect,
        )
        self._outbox = Outbox(
            self._link, self._announcer, spawn=self._spawn, complain=self._complain
        )
        self._images = Images(settings.cameras, self._topics, self._outbox.image)
        self._states = States(
            settings, self._topics, self.session, self._announcer, self._outbox.event
        )
        self._handlers: dict[Kind, Callable[[str, bytes], None]] = {
            Kind.PREDICTION: self._on_prediction,
            Kind.NODE_STATUS: self._on_node_status,
            Kind.NODE_STATE: self._on_node_state,
            Kind.MODEL_PART: self._announcer.shelf.receive,
            Kind.CAMERA_STATE: self._states.recall,
            Kind.CAMERA_SET: self._control.receive,
            Kind.GATEWAY_SET: self._announcer.receive,
        }
        self._on_ready = on_ready
        self._on_result = on_result
        self._frame = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s: float | None = None
        self._group = asyncio.TaskGroup()
        self._ready = asyncio.Event()
        self._roster_changed = asyncio.Event()
        self._frame_ended = asyncio.Event()
        self._on_camera_change()

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened so far, by kind: frames, results and everything that was dropped."""
        return self._tally.counts

    async def run(self, *, exit_when_done: bool = False, wait_for_nodes: int = 0) -> None:
        """Serve until cancelled, or until every camera has ended.

        Args:
            exit_when_done: end when every camera has ended and its last frame is decided.
            wait_for_nodes: open the cameras only when that many nodes work.

        Raises:
            ExceptionGroup: of AuthenticationError when the broker refuses the login, of
                BrokerSettingsError when its settings cannot be used.
        """
        try:
            async with self._group:
                lasting = [
                    self._spawn(self._link.run(), "session"),
                    self._spawn(self._announcer.run(self._link), "announcements"),
                    self._spawn(self._announcer.shelf.run(self._link), "models"),
                    self._spawn(self._health.run(), "cameras' health"),
                    self._spawn(self._assigner.run(), "plan"),
                ]
                await self._ready.wait()
                self._on_ready()
                await self._wait_for_nodes(wait_for_nodes)
                async with asyncio.TaskGroup() as cameras:
                    for camera in self.cameras.values():
                        cameras.create_task(self._watch(camera), name=f"camera {camera.name}")
                if exit_when_done:
                    await self._settle()
                    for task in lasting:
                        task.cancel()
        finally:
            self._states.close()
            if self._timer is not None:
                self._timer.cancel()

    # Frames out

    async def _watch(self, camera: Camera) -> None:
        async for capture in camera.captures():
            await self._publish_frame(camera, capture)
        if not camera.failed:
            logger.info("camera %s has ended after %d pictures", camera.name, camera.counts.taken)

    async def _publish_frame(self, camera: Camera, capture: Capture) -> None:
        if not self._link.connected:
            self._count("frames.unpublished")
            return
        effective = self._control.of(camera.name)
        if not effective.enabled:  # taken before it was switched off
            self._count("frames.switched_off")
            return
        self._frame = (self._frame + 1) % _U32
        ticket = Ticket(
            frame=self._frame,
            camera=camera.name,
            captured_at=capture.captured_at,
            deadline_ms=effective.deadline_ms,
            min_confidence=effective.min_confidence,
            decide_early=camera.settings.decide_early,
            region=capture.region,
            quorum=camera.settings.quorum,
            age_s=max(0.0, self._now_s() - capture.captured_s),
        )
        # One that still runs another pack's model has no answer to this gateway's question.
        expected = {
            node: None if sha256 is None else self._model_ids[sha256]
            for node, sha256 in self.roster.models.items()
            if sha256 is None or sha256 in self._model_ids
        }
        frame = FrameMessage(self.session, ticket.frame, ticket.deadline_ms, capture.jpeg)
        self._images.keep(camera.name, ticket.frame, capture.jpeg)
        # It waits from now on: a node may answer before publish returns.
        self._decide_all(self.collector.open(ticket, expected, self._now_s()))
        try:
            await self._link.publish(self._topics.frames(camera.name), encode_frame(frame))
        except NotConnectedError as exc:
            self.collector.abandon(ticket.frame)
            self._frame_ended.set()
            self._complain("frames.unpublished", exc)
        else:
            self._count("frames.published")
            self._assigner.expect(expected)

    # Answers in

    def _on_message(self, message: Message) -> None:
        if self._announcer.hear(message) or self._deliveries.hear(message):
            return
        try:
            topic = parse_topic(self._topics, message.topic)
        except TopicError as exc:
            self._complain("dropped.topic", exc)
            return
        handler = self._handlers.get(topic.kind)
        if handler is None:
            self._count("dropped.topic")
            return
        if message.retain and topic.kind in _COMMANDS:  # of unknown age: nobody asks for it now
            self._count(f"dropped.{topic.kind}.retained")
            return
        try:
            handler(topic.id, message.payload)
        except PayloadError as exc:
            self._complain(f"dropped.{topic.kind}.malformed", f"{topic.id}: {exc}")

    def _on_prediction(self, node: str, payload: bytes) -> None:
        message = decode_prediction(payload)
        if node not in self.roster:
            outcome: Decision | Drop | None = Drop.UNKNOWN_NODE
            self.collector.drops[Drop.UNKNOWN_NODE] += 1
        else:
            outcome = self.collector.receive(node, message, self._now_s())
        if outcome in (None, Drop.AFTER_DECISION, Drop.LATE) or isinstance(outcome, Decision):
            self._assigner.answered(node)
        match outcome:
            case Decision():
                self._decide_all([outcome])
            case Drop.AFTER_DECISION:  # a good answer, and no fault of the node's
                self._count("predictions.after_decision")
            case Drop():
                self._complain(f"dropped.{Kind.PREDICTION}.{outcome}", f"from {node}")

    def _on_node_status(self, node: str, payload: bytes) -> None:
        if payload not in (ONLINE.encode(), OFFLINE.encode(), b""):
            raise PayloadError(f"a status is {ONLINE} or {OFFLINE}")
        online = payload == ONLINE.encode()
        if not payload:
            self.roster.remove(node)
            self._announcer.forget_node(node)
        elif not self.roster.set_online(node, online):
            self._complain("dropped.node_status.too_many_nodes", f"no room for {node}")
            return
        logger.info("node %s is %s", node, payload.decode() or "removed")
        if not online:
            self._decide_all(self.collector.forget(node, self._now_s()))
        self._on_roster_change(node)

    def _on_node_state(self, node: str, payload: bytes) -> None:
        if not payload:
            self.roster.forget_state(node)
        else:
            state = parse(NodeState, payload)
            if state.node != node:
                raise PayloadError(f"it speaks of node {state.node}")
            if not self.roster.set_state(state):
                self._complain("dropped.node_state.too_many_nodes", f"no room for {node}")
                return
            self._announcer.want_again(state)
        self._on_roster_change(node)

    # Decisions

    def _decide_all(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            self._decide(decision)
        self._set_timer()

    def _decide(self, decision: Decision) -> None:
        result = build_result(decision, self.pack.labels, pack=self.pack.name)
        self._count(f"results.{result.status}")
        self._outbox.result(self._topics.result(result.camera), dump(result))
        self._images.decided(result.camera, result.frame, self._now_s())
        self._frame_ended.set()
        self._on_result(result)
        self._states.receive(result)

    def _set_timer(self) -> None:
        """Let the one timer stand at the earliest deadline."""
        deadline_s = self.collector.next_deadline_s()
        if deadline_s == self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = deadline_s
        self._timer = (
            None
            if deadline_s is None
            else asyncio.get_running_loop().call_at(deadline_s, self._on_deadline)
        )

    def _on_deadline(self) -> None:
        # The loop may call a clock tick early; what is not due yet gets its timer again.
        self._timer = self._timer_s = None
        self._decide_all(self.collector.expire(self._now_s()))

    # What stands on the broker

    async def _on_connect(self) -> None:
        # The broker tells anew who is there; what it forgot in a restart is not there.
        for member in self.roster:
            member.online = False
        await self._link.publish(self._topics.status, ONLINE, qos=1, retain=True)
        self._announcer.want_nodes(self.roster)
        self._announcer.connected()
        self._ready.set()

    def _on_camera_change(self) -> None:
        self._health.look(time.monotonic())

    def _on_roster_change(self, node: str) -> None:
        self._assigner.look(node)
        self._announcer.want_nodes(self.roster)
        self._roster_changed.set()

    # Small things

    async def _wait_for_nodes(self, count: int) -> None:
        if len(self.roster.working) < count:
            logger.info("waiting for %d nodes that work", count)
        while len(self.roster.working) < count:
            self._roster_changed.clear()
            await self._roster_changed.wait()

    async def _settle(self) -> None:
        """Wait for the frames that wait, each of which has a deadline, and for their results."""
        while self.collector.in_flight:
            self._frame_ended.clear()
            await self._frame_ended.wait()
        await self._outbox.settle(SETTLE_TIMEOUT_S)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()  # monotonic

    def _count(self, kind: str) -> None:
        self._tally.add(kind, self._now_s())

    def _complain(self, kind: str, why: object) -> None:
        if self._tally.add(kind, self._now_s()):
            logger.warning("%s: %s (said once a minute)", kind, why)
