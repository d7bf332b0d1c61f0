"""What Home Assistant is told of one entity and one device, whatever form it is published in.

Ids follow from the topics' ids, so that they are the same in every run and in both forms. A dot
is in no id and so separates the parts of a unique id; a topic has no such character, so there
each part but the last is one of a fixed set or without a hyphen.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from broker.topics import Topics

Config = dict[str, Any]

_PLAIN = re.compile(r"[a-z0-9_]+")
_NO_SLUG = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity, or one trigger.

    Attributes:
        component: Home Assistant's kind of entity, such as `sensor`.
        key: its own within its device, of a-z, 0-9 and _.
        config: all but what follows from the device.
    """

    component: str
    key: str
    config: Config


@dataclass(frozen=True, slots=True)
class Device:
    """One device with all its entities.

    Attributes:
        topic_id: its own among all devices of this gateway, fit for a topic.
        path: the parts of its unique id below the gateway's; empty for the gateway itself.
        entity_id: how the ids of its entities begin.
        info: name, model and the like.
        entities: in the order they are shown.
    """

    topic_id: str
    path: tuple[str, ...]
    entity_id: str
    info: Config
    entities: tuple[Entity, ...]


def unique_id(topics: Topics, *parts: str) -> str:
    """Return an id that no other entity or device of any gateway has."""
    return ".".join((topics.prefix, topics.gateway, *parts))


def gateway_here(topics: Topics) -> Config:
    """Return the availability of what depends on the gateway alone."""
    return {"availability_mode": "all", "availability": [{"topic": topics.status}]}


def label_key(label: str) -> str:
    """Return a label as a part of an entity's key; different labels have different ones."""
    if _PLAIN.fullmatch(label) and len(label) <= 64:
        return label
    slug = _NO_SLUG.sub("_", label.lower()).strip("_")[:48]
    return f"{slug}_{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def in_words(identifier: str) -> str:
    """Return an id as people would write it: `front_door` as "Front door"."""
    words = identifier.replace("_", " ").replace("-", " ").split()
    text = " ".join(words) or identifier
    return text[0].upper() + text[1:]


def slug(*parts: str) -> str:
    """Return the parts as Home Assistant writes them in an entity id."""
    return _NO_SLUG.sub("_", "_".join(parts).lower())
