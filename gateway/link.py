"""The gateway's session with the broker: what it needs of one, what it hears and leaves behind."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from broker.payloads import OFFLINE
from broker.session import Message, Will
from broker.topics import Topics
from gateway.settings import GatewaySettings


class Link(Protocol):
    """What the gateway needs of a session with the broker; `broker.session.Session` has it."""

    @property
    def connected(self) -> bool:
        """Whether a message could be published now."""

    async def run(self) -> None:
        """Hold the link until cancelled."""

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish, or raise NotConnectedError."""


def open_link(
    link: Callable[..., Link],
    settings: GatewaySettings,
    topics: Topics,
    *,
    more: Sequence[tuple[str, int]],
    on_message: Callable[[Message], None],
    on_connect: Callable[[], Awaitable[None]],
) -> Link:
    """Return the session of a gateway, not yet connected.

    Args:
        link: makes it: `broker.session.Session`, or the one in memory.
        settings: the gateway's.
        topics: likewise.
        more: topic filters that its parts want to hear, each with its QoS.
        on_message: called with each message.
        on_connect: awaited after each connection.
    """
    offline = OFFLINE.encode()
    states = [topics.camera_status(name) for name in settings.cameras]
    return link(
        settings.broker,
        client_id=f"{settings.prefix}-gateway-{settings.gateway}",
        will=Will(topics.status, offline),
        on_message=on_message,
        on_connect=on_connect,
        subscriptions=[
            (topics.all_node_status, 1),
            (topics.all_node_states, 1),
            (topics.all_predictions, 0),
            (topics.all_first_model_parts, 1),
            (topics.all_camera_sets, 1),
            (topics.all_camera_states, 1),
            (topics.gateway_set, 1),
            *more,
        ],
        farewell=[Will(topic, offline) for topic in (topics.status, *states)],
    )
