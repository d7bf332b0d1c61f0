"""The topic tree as typed functions: an invalid topic cannot be built.

`PROTOCOL.md` says who sends what on each topic, with which QoS and retained or not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from paho.mqtt.client import topic_matches_sub

from broker.errors import InvalidIdError, TopicError

__all__ = [
    "InvalidIdError",
    "Kind",
    "Parsed",
    "TopicError",
    "Topics",
    "check_id",
    "check_topic_filter",
    "matches",
    "overlaps",
    "parse",
]

# No "/", "+", "#" or "$": an id can neither leave its level nor become a filter.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"0|[1-9][0-9]{0,3}")
_ANY = "+"

MAX_TOPIC_BYTES = 65_535  # MQTT 3.1.1, 4.7.3

PART_COUNT_LIMIT = 10_000  # four digits; at 96 KiB a part far above the 64 MiB a model may have


class Kind(StrEnum):
    """What a topic carries."""

    STATUS = "status"
    PLAN = "plan"
    FRAME = "frame"
    PREDICTION = "prediction"
    NODE_STATUS = "node_status"
    NODE_STATE = "node_state"
    ASSIGNMENT = "assignment"
    NODE_SET = "node_set"
    MODEL_PART = "model_part"
    RESULT = "result"
    IMAGE = "image"
    CAMERA_STATUS = "camera_status"
    CAMERA_HEALTH = "camera_health"
    CAMERA_STATE = "camera_state"
    CAMERA_EVENT = "camera_event"
    CAMERA_SET = "camera_set"
    CAMERA_SETTINGS = "camera_settings"
    GATEWAY_STATE = "gateway_state"
    GATEWAY_SET = "gateway_set"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A topic taken apart.

    Attributes:
        kind: what the topic carries.
        id: the node, camera, model SHA-256 or gateway it is about.
        part: the part's number for `Kind.MODEL_PART`, otherwise None.
    """

    kind: Kind
    id: str
    part: int | None = None


_NODE_KINDS = {
    "predictions": Kind.PREDICTION,
    "status": Kind.NODE_STATUS,
    "state": Kind.NODE_STATE,
    "assignment": Kind.ASSIGNMENT,
    "set": Kind.NODE_SET,
}
_CAMERA_KINDS = {
    "result": Kind.RESULT,
    "image": Kind.IMAGE,
    "status": Kind.CAMERA_STATUS,
    "health": Kind.CAMERA_HEALTH,
    "state": Kind.CAMERA_STATE,
    "event": Kind.CAMERA_EVENT,
    "set": Kind.CAMERA_SET,
    "settings": Kind.CAMERA_SETTINGS,
}
_GATEWAY_KINDS = {
    "status": Kind.STATUS,
    "state": Kind.GATEWAY_STATE,
    "plan": Kind.PLAN,
    "set": Kind.GATEWAY_SET,
}


def check_id(value: str, what: str = "id") -> str:
    """Return `value` if it may stand in a topic.

    Raises:
        InvalidIdError: it is empty, longer than 64 or has another character than A–Z, a–z,
            0–9, "_" and "-".
    """
    if _ID.fullmatch(value) is None:
        msg = f"{what} {value[:80]!r} is not 1 to 64 of the characters A-Z, a-z, 0-9, _ and -"
        raise InvalidIdError(msg)
    return value


def check_topic_filter(value: str) -> str:
    """Return `value` if it is a topic filter (MQTT 3.1.1, 4.7).

    Raises:
        InvalidIdError: it is empty, too long, holds a NUL, or a wildcard shares its level or (`#`)
            is not the last.
    """
    levels = value.split("/")
    alone = all(level in ("+", "#") or not {"+", "#"} & set(level) for level in levels)
    last = "#" not in levels[:-1]
    if not (0 < len(value.encode()) <= MAX_TOPIC_BYTES and alone and last and "\0" not in value):
        msg = f"{value[:80]!r} is no MQTT topic or topic filter"
        raise InvalidIdError(msg)
    return value


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a topic is one of those that a filter names."""
    return topic_matches_sub(topic_filter, topic)


def overlaps(topic_filter: str, root: Sequence[str]) -> bool:
    """Return whether a filter may name a topic below `root`, given by its levels."""
    for level, wanted in zip_longest(topic_filter.split("/"), root):
        if wanted is None or level == "#":
            return True
        if level not in ("+", wanted):
            return False
    return False


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one gateway.

    Attributes:
        gateway: the gateway's id.
        prefix: the first level, one id.
    """

    gateway: str
    prefix: str = "idlesight"

    def __post_init__(self) -> None:
        check_id(self.gateway, "gateway")
        check_id(self.prefix, "prefix")

    @property
    def root(self) -> str:
        """The two levels that every topic of this gateway begins with."""
        return f"{self.prefix}/{self.gateway}"

    @property
    def status(self) -> str:
        """The gateway's own `online` or `offline`."""
        return f"{self.root}/status"

    @property
    def gateway_state(self) -> str:
        """How many nodes the gateway has."""
        return f"{self.root}/state"

    @property
    def gateway_set(self) -> str:
        """A user's commands for the gateway."""
        return f"{self.root}/set"

    @property
    def plan(self) -> str:
        """Which node runs which variant, and why."""
        return f"{self.root}/plan"

    def frames(self, camera: str) -> str:
        """Frames of one camera, for the nodes."""
        return f"{self.root}/frames/{check_id(camera, 'camera')}"

    def predictions(self, node: str) -> str:
        """Answers of one node."""
        return self._node(node, "predictions")

    def node_status(self, node: str) -> str:
        """A node's `online` or `offline`."""
        return self._node(node, "status")

    def node_state(self, node: str) -> str:
        """Whether a node works or pauses and why."""
        return self._node(node, "state")

    def assignment(self, node: str) -> str:
        """What a node is to run."""
        return self._node(node, "assignment")

    def node_set(self, node: str) -> str:
        """A user's commands for one node."""
        return self._node(node, "set")

    def result(self, camera: str) -> str:
        """The combined answer for one camera."""
        return self._camera(camera, "result")

    def image(self, camera: str) -> str:
        """The picture the last result is about."""
        return self._camera(camera, "image")

    def camera_status(self, camera: str) -> str:
        """Whether a camera's source gives pictures."""
        return self._camera(camera, "status")

    def camera_health(self, camera: str) -> str:
        """How old a camera's last picture is, and why if there is none."""
        return self._camera(camera, "health")

    def camera_state(self, camera: str) -> str:
        """What a camera is taken to see, debounced."""
        return self._camera(camera, "state")

    def camera_event(self, camera: str) -> str:
        """Each change of that state, once."""
        return self._camera(camera, "event")

    def camera_set(self, camera: str) -> str:
        """A user's commands for one camera."""
        return self._camera(camera, "set")

    def camera_settings(self, camera: str) -> str:
        """What holds for a camera now, commands included."""
        return self._camera(camera, "settings")

    def model_part(self, sha256: str, part: int) -> str:
        """One part of a model file.

        Raises:
            InvalidIdError: not 64 lower-case hex digits, or a part outside [0, 10 000).
        """
        if not 0 <= part < PART_COUNT_LIMIT:
            msg = f"model part {part} is outside [0, {PART_COUNT_LIMIT})"
            raise InvalidIdError(msg)
        return f"{self._model(sha256)}/{part}"

    def model_parts(self, sha256: str) -> str:
        """Filter for all parts of one model file."""
        return f"{self._model(sha256)}/{_ANY}"

    @property
    def all_first_model_parts(self) -> str:
        """Filter for part 0 of every model file."""
        return f"{self.root}/models/{_ANY}/0"

    @property
    def all_predictions(self) -> str:
        """Filter for the answers of all nodes."""
        return f"{self.root}/nodes/{_ANY}/predictions"

    @property
    def all_node_status(self) -> str:
        """Filter for the status of all nodes."""
        return f"{self.root}/nodes/{_ANY}/status"

    @property
    def all_node_states(self) -> str:
        """Filter for the state of all nodes."""
        return f"{self.root}/nodes/{_ANY}/state"

    @property
    def all_camera_status(self) -> str:
        """Filter for the status of all cameras."""
        return f"{self.root}/cameras/{_ANY}/status"

    @property
    def all_camera_states(self) -> str:
        """Filter for the states of all cameras."""
        return f"{self.root}/cameras/{_ANY}/state"

    @property
    def all_camera_sets(self) -> str:
        """Filter for the commands to all cameras."""
        return f"{self.root}/cameras/{_ANY}/set"

    @property
    def all_frames(self) -> str:
        """Filter for the frames of all cameras."""
        return f"{self.root}/frames/{_ANY}"

    @property
    def all_results(self) -> str:
        """Filter for the results of all cameras."""
        return f"{self.root}/cameras/{_ANY}/result"

    def _node(self, node: str, leaf: str) -> str:
        return f"{self.root}/nodes/{check_id(node, 'node')}/{leaf}"

    def _camera(self, camera: str, leaf: str) -> str:
        return f"{self.root}/cameras/{check_id(camera, 'camera')}/{leaf}"

    def _model(self, sha256: str) -> str:
        if _SHA256.fullmatch(sha256) is None:
            msg = f"model {sha256[:80]!r} is not 64 lower-case hex digits of a SHA-256"
            raise InvalidIdError(msg)
        return f"{self.root}/models/{sha256}"


def parse(topics: Topics, topic: str) -> Parsed:
    """Return what `topic` carries and whom it is about.

    Raises:
        TopicError: the topic is not one of this gateway's.
    """
    parsed = _parse_levels(topics, topic.split("/"))
    if parsed is None:
        msg = f"{topic[:200]!r} is not a topic under {topics.root}/"
        raise TopicError(msg)
    return parsed


def _parse_levels(topics: Topics, levels: list[str]) -> Parsed | None:
    if levels[:2] != [topics.prefix, topics.gateway]:
        return None
    match levels[2:]:
        case [leaf] if leaf in _GATEWAY_KINDS:
            return Parsed(_GATEWAY_KINDS[leaf], topics.gateway)
        case ["frames", camera] if _ID.fullmatch(camera):
            return Parsed(Kind.FRAME, camera)
        case ["nodes", node, leaf] if leaf in _NODE_KINDS and _ID.fullmatch(node):
            return Parsed(_NODE_KINDS[leaf], node)
        case ["cameras", camera, leaf] if leaf in _CAMERA_KINDS and _ID.fullmatch(camera):
            return Parsed(_CAMERA_KINDS[leaf], camera)
        case ["models", sha256, part] if _SHA256.fullmatch(sha256) and _PART.fullmatch(part):
            return Parsed(Kind.MODEL_PART, sha256, int(part))
    return None
