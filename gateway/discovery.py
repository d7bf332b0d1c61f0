"""What Home Assistant is told so that it shows the cameras: MQTT discovery, component form.

Each entity has a retained configuration of its own, a form that every version understands. One
device stands for the gateway and one for each camera, hung below it.

A camera's sensors are available only while all of this holds: the gateway is there (its last
will says when it is not), the camera's source gives pictures, and somebody answered its last
frame. The last needs a rule of its own: a text sensor takes the word "None" for a label
in Home Assistant before 2024.10 and ignores an empty one in every version, so without it a
`no_answer` would leave the last label standing, as if that were still seen.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from broker.payloads import OFFLINE, ONLINE
from broker.topics import Topics

# What the label sensor shows for a guess below the camera's min_confidence; the guess itself is
# in its attributes, where no automation on the state finds it.
UNSURE = "unsure"

_ANSWERED_TEMPLATE = (
    "{{ 'offline' if value_json.status == 'no_answer' else 'online' }}"  # ONLINE, OFFLINE
)
_LABEL_TEMPLATE = (
    "{% if value_json.status == 'answered' %}{{ value_json.label[:255] }}"
    "{% elif value_json.status == 'unsure' %}" + UNSURE + "{% else %}None{% endif %}"
)
_CONFIDENCE_TEMPLATE = (
    "{% if value_json.confidence is number %}{{ (value_json.confidence * 100) | round(1) }}"
    "{% else %}None{% endif %}"
)

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Announced:
    """A camera as Home Assistant is to show it."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """One retained message under Home Assistant's discovery prefix."""

    topic: str
    config: Config

    @property
    def payload(self) -> bytes:
        """The configuration as JSON."""
        return json.dumps(self.config, separators=(",", ":")).encode()


def announcements(
    topics: Topics, cameras: Iterable[Announced], *, discovery_prefix: str, version: str
) -> list[Announcement]:
    """Return what to publish, the gateway's entity first because the cameras refer to it.

    Args:
        topics: the gateway's.
        cameras: all of them.
        discovery_prefix: Home Assistant's, `homeassistant` unless changed there.
        version: of this software.
    """
    node_id = f"{topics.prefix}-{topics.gateway}"
    origin = {"name": "idlesight", "sw_version": version}
    found = [
        Announcement(
            f"{discovery_prefix}/binary_sensor/{node_id}/gateway/config",
            _gateway_config(topics, version) | {"origin": origin},
        )
    ]
    for camera in cameras:
        for part, config in (
            ("label", _label_config(topics, camera)),
            ("confidence", _confidence_config(topics, camera)),
        ):
            found.append(
                Announcement(
                    f"{discovery_prefix}/sensor/{node_id}/{camera.id}_{part}/config",
                    config | {"origin": origin},
                )
            )
    return found


def _unique_id(topics: Topics, *parts: str) -> str:
    # A dot is in no id, so that two different entities never get the same one.
    return ".".join((topics.prefix, topics.gateway, *parts))


def _gateway_config(topics: Topics, version: str) -> Config:
    return {
        "name": "Connection",
        "unique_id": _unique_id(topics, "gateway"),
        "state_topic": topics.status,
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "qos": 1,
        "device": {
            "identifiers": [_unique_id(topics)],
            "name": f"idlesight {topics.gateway}",
            "manufacturer": "idlesight",
            "model": "Gateway",
            "sw_version": version,
        },
    }


def _label_config(topics: Topics, camera: Announced) -> Config:
    return _camera_config(topics, camera, "label") | {
        "name": "Label",
        "icon": "mdi:eye-outline",
        "value_template": _LABEL_TEMPLATE,
        "json_attributes_topic": topics.result(camera.id),
    }


def _confidence_config(topics: Topics, camera: Announced) -> Config:
    return _camera_config(topics, camera, "confidence") | {
        "name": "Confidence",
        "icon": "mdi:gauge",
        "value_template": _CONFIDENCE_TEMPLATE,
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "suggested_display_precision": 0,
    }


def _camera_config(topics: Topics, camera: Announced, part: str) -> Config:
    result = topics.result(camera.id)
    return {
        "unique_id": _unique_id(topics, camera.id, part),
        "state_topic": result,
        "qos": 1,
        "availability_mode": "all",
        "availability": [
            {"topic": topics.status},
            {"topic": topics.camera_status(camera.id)},
            {"topic": result, "value_template": _ANSWERED_TEMPLATE},
        ],
        "device": {
            "identifiers": [_unique_id(topics, camera.id)],
            "name": camera.name or _in_words(camera.id),
            "manufacturer": "idlesight",
            "model": "Camera",
            "via_device": _unique_id(topics),
        },
    }


def _in_words(camera: str) -> str:
    words = camera.replace("_", " ").replace("-", " ").split()
    text = " ".join(words) or camera
    return text[0].upper() + text[1:]
