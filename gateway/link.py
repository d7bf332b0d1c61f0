"""What the gateway needs of a session with the broker; `broker.session.Session` has it."""

from typing import Protocol


class Link(Protocol):
    """What the gateway needs of a session with the broker."""

    @property
    def connected(self) -> bool:
        """Whether a message could be published now."""

    async def run(self) -> None:
        """Hold the link until cancelled."""

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish, or raise NotConnectedError."""
