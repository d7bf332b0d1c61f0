"""Publishes what is to stand on the broker: discovery, cameras' health, assignments.

Results are published at once by the gateway itself; the announcer sees to those that did not get
through, and repeats the last ones when Home Assistant starts.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from importlib import metadata

from broker.errors import NotConnectedError, TopicError
from broker.message import Message
from broker.payloads import (
    Assignment,
    GatewayCommand,
    GatewayState,
    ModelDescription,
    NodeState,
    dump,
    parse,
)
from broker.topics import Kind, Topics
from broker.topics import parse as parse_topic
from gateway.homeassistant import HomeAssistant
from gateway.link import Link
from gateway.model_shelf import ModelShelf
from gateway.retained import Retained
from gateway.roster import Member, Roster
from gateway.settings import GatewaySettings
from models.pack import Pack, VariantEntry, shipped_packs

logger = logging.getLogger(__name__)

# A broker whose rights keep our own status from us says nothing; it shall not keep us from telling.
ECHO_TIMEOUT_S = 10.0


class Announcer:
    """Knows what is to stand on the broker and brings it there, again after every loss.

    Attributes:
        shelf: brings the model files there that assignments name, before the assignments.
    """

    def __init__(self, settings: GatewaySettings, topics: Topics, pack: Pack) -> None:
        self._topics = topics
        self._pack = pack
        self._sends = settings.send_models
        self._ships = pack.path in shipped_packs().values()
        self.shelf = ModelShelf(topics, pack, send=self._sends, on_ready=self._poke)
        self._models: dict[str, str] = {}  # topic of an assignment: the model it waits for
        self._retained = Retained()
        self._results = Retained()
        self._news = asyncio.Event()
        self._cameras = frozenset(settings.cameras)
        self._homeassistant = HomeAssistant(settings, topics, pack.labels, version())
        self._patience: asyncio.TimerHandle | None = None
        self._leftovers: dict[str, None] = {}  # topics to clear once, in order
        # A picture of a time when they were published shall not stand there for ever.
        self._clear(
            topics.image(name) for name, camera in settings.cameras.items() if not camera.image
        )

    @property
    def subscriptions(self) -> list[tuple[str, int]]:
        """What it has to hear of what stands on the broker."""
        return [*self._homeassistant.subscriptions, (self._topics.all_camera_status, 1)]

    async def run(self, link: Link) -> None:
        """Publish whatever is pending, whenever something is; until cancelled."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                try:
                    await self._publish_pending(link)
                except NotConnectedError as exc:
                    logger.debug("announcements wait for the broker: %s", exc)
        finally:
            self._stop_waiting()

    def connected(self) -> None:
        """Hear what stands on the broker, and publish what does not."""
        self.shelf.connected()
        self._homeassistant.upkeep.begin()
        self._retained.doubt_all()
        self._stop_waiting()
        self._patience = asyncio.get_running_loop().call_later(ECHO_TIMEOUT_S, self._settle_anyway)
        self._news.set()

    def hear(self, message: Message) -> bool:
        """Take a message about what stands on the broker; return whether it is one."""
        if self._homeassistant.is_birth(message):
            logger.info("Home Assistant has started: everything is announced again")
            self.announce_again(results=True)
            return True
        taken = self._homeassistant.hear(message) or self._is_camera_status(message)
        if taken:
            self._news.set()
        return taken

    def receive(self, _: str, payload: bytes) -> None:
        """Obey a command to the gateway.

        Raises:
            PayloadError: it is none.
        """
        if parse(GatewayCommand, payload).announce:
            self.announce_again(results=True)

    def want_nodes(self, roster: Roster) -> None:
        """Show how many nodes there are, and each of them in Home Assistant."""
        self._homeassistant.want_nodes(roster)
        members = list(roster)
        state = GatewayState(
            nodes_known=len(members),
            nodes_online=sum(member.online for member in members),
            nodes_working=len(roster.working),
            version=version(),
        )
        self.want(self._topics.gateway_state, dump(state))

    def forget_node(self, node: str) -> None:
        """Clear what stands about a node that is gone for good."""
        self._models.pop(self._topics.assignment(node), None)
        self._clear([self._topics.assignment(node), self._topics.node_state(node)])

    def announce_again(self, *, results: bool = False) -> None:
        """Publish everything anew, the last results too if asked for."""
        self._homeassistant.upkeep.repeat()
        self._retained.doubt_all()
        if results:
            self._results.doubt_all()
        self._news.set()

    def want(self, topic: str, payload: bytes) -> None:
        """Let a payload stand on a topic, instead of what stood there before."""
        self._leftovers.pop(topic, None)
        self._retained.want(topic, payload)
        self._news.set()

    def want_assignments(self, variants: Mapping[str, str], members: Mapping[str, Member]) -> None:
        """Let each of these nodes be assigned its variant.

        Args:
            variants: of each node that is to have one.
            members: what each of them says of itself.
        """
        for node, variant in variants.items():
            entry = self._pack.variant(variant)
            topic = self._topics.assignment(node)
            fetches = self.fetches(members[node])
            self._models.pop(topic, None)
            if fetches and not self._has_pack(members[node]):
                self.shelf.want(entry.sha256)
                self._models[topic] = entry.sha256
            assignment = Assignment(
                pack=self._pack.name,
                variant=entry.name,
                model=entry.sha256,
                description=self._describe(entry) if fetches else None,
            )
            self.want(topic, dump(assignment))
        self._news.set()

    def fetches(self, member: Member) -> bool:
        """Return whether a node takes a model from the broker that its own pack lacks."""
        state = member.state
        return self._sends and state is not None and state.fetches and not state.fixed_variant

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
        upkeep = self._homeassistant.upkeep
        for step in upkeep.steps():
            await link.publish(step.topic, step.payload, qos=1, retain=step.retain)
            upkeep.sent(step)
        # After their entities are gone: those would read the empty messages.
        for topic in list(self._leftovers) if upkeep.settled else ():
            await link.publish(topic, b"", qos=1, retain=True)
            self._leftovers.pop(topic, None)
        # Before that the cameras' states may not yet know what stood there before them.
        for wish in (self._retained, self._results) if upkeep.settled else ():
            for topic in wish.pending():
                if topic not in wish:  # forgotten while another one was underway
                    continue
                if not self.shelf.is_ready(self._models.get(topic, "")):
                    continue  # the shelf pokes when it is
                payload = wish.wanted(topic)
                await link.publish(topic, payload, qos=1, retain=True)
                wish.sent(topic, payload)

    def _settle_anyway(self) -> None:
        upkeep = self._homeassistant.upkeep
        if not upkeep.settled:
            logger.warning(
                "the broker does not hand over %s: nothing that went can be cleared; let the "
                "gateway's login read its own topics",
                self._topics.status,
            )
            upkeep.settle()
            self._news.set()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def _is_camera_status(self, message: Message) -> bool:
        """Return whether a message is a camera's status; clear what a camera left that went."""
        try:
            topic = parse_topic(self._topics, message.topic)
        except TopicError:
            return False
        if topic.kind is not Kind.CAMERA_STATUS:
            return False
        if topic.id not in self._cameras and message.payload:
            logger.info("camera %s is no longer in the settings: its topics are cleared", topic.id)
            self._clear(
                leaf(topic.id)
                for leaf in (
                    self._topics.result,
                    self._topics.image,
                    self._topics.camera_health,
                    self._topics.camera_state,
                    self._topics.camera_settings,
                    # The last one: while it stands, the next start finds the others.
                    self._topics.camera_status,
                )
            )
        return True

    def _clear(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._retained.forget(topic)
            self._leftovers[topic] = None
        self._news.set()

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
