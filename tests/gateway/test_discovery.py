import json
import re

import pytest

from broker.topics import Topics
from gateway.discovery import Announced, announcements

TOPICS = Topics("home")


def announced(*cameras: Announced) -> dict[str, dict[str, object]]:
    found = announcements(TOPICS, cameras, discovery_prefix="homeassistant", version="1.2")
    return {entry.topic: json.loads(entry.payload) for entry in found}


ORIGIN = {"name": "idlesight", "sw_version": "1.2"}
AVAILABILITY = [
    {"topic": "idlesight/home/status"},
    {"topic": "idlesight/home/cameras/front_door/status"},
    {
        "topic": "idlesight/home/cameras/front_door/result",
        "value_template": "{{ 'offline' if value_json.status == 'no_answer' else 'online' }}",
    },
]
CAMERA_DEVICE = {
    "identifiers": ["idlesight.home.front_door"],
    "name": "Front door",
    "manufacturer": "idlesight",
    "model": "Camera",
    "via_device": "idlesight.home",
}


def test_what_home_assistant_is_told() -> None:
    assert announced(Announced("front_door")) == {
        "homeassistant/binary_sensor/idlesight-home/gateway/config": {
            "name": "Connection",
            "unique_id": "idlesight.home.gateway",
            "state_topic": "idlesight/home/status",
            "payload_on": "online",
            "payload_off": "offline",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "qos": 1,
            "device": {
                "identifiers": ["idlesight.home"],
                "name": "idlesight home",
                "manufacturer": "idlesight",
                "model": "Gateway",
                "sw_version": "1.2",
            },
            "origin": ORIGIN,
        },
        "homeassistant/sensor/idlesight-home/front_door_label/config": {
            "name": "Label",
            "icon": "mdi:eye-outline",
            "unique_id": "idlesight.home.front_door.label",
            "state_topic": "idlesight/home/cameras/front_door/result",
            "json_attributes_topic": "idlesight/home/cameras/front_door/result",
            "value_template": (
                "{% if value_json.status == 'answered' %}{{ value_json.label[:255] }}"
                "{% elif value_json.status == 'unsure' %}unsure{% else %}None{% endif %}"
            ),
            "qos": 1,
            "availability_mode": "all",
            "availability": AVAILABILITY,
            "device": CAMERA_DEVICE,
            "origin": ORIGIN,
        },
        "homeassistant/sensor/idlesight-home/front_door_confidence/config": {
            "name": "Confidence",
            "icon": "mdi:gauge",
            "unique_id": "idlesight.home.front_door.confidence",
            "state_topic": "idlesight/home/cameras/front_door/result",
            "value_template": (
                "{% if value_json.confidence is number %}"
                "{{ (value_json.confidence * 100) | round(1) }}{% else %}None{% endif %}"
            ),
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "qos": 1,
            "availability_mode": "all",
            "availability": AVAILABILITY,
            "device": CAMERA_DEVICE,
            "origin": ORIGIN,
        },
    }


def test_the_device_others_refer_to_comes_first() -> None:
    first = next(iter(announced(Announced("a"), Announced("b")).values()))
    assert isinstance(first["device"], dict)
    assert first["device"]["identifiers"] == ["idlesight.home"]


def test_ids_and_topics_of_different_cameras_never_meet() -> None:
    cameras = [Announced(name) for name in ("a", "a_label", "a_confidence", "a-b", "A", "_", "-")]
    found = announced(*cameras)
    assert len(found) == 1 + 2 * len(cameras)
    assert len({config["unique_id"] for config in found.values()}) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_/-]+", topic) for topic in found)


@pytest.mark.parametrize(
    ("camera", "name"),
    [
        (Announced("front_door"), "Front door"),
        (Announced("garage-2"), "Garage 2"),
        (Announced("_"), "_"),
        (Announced("cam1", "Über der Tür"), "Über der Tür"),
    ],
)
def test_a_camera_has_a_name_for_people(camera: Announced, name: str) -> None:
    device = list(announced(camera).values())[1]["device"]
    assert isinstance(device, dict)
    assert device["name"] == name
