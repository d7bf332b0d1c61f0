"""Asks the broker about a node: is it there, and what does it say of itself?"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from broker.message import Message
from broker.payloads import NodeCommand, NodeState, dump, parse
from broker.session import Session
from broker.topics import Topics
from node_agent.settings import NodeSettings

# For a node that says it is there to say so again.
ANSWER_S: Final = 2.0
# A broker that hands nothing back, for this login may not read it.
ECHO_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What the broker knows of a node.

    Attributes:
        protocol: the MQTT version of the link.
        online: whether its status says so; None where there is none.
        state: what it said last, None where it said nothing.
        alive: whether it answered just now.
    """

    protocol: str
    online: bool | None
    state: NodeState | None
    alive: bool


class _Ear:
    """Hears what is published of one node."""

    def __init__(self, topics: Topics, name: str) -> None:
        self._status, self._state = topics.node_status(name), topics.node_state(name)
        self._set = topics.node_set(name)
        self.online: bool | None = None
        self.state: NodeState | None = None
        self.connected = asyncio.Event()
        self.echo = asyncio.Event()
        self.alive = asyncio.Event()

    async def connect(self) -> None:
        self.connected.set()

    def hear(self, message: Message) -> None:
        if message.topic == self._status and message.payload:
            self.online = message.payload == b"online"
        elif message.topic == self._state and message.payload:
            self.state = parse(NodeState, message.payload)
            if not message.retain:
                self.alive.set()
        elif message.topic == self._set:
            self.echo.set()


async def inquire(settings: NodeSettings) -> Inquiry:
    """Return what the broker knows of the node of that name.

    Raises:
        BrokerError: the broker cannot be reached or refuses the login.
    """
    topics = Topics(settings.gateway, settings.prefix)
    ear = _Ear(topics, settings.name)
    session = Session(
        settings.broker,
        client_id=f"idlesight-inquiry-{secrets.token_hex(4)}",
        on_message=ear.hear,
        on_connect=ear.connect,
        subscriptions=[
            (topics.node_status(settings.name), 1),
            (topics.node_state(settings.name), 1),
            (topics.node_set(settings.name), 1),
        ],
        patient=False,
    )
    running = asyncio.create_task(session.run(), name="inquiry")
    try:
        connected = asyncio.create_task(ear.connected.wait(), name="connected")
        await asyncio.wait((running, connected), return_when=asyncio.FIRST_COMPLETED)
        connected.cancel()
        if running.done():
            await running  # raises what went wrong
        protocol = session.protocol or "?"
        await session.publish(
            topics.node_set(settings.name), dump(NodeCommand(announce=True)), qos=1
        )
        # What was retained comes before what is published now.
        await _for(ear.echo, ECHO_S)
        if ear.online:
            await _for(ear.alive, ANSWER_S)
        return Inquiry(protocol, ear.online, ear.state, ear.alive.is_set())
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running


async def _for(event: asyncio.Event, bound_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(bound_s):
            await event.wait()
