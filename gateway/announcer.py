"""Publishes what is to stand on the broker: discovery, cameras' health, assignments.

Results are published at once by the gateway itself; the announcer sees to those that did not get
through, and repeats the last ones when Home Assistant starts.
"""

import asyncio
import logging
from collections.abc import Iterable
from importlib import metadata

from broker.errors import NotConnectedError
from broker.payloads import Assignment, ModelDescription, NodeState, dump
from broker.topics import Topics
from gateway.assignment import Seat, assign
from gateway.discovery import Announced, announcements
from gateway.link import Link
from gateway.model_shelf import ModelShelf
from gateway.retained import Retained
from gateway.roster import Member
from gateway.settings import GatewaySettings
from models.pack import Pack, VariantEntry, shipped_packs

logger = logging.getLogger(__name__)


class Announcer:
    """Knows what is to stand on the broker and brings it there, again after every loss.

    Attributes:
        shelf: brings the model files there that assignments name, before the assignments.
    """

    def __init__(self, settings: GatewaySettings, topics: Topics, pack: Pack) -> None:
        self._topics = topics
        self._pack = pack
        self._variants: dict[str, str] = {}  # node: the variant it was last given
        self._sends = settings.send_models
        self._ships = pack.path in shipped_packs().values()
        self.shelf = ModelShelf(topics, pack, send=self._sends, on_ready=self._poke)
        self._models: dict[str, str] = {}  # topic of an assignment: the model it waits for
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

    def connected(self) -> None:
        """Publish everything anew: the broker may have lost it."""
        self.shelf.connected()
        self.announce_again()

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

    def want_assignments(self, members: Iterable[Member]) -> None:
        """Give each node that is there, and has described itself, its variant."""
        there = {member.name: member for member in members}
        seats = [seat for member in there.values() if (seat := self._seat(member)) is not None]
        names = [entry.name for entry in self._pack.manifest.variants]
        for node, variant in assign(seats, names).items():
            self._variants[node] = variant
            entry = self._pack.variant(variant)
            topic = self._topics.assignment(node)
            fetches = self._fetches(there[node])
            self._models.pop(topic, None)
            if fetches and not self._has_pack(there[node]):
                self.shelf.want(entry.sha256)
                self._models[topic] = entry.sha256
            assignment = Assignment(
                pack=self._pack.name,
                variant=entry.name,
                model=entry.sha256,
                description=self._describe(entry) if fetches else None,
            )
            self._retained.want(topic, dump(assignment))
        self._news.set()

    def want_again(self, state: NodeState) -> None:
        """Send a file that a node could not put together, again at most every ten minutes."""
        if state.fetches and state.lacks is not None:
            self.shelf.want(state.lacks)
            self.shelf.send_again(state.lacks)

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
                if not self.shelf.is_ready(self._models.get(topic, "")):
                    continue  # the shelf pokes when it is
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

    def _seat(self, member: Member) -> Seat | None:
        state = member.state
        if not member.online or state is None:
            return None
        given = None if state.fixed_variant else self._variants.get(member.name)
        return Seat(
            node=member.name,
            holds=given or state.variant,
            fixed=state.fixed_variant,
            offers=() if self._fetches(member) else tuple(state.variants),
        )

    def _fetches(self, member: Member) -> bool:
        """Return whether a node takes a model from the broker that its own pack lacks."""
        state = member.state
        return self._sends and state is not None and state.fetches and not state.fixed_variant

    def _has_pack(self, member: Member) -> bool:
        """Return whether a node has this pack because its release of idlesight brought it."""
        return self._ships and member.state is not None and member.state.version == version()

    def _describe(self, entry: VariantEntry) -> ModelDescription:
        """Return what a node without the pack must know of a variant's default file."""
        file = self._pack.file(entry.name)
        return ModelDescription(
            size_bytes=file.size_bytes,
            precision=file.precision,
            classes=len(self._pack.labels),
            k=self._pack.manifest.k,
            resolution=entry.resolution,
            input_offset=entry.input_offset,
            input_range=entry.interface.input_range,
            output=entry.interface.output,
        )

    def _poke(self) -> None:
        self._news.set()


def version() -> str:
    """Return this software's version; a placeholder where it runs from a checkout."""
    try:
        return metadata.version("idlesight")
    except metadata.PackageNotFoundError:
        return "0+checkout"
