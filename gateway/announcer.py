"""Publishes what is to stand on the broker: discovery, cameras' health, assignments.

Results are published at once by the gateway itself; the announcer sees to those that did not get
through, and repeats the last ones when Home Assistant starts.
"""

import asyncio
import logging
from collections.abc import Mapping
from importlib import metadata

from broker.errors import NotConnectedError
from broker.payloads import Assignment, dump
from broker.topics import Topics
from gateway.discovery import Announced, announcements
from gateway.link import Link
from gateway.retained import Retained
from gateway.settings import GatewaySettings
from models.pack import Pack

logger = logging.getLogger(__name__)


class Announcer:
    """Knows what is to stand on the broker and brings it there, again after every loss."""

    def __init__(self, settings: GatewaySettings, topics: Topics, pack: Pack) -> None:
        self._topics = topics
        self._pack = pack
        self._retained = Retained()
        self._results = Retained()
        self._news = asyncio.Event()
        self._want_discovery(settings)

    async def run(self, link: Link) -> None:
        """Publish whatever is pending, whenever something is; until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._publish_pending(link)
            except NotConnectedError as exc:
                logger.debug("announcements wait for the broker: %s", exc)

    def announce_again(self, *, results: bool = False) -> None:
        """Publish everything anew, the last results too if asked for."""
        self._retained.doubt_all()
        if results:
            self._results.doubt_all()
        self._news.set()

    def want(self, topic: str, payload: bytes) -> None:
        """Let a payload stand on a topic, instead of what stood there before."""
        self._retained.want(topic, payload)
        self._news.set()

    def want_assignments(self, variants: Mapping[str, str]) -> None:
        """Let each of these nodes be assigned its variant."""
        for node, variant in variants.items():
            entry = self._pack.variant(variant)
            payload = dump(Assignment(pack=self._pack.name, variant=entry.name, model=entry.sha256))
            self._retained.want(self._topics.assignment(node), payload)
        self._news.set()

    def published_result(self, topic: str, payload: bytes) -> None:
        """Note a result that is being published."""
        self._results.want(topic, payload)
        self._results.sent(topic, payload)

    def lost_result(self, topic: str, payload: bytes) -> None:
        """Note that a result did not get through: it follows later if it is still the last."""
        if self._results.wanted(topic) == payload:
            self._results.doubt(topic)

    def want_result(self, topic: str, payload: bytes) -> None:
        """Publish a result when there is room for it."""
        self._results.want(topic, payload)
        self._news.set()

    async def _publish_pending(self, link: Link) -> None:
        for wish in (self._retained, self._results):
            for topic in wish.pending():
                payload = wish.wanted(topic)
                await link.publish(topic, payload, qos=1, retain=True)
                wish.sent(topic, payload)

    def _want_discovery(self, settings: GatewaySettings) -> None:
        if settings.homeassistant.discovery == "off":
            return
        for announcement in announcements(
            self._topics,
            [Announced(name, camera.name) for name, camera in settings.cameras.items()],
            discovery_prefix=settings.homeassistant.prefix,
            version=version(),
        ):
            self._retained.want(announcement.topic, announcement.payload)


def version() -> str:
    """Return this software's version; a placeholder where it runs from a checkout."""
    try:
        return metadata.version("idlesight")
    except metadata.PackageNotFoundError:
        return "0+checkout"
