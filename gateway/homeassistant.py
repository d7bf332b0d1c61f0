"""What Home Assistant says and is told: its birth, our discovery, and what is to become of it."""

from collections.abc import Iterable, Sequence

from broker.message import Message
from broker.payloads import ONLINE
from broker.topics import Topics, matches
from gateway.camera_entities import Announced, camera_device, watched
from gateway.discovery import announcements, topic_filters
from gateway.gateway_entities import gateway_device
from gateway.node_entities import node_device, offered
from gateway.roster import Member
from gateway.settings import GatewaySettings
from gateway.upkeep import Upkeep


class HomeAssistant:
    """Keeps the devices that Home Assistant is to show: the gateway, the cameras and the nodes.

    Attributes:
        upkeep: brings them to the broker.
    """

    def __init__(
        self, settings: GatewaySettings, topics: Topics, labels: Sequence[str], version: str
    ) -> None:
        """Announce the gateway and its cameras, unless discovery is off.

        Args:
            settings: the gateway's.
            topics: likewise.
            labels: the pack's.
            version: of this software.
        """
        self.upkeep = Upkeep(topics)
        self._settings = settings.homeassistant
        self._topics = topics
        self._version = version
        self._birth = f"{settings.homeassistant.prefix}/status"
        self._filters = topic_filters(topics, settings.homeassistant.prefix)
        self._cameras = [
            Announced(name, camera.name, watched(camera.watch, labels), camera.image)
            for name, camera in settings.cameras.items()
        ]
        self._nodes: dict[str, frozenset[str]] = {}  # with the optional entities of each
        self._want()

    @property
    def subscriptions(self) -> list[tuple[str, int]]:
        """What has to be heard; also when discovery is off, to clear what was announced before."""
        # All with QoS 1: brokers keep the order of messages of one QoS alone, and our own status
        # marks the end of what was retained.
        topics = [self._topics.status, *self._filters]
        return [(topic, 1) for topic in (*topics, self._birth)]

    def is_birth(self, message: Message) -> bool:
        """Return whether Home Assistant says that it has started, and wants to be told again."""
        announces = self._settings.discovery != "off"
        return announces and message.topic == self._birth and message.payload == ONLINE.encode()

    def hear(self, message: Message) -> bool:
        """Take a message if it is about discovery; return whether it is."""
        if message.topic == self._topics.status:
            if not message.retain and message.payload == ONLINE.encode():
                self.upkeep.settle()
            return True
        if any(matches(one, message.topic) for one in self._filters):
            if message.retain:
                self.upkeep.hear(message.topic, message.payload)
            return True
        return message.topic == self._birth

    def want_nodes(self, members: Iterable[Member]) -> None:
        """Show these nodes and no others."""
        nodes = {}
        for member in members:
            # A value that is missing for a moment takes no entity away.
            had = self._nodes.get(member.name, frozenset[str]())
            has = frozenset[str]() if member.state is None else offered(member.state)
            nodes[member.name] = had | has
        if nodes != self._nodes:
            self._nodes = nodes
            self._want()

    def _want(self) -> None:
        form = self._settings.discovery
        if form == "off":
            return
        devices = [
            gateway_device(self._topics, self._version),
            *(camera_device(self._topics, camera) for camera in self._cameras),
            *(node_device(self._topics, name, parts) for name, parts in self._nodes.items()),
        ]
        self.upkeep.want(
            announcements(
                self._topics,
                devices,
                form=form,
                discovery_prefix=self._settings.prefix,
                version=self._version,
            )
        )
