"""Results and events on their way to the broker, each in a task of its own.

So a result waits neither for a frame nor for the acknowledgement of the result before it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from broker.errors import NotConnectedError
from gateway.announcer import Announcer
from gateway.link import Link

# What waits for its acknowledgement; a broker so far behind gets the next result instead.
MAX_UNDERWAY = 32


class Spawn(Protocol):
    """Starts a task in the gateway's group."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Return the task."""


class Outbox:
    """Publishes at once, and never more than a few at a time."""

    def __init__(
        self,
        link: Link,
        announcer: Announcer,
        *,
        spawn: Spawn,
        complain: Callable[[str, object], None],
    ) -> None:
        """Begin empty.

        Args:
            link: where to publish.
            announcer: sees to results that did not get through.
            spawn: starts a task.
            complain: counts what was not sent, by kind, and why.
        """
        self._link = link
        self._announcer = announcer
        self._spawn = spawn
        self._complain = complain
        self._underway: set[asyncio.Task[None]] = set()

    def result(self, topic: str, payload: bytes) -> None:
        """Publish a result, now or when there is room and it is still the last."""
        if len(self._underway) < MAX_UNDERWAY:
            # For all that follows it counts as published: nobody else needs to publish it.
            self._announcer.published_result(topic, payload)
            self._send(self._publish_result(topic, payload), f"result on {topic}")
        else:
            self._announcer.want_result(topic, payload)
            self._complain("results.unsent", "the broker does not keep up")

    def event(self, topic: str, payload: bytes) -> None:
        """Publish an event now or never: the state tells the same when the broker is back."""
        if len(self._underway) < MAX_UNDERWAY:
            self._send(self._publish_event(topic, payload), f"event on {topic}")
        else:
            self._complain("events.unsent", "the broker does not keep up")

    def image(self, topic: str, payload: bytes) -> None:
        """Publish a picture now or never: another one follows."""
        if len(self._underway) < MAX_UNDERWAY:
            self._send(self._publish_image(topic, payload), f"picture on {topic}")
        else:
            self._complain("images.unsent", "the broker does not keep up")

    async def settle(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged, or no longer than that."""
        if self._underway:
            await asyncio.wait(self._underway, timeout=timeout_s)

    def _send(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._spawn(work, name)
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)

    async def _publish_result(self, topic: str, payload: bytes) -> None:
        try:
            await self._link.publish(topic, payload, qos=1, retain=True)
        except NotConnectedError as exc:
            self._announcer.lost_result(topic, payload)
            self._complain("results.unsent", exc)

    async def _publish_event(self, topic: str, payload: bytes) -> None:
        try:
            await self._link.publish(topic, payload, qos=1)
        except NotConnectedError as exc:
            self._complain("events.unsent", exc)

    async def _publish_image(self, topic: str, payload: bytes) -> None:
        try:
            await self._link.publish(topic, payload, retain=True)
        except NotConnectedError as exc:
            self._complain("images.unsent", exc)
