"""Devices and entities as messages of Home Assistant's MQTT discovery, in either of its forms.

The component form has one retained configuration for each entity and is understood by every
version. The device form has one for each device, and is understood from 2024.11 on. An entity's
unique id is the same in both, so that moving from one to the other keeps it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from broker.topics import Topics
from gateway.entities import Config, Device, Entity, unique_id

Form = Literal["component", "device"]

# To a topic of the old form: its entities are about to be announced in the other one.
MIGRATE: Final = b'{"migrate_discovery":true}'

# Home Assistant identifies a trigger by what it listens to, and gives it no entity.
_WITHOUT_ENTITY = frozenset({"device_automation"})


@dataclass(frozen=True, slots=True)
class Announcement:
    """One retained message under Home Assistant's discovery prefix."""

    topic: str
    config: Config

    @property
    def payload(self) -> bytes:
        """The configuration as JSON."""
        return json.dumps(self.config, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Standing:
    """A discovery message of this gateway as it stands on the broker.

    Attributes:
        payload: as it is.
        device: the identifier of the device it is about.
        unique_id: of its entity; None for a trigger and in the device form.
        components: the platforms by key, in the device form; None in the component form.
    """

    payload: bytes
    device: str
    unique_id: str | None = None
    components: Mapping[str, str] | None = None

    @property
    def form(self) -> Form:
        """The form it has."""
        return "component" if self.components is None else "device"


def announcements(
    topics: Topics,
    devices: Iterable[Device],
    *,
    form: Form,
    discovery_prefix: str,
    version: str,
) -> list[Announcement]:
    """Return what to publish, in the devices' order.

    Args:
        topics: the gateway's.
        devices: the gateway's own first, because the others refer to it.
        form: of the messages.
        discovery_prefix: Home Assistant's, `homeassistant` unless changed there.
        version: of this software.
    """
    node_id = f"{topics.prefix}-{topics.gateway}"
    origin = {"name": "idlesight", "sw_version": version}
    found: list[Announcement] = []
    for device in devices:
        info = {"identifiers": [unique_id(topics, *device.path)]} | device.info
        configs = {one.key: _config(topics, device, one) for one in device.entities}
        if form == "device":
            components = {
                one.key: {"p": one.component} | configs[one.key] for one in device.entities
            }
            found.append(
                Announcement(
                    f"{discovery_prefix}/device/{node_id}-{device.topic_id}/config",
                    {"dev": info, "o": origin, "cmps": components},
                )
            )
            continue
        kind, _, own_id = device.topic_id.partition("-")
        for one in device.entities:
            object_id = "-".join(part for part in (kind, one.key, own_id) if part)
            found.append(
                Announcement(
                    f"{discovery_prefix}/{one.component}/{node_id}/{object_id}/config",
                    configs[one.key] | {"device": info, "origin": origin},
                )
            )
    return found


def topic_filters(topics: Topics, discovery_prefix: str) -> list[str]:
    """Return filters for every topic that this gateway may have announced something on."""
    return [
        f"{discovery_prefix}/+/{topics.prefix}-{topics.gateway}/+/config",
        f"{discovery_prefix}/device/+/config",
    ]


def read_standing(topics: Topics, payload: bytes) -> Standing | None:
    """Return a discovery message if it is about this gateway's devices.

    What it says decides, not its topic: there a gateway's id may be the beginning of another's.
    """
    try:
        config = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    device = config.get("device", config.get("dev"))
    identifiers = device.get("identifiers") if isinstance(device, dict) else None
    if not (isinstance(identifiers, list) and identifiers and isinstance(identifiers[0], str)):
        return None
    own = unique_id(topics)
    if identifiers[0] != own and not identifiers[0].startswith(f"{own}."):
        return None
    components = config.get("cmps")
    if isinstance(components, dict):
        platforms = {
            str(key): str(one.get("p")) for key, one in components.items() if isinstance(one, dict)
        }
        return Standing(payload, identifiers[0], components=platforms)
    uid = config.get("unique_id")
    return Standing(payload, identifiers[0], uid if isinstance(uid, str) else None)


def without(wanted: bytes, gone: Mapping[str, str]) -> bytes:
    """Return a message of the device form that also takes away components it no longer has.

    Args:
        wanted: the message as it is to stand.
        gone: the platforms of those components by their keys.
    """
    config = json.loads(wanted)
    config["cmps"] |= {key: {"p": platform} for key, platform in gone.items()}
    return json.dumps(config, separators=(",", ":"), ensure_ascii=False).encode()


def _config(topics: Topics, device: Device, entity: Entity) -> Config:
    if entity.component in _WITHOUT_ENTITY:
        return entity.config
    entity_id = f"{device.entity_id}_{entity.key}"
    return entity.config | {
        "unique_id": unique_id(topics, *device.path, entity.key),
        # The first until 2026.4, the second from 2025.10 on; who does not know one ignores it.
        "object_id": entity_id,
        "default_entity_id": f"{entity.component}.{entity_id}",
    }
