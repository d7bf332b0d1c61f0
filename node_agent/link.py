"""What the agent needs of an MQTT session."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from broker.message import Message


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

    def leave_quietly(self) -> None:
        """Say nothing at the end of `run`, and have the broker say nothing."""


OpenLink = Callable[[Callable[[Message], None], Callable[[], Awaitable[None]]], Link]
