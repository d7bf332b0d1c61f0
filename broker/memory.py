"""An in-memory broker and a stand-in for `Session`: it can lose, delay and reorder.

For tests of everything that holds a session. No sockets, no threads; what is lost and how late
the rest comes is drawn from a seeded generator, so a failure repeats.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from paho.mqtt.client import topic_matches_sub

from broker.connection import Version
from broker.errors import NotConnectedError
from broker.message import Message, Will

logger = logging.getLogger(__name__)


class MemoryBroker:
    """Holds retained messages and hands every message to the sessions that subscribed.

    Attributes:
        loss: share of QoS 0 deliveries that vanish, 0 to 1.
        delay_s: a delivery of QoS 0 comes after a time drawn from 0 to this, so it may overtake
            another; QoS 1 is neither lost, late nor overtaken.
        published: every message in order, lost or not.
        retained: the retained messages by topic.
    """

    def __init__(
        self, rng: random.Random | None = None, *, loss: float = 0.0, delay_s: float = 0.0
    ) -> None:
        self.loss = loss
        self.delay_s = delay_s
        self.published: list[Message] = []
        self.retained: dict[str, Message] = {}
        self._rng = rng or random.Random(0)
        self._sessions: dict[str, MemorySession] = {}

    def session(
        self,
        *,
        client_id: str,
        will: Will | None = None,
        on_message: Callable[[Message], None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
        subscriptions: Sequence[tuple[str, int]] = (),
        farewell: Sequence[Will] = (),
    ) -> "MemorySession":
        """Return a session on this broker; arguments as `Session` has them."""
        made = MemorySession(self, on_message, on_connect, dict(subscriptions), will, farewell)
        self._sessions[client_id] = made
        return made

    def publish(self, message: Message) -> None:
        """Take a message as from any client, and deliver it."""
        self.published.append(message)
        if message.retain and message.payload:
            self.retained[message.topic] = message
        elif message.retain:
            self.retained.pop(message.topic, None)
        for session in self._sessions.values():
            if session.connected:
                self._deliver(session, replace(message, retain=False))

    def cut(self, client_id: str) -> None:
        """Break one session's link: its will is published, and it stays away until `restore`."""
        self._sessions[client_id].broken(publish_will=True)

    def restore(self, client_id: str) -> None:
        """Let a session that was cut connect again."""
        self._sessions[client_id].reachable.set()

    def _deliver(self, session: "MemorySession", message: Message) -> None:
        if not any(topic_matches_sub(one, message.topic) for one in session.subscriptions):
            return
        loop = asyncio.get_running_loop()
        if message.qos > 0:
            loop.call_soon(session.receive, message)
        elif self._rng.random() >= self.loss:
            loop.call_later(self._rng.uniform(0, self.delay_s), session.receive, message)


class MemorySession:
    """What `Session` offers, on a `MemoryBroker`."""

    def __init__(
        self,
        broker: MemoryBroker,
        on_message: Callable[[Message], None],
        on_connect: Callable[[], Awaitable[None]] | None,
        subscriptions: dict[str, int],
        will: Will | None,
        farewell: Sequence[Will],
    ) -> None:
        self.connected = False
        self.subscriptions = subscriptions
        self.reachable = asyncio.Event()
        self.reachable.set()
        self._lost = asyncio.Event()
        self._broker = broker
        self._on_message = on_message
        self._on_connect = on_connect
        self._will = will
        self._farewell = farewell

    @property
    def protocol(self) -> Version | None:
        """`5` while connected."""
        return "5" if self.connected else None

    async def run(self) -> None:
        """Hold the link until cancelled; then publish the farewell."""
        try:
            while True:
                await self.reachable.wait()
                self._lost.clear()
                self.connected = True
                # As after a SUBSCRIBE: what is retained comes before whatever is published now.
                for message in list(self._broker.retained.values()):
                    self._broker._deliver(self, message)
                if self._on_connect is not None:
                    await self._on_connect()
                await self._lost.wait()
        finally:
            if self.connected:
                for last in self._farewell:
                    await self.publish(last.topic, last.payload, qos=last.qos, retain=last.retain)
            self.connected = False

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish, or raise `NotConnectedError`."""
        if not self.connected:
            raise NotConnectedError("there is no link to the memory broker")
        data = payload.encode() if isinstance(payload, str) else payload
        self._broker.publish(Message(topic, data, retain, qos))

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe; retained messages follow."""
        self.subscriptions[topic_filter] = qos
        if self.connected:
            for message in list(self._broker.retained.values()):
                if topic_matches_sub(topic_filter, message.topic):
                    self._broker._deliver(self, message)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe."""
        self.subscriptions.pop(topic_filter, None)

    def leave_quietly(self) -> None:
        """Leave without farewell and will when `run` ends."""
        self._farewell, self._will = (), None

    def broken(self, *, publish_will: bool) -> None:
        """Lose the link."""
        self.reachable.clear()
        self.connected = False
        self._lost.set()
        if publish_will and self._will is not None:
            will = self._will
            self._broker.publish(Message(will.topic, will.payload, will.retain, will.qos))

    def receive(self, message: Message) -> None:
        """Hand one message over as `Session` does."""
        if not self.connected:
            return
        try:
            self._on_message(message)
        except Exception:
            logger.exception("a message on %s failed its receiver", message.topic)
