"""Keeps the node's name on the broker: asks for it, announces it, gives way to another node."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from broker.errors import NotConnectedError
from broker.message import Message
from broker.payloads import OFFLINE, ONLINE, NodeCommand, NodeState, dump, parse
from broker.topics import Topics
from node_agent.errors import NameTakenError
from node_agent.link import Link
from node_agent.name_claim import WAIT_S, NameClaim

_ANNOUNCE: Final = dump(NodeCommand(announce=True))


class NameHolder:
    """The edge of `NameClaim`: `run` it beside the session."""

    def __init__(
        self,
        topics: Topics,
        name: str,
        session: str,
        clock_s: Callable[[], float],
        announce: Callable[[], None],
    ) -> None:
        """Prepare; the name is not asked for yet.

        Args:
            topics: the gateway's.
            name: the node's.
            session: this process's token.
            clock_s: monotonic.
            announce: publishes the state soon, whether it changed or not.
        """
        self._topics = topics
        self._name = name
        self._claim = NameClaim(session)
        self._clock_s = clock_s
        self._announce = announce
        self._news = asyncio.Event()

    @property
    def granted(self) -> bool:
        """Whether this node may work under its name now."""
        return self._claim.granted

    @property
    def up_s(self) -> float:
        """How long it has done so."""
        return self._claim.up_s(self._clock_s())

    def ask(self) -> None:
        """Ask for the name: the link was made, or somebody said that nobody has it."""
        self._claim.ask()
        self._news.set()

    def hear_question(self) -> None:
        """Answer whoever wants to know who has the name."""
        self._claim.hear_question()
        self._announce()
        self._news.set()

    def receive_status(self, message: Message) -> None:
        """See whether somebody has the name, and correct what is not true."""
        if message.retain:
            self._claim.hear_status(online=message.payload == ONLINE.encode())
        elif message.payload == OFFLINE.encode() and self._claim.granted:
            # The last will of an older link of ours, whose end the broker saw only now, or of a
            # node that was refused this name.
            self.ask()

    def receive_state(self, message: Message) -> None:
        """See what a node of this name says of itself.

        Raises:
            PayloadError: it is no state.
        """
        if not message.payload:
            return  # it was cleared
        state = parse(NodeState, message.payload)
        if self._claim.hear_state(state, self._clock_s(), retained=message.retain):
            self._announce()
        self._news.set()

    async def run(self, link: Link) -> None:
        """Announce the node whenever its name is its own, until cancelled.

        Raises:
            NameTakenError: another node has the name, and is left alone.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            self._give_way(link)
            if not self._claim.granted:
                with suppress(NotConnectedError):  # it asks anew when the link is back
                    await self._take(link)

    async def _take(self, link: Link) -> None:
        await link.publish(self._topics.node_set(self._name), _ANNOUNCE, qos=1)
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not self._claim.look(self._clock_s()):
                    self._give_way(link)
                    await self._news.wait()
                    self._news.clear()
        self._give_way(link)
        self._claim.grant(self._clock_s())
        await link.publish(self._topics.node_status(self._name), ONLINE, qos=1, retain=True)
        self._announce()

    def _give_way(self, link: Link) -> None:
        rival = self._claim.rival
        if rival is not None:
            link.leave_quietly()
            raise NameTakenError(
                f"another node named {self._name} is at work for gateway {self._topics.gateway} "
                f"(version {rival.version}, for {rival.up_s:.0f} s): give this one another --name"
            )
