"""Both forms of discovery, held against what Home Assistant takes."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.payloads import DEADLINE_LIMITS_MS, NodeState
from broker.topics import Topics, matches
from gateway.camera_entities import Announced, camera_device, watched
from gateway.discovery import (
    Announcement,
    Form,
    announcements,
    read_standing,
    topic_filters,
    without,
)
from gateway.entities import Device, label_key
from gateway.gateway_entities import gateway_device
from gateway.node_entities import OPTIONAL, node_device, offered

TOPICS = Topics("home")
IDS = st.text("ABab01_-", min_size=1, max_size=6)
CAMERA = Announced("front_door", watch=("person", "Golden Retriever"), image=True)


def devices(*cameras: Announced, nodes: tuple[str, ...] = ()) -> list[Device]:
    return [
        gateway_device(TOPICS, "1.2"),
        *(camera_device(TOPICS, camera) for camera in cameras),
        *(node_device(TOPICS, node, OPTIONAL) for node in nodes),
    ]


def announce(form: Form, shown: list[Device]) -> list[Announcement]:
    return announcements(TOPICS, shown, form=form, discovery_prefix="homeassistant", version="1.2")


def component(*cameras: Announced, nodes: tuple[str, ...] = ()) -> dict[str, Any]:
    found = announce("component", devices(*cameras, nodes=nodes))
    return {one.topic: json.loads(one.payload) for one in found}


def device(*cameras: Announced, nodes: tuple[str, ...] = ()) -> dict[str, Any]:
    found = announce("device", devices(*cameras, nodes=nodes))
    return {one.topic: json.loads(one.payload) for one in found}


ANSWERED = "{{ 'offline' if value_json.status == 'no_answer' else 'online' }}"
HERE = [
    {"topic": "idlesight/home/status"},
    {"topic": "idlesight/home/cameras/front_door/status"},
]


def test_what_home_assistant_is_told_of_a_label() -> None:
    topic = "homeassistant/sensor/idlesight-home/camera-label-front_door/config"
    result = "idlesight/home/cameras/front_door/result"
    assert component(CAMERA)[topic] == {
        "name": "Label",
        "icon": "mdi:eye-outline",
        "unique_id": "idlesight.home.front_door.label",
        "object_id": "front_door_label",
        "default_entity_id": "sensor.front_door_label",
        "state_topic": result,
        "json_attributes_topic": result,
        "value_template": (
            "{% if value_json.status == 'answered' %}{{ value_json.label[:255] }}"
            "{% elif value_json.status == 'unsure' %}unsure{% else %}None{% endif %}"
        ),
        "qos": 1,
        "availability_mode": "all",
        "availability": [*HERE, {"topic": result, "value_template": ANSWERED}],
        "device": {
            "identifiers": ["idlesight.home.front_door"],
            "name": "Front door",
            "manufacturer": "idlesight",
            "model": "Camera",
            "via_device": "idlesight.home",
        },
        "origin": {"name": "idlesight", "sw_version": "1.2"},
    }


def test_what_home_assistant_is_told_of_a_watched_label() -> None:
    found = component(CAMERA)
    root = "homeassistant/{}/idlesight-home/camera-{}_person-front_door/config"
    seen = found[root.format("binary_sensor", "seen")]
    state = "idlesight/home/cameras/front_door/state"
    assert seen["state_topic"] == state
    assert seen["device_class"] == "occupancy"
    assert seen["availability"] == [*HERE, {"topic": state, "value_template": ANSWERED}]
    assert seen["value_template"] == (
        "{% if value_json.status == 'unsure' or value_json.status == 'unknown' and "
        '(value_json.previous_label == "person" or '
        "value_json.previous_status in ['unsure', 'no_answer']) %}None"
        '{% elif value_json.label == "person" %}ON{% else %}OFF{% endif %}'
    )
    trigger = found[root.format("device_automation", "recognized")]
    assert {key: value for key, value in trigger.items() if key not in ("device", "origin")} == {
        "automation_type": "trigger",
        "type": "recognized",
        "subtype": "person",
        "topic": "idlesight/home/cameras/front_door/event",
        "value_template": (
            "{{ value_json.label if value_json.event_type == 'recognized' else '' }}"
        ),
        "payload": "person",
        "qos": 1,
    }


# Components, and what each of them needs, in Home Assistant's documentation of MQTT discovery.
NEEDS = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "switch": {"command_topic", "state_topic", "payload_on", "payload_off"},
    "number": {"command_topic", "state_topic", "min", "max", "step"},
    "button": {"command_topic", "payload_press"},
    "event": {"state_topic", "event_types"},
    "image": {"image_topic"},
    "device_automation": {"automation_type", "type", "subtype", "topic", "payload"},
}
TOPIC = {"type": "string", "pattern": r"^idlesight/home/[A-Za-z0-9_/-]+$"}
TOPIC_KEYS = ("state_topic", "command_topic", "json_attributes_topic", "image_topic", "topic")
AVAILABILITY = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"topic": TOPIC, "value_template": {"type": "string"}},
        "required": ["topic"],
        "additionalProperties": False,
    },
}
ENTITY = {
    "type": "object",
    "properties": {
        "p": {"enum": sorted(NEEDS)},
        "availability": AVAILABILITY,
        "availability_mode": {"const": "all"},
        "qos": {"enum": [0, 1]},
        "retain": False,
        "entity_category": {"enum": ["config", "diagnostic"]},
        "unique_id": {"type": "string", "pattern": r"^idlesight\.home(\.[A-Za-z0-9_-]+)+$"},
        "default_entity_id": {"type": "string", "pattern": r"^[a-z_]+\.[a-z0-9_]+$"},
        "object_id": {"type": "string", "pattern": r"^[a-z0-9_]+$"},
        "name": {"type": "string", "minLength": 1, "maxLength": 64},
    }
    | dict.fromkeys(
        ("state_topic", "command_topic", "json_attributes_topic", "image_topic", "topic"), TOPIC
    ),
    "required": ["p"],
    "allOf": [
        {
            "if": {"properties": {"p": {"const": platform}}},
            "then": {"required": sorted(needs)},
        }
        for platform, needs in NEEDS.items()
    ]
    + [
        {
            "if": {"properties": {"p": {"not": {"const": "device_automation"}}}},
            "then": {"required": ["unique_id", "default_entity_id", "object_id", "name"]},
            "else": {"not": {"required": ["unique_id"]}},
        },
        {
            "if": {"required": ["availability"]},
            "then": {"required": ["availability_mode"]},
        },
    ],
}
DEVICE = {
    "type": "object",
    "properties": {
        "dev": {
            "type": "object",
            "properties": {
                "identifiers": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                },
                "name": {"type": "string", "minLength": 1},
                "manufacturer": {"type": "string"},
                "model": {"type": "string"},
                "sw_version": {"type": "string"},
                "via_device": {"const": "idlesight.home"},
            },
            "required": ["identifiers", "name"],
            "additionalProperties": False,
        },
        "o": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "sw_version": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
        "cmps": {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]+$"},
            "minProperties": 1,
            "additionalProperties": ENTITY,
        },
    },
    "required": ["dev", "o", "cmps"],
    "additionalProperties": False,
}


def test_the_device_form_is_as_the_documentation_says() -> None:
    jsonschema.Draft202012Validator.check_schema(DEVICE)
    found = device(CAMERA, Announced("yard"), nodes=("tablet", "NAS-2"))
    assert list(found) == [
        f"homeassistant/device/idlesight-home-{name}/config"
        for name in ("gateway", "camera-front_door", "camera-yard", "node-tablet", "node-NAS-2")
    ]
    for config in found.values():
        jsonschema.validate(config, DEVICE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda config: config.pop("o"),
        lambda config: config["cmps"]["label"].pop("p"),
        lambda config: config["cmps"]["label"].pop("state_topic"),
        lambda config: config["cmps"]["label"].pop("unique_id"),
        lambda config: config["cmps"]["label"].update(retain=True),
        lambda config: config["cmps"].update({"über": {"p": "sensor"}}),
        lambda config: config["cmps"]["deadline"].pop("command_topic"),
    ],
)
def test_the_schema_refuses_what_home_assistant_would(spoil: Any) -> None:
    config = device(CAMERA)["homeassistant/device/idlesight-home-camera-front_door/config"]
    spoil(config)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, DEVICE)


def test_both_forms_say_the_same() -> None:
    apart = component(CAMERA, nodes=("tablet",))
    together = device(CAMERA, nodes=("tablet",))
    entities = [
        {"platform": one.pop("p")} | one | {"device": whole["dev"], "origin": whole["o"]}
        for whole in together.values()
        for one in whole["cmps"].values()
    ]
    assert entities == [
        {"platform": topic.split("/")[1]} | config for topic, config in apart.items()
    ]


def test_topics_and_ids_have_home_assistants_alphabet() -> None:
    pattern = re.compile(
        r"homeassistant/[a-z_]+/([A-Za-z0-9_-]+/)?[A-Za-z0-9_-]+/config"  # its own matcher
    )
    apart = announce("component", devices(CAMERA, nodes=("n",)))
    together = announce("device", devices(CAMERA, nodes=("n",)))
    assert all(pattern.fullmatch(one.topic) for one in (*apart, *together))


@given(
    st.lists(IDS, unique=True, max_size=6),
    st.lists(IDS, unique=True, max_size=6),
    st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=5),
)
def test_ids_and_topics_of_different_things_never_meet(
    cameras: list[str], nodes: list[str], labels: list[str]
) -> None:
    shown = devices(
        *(Announced(name, watch=tuple(labels), image=True) for name in cameras),
        nodes=tuple(nodes),
    )
    expected = sum(len(one.entities) for one in shown)
    apart = announce("component", shown)
    assert len({one.topic for one in apart}) == expected
    ids = [one.config["unique_id"] for one in apart if "unique_id" in one.config]
    assert len(set(ids)) == len(ids)
    assert len({one.topic for one in announce("device", shown)}) == len(shown)
    assert len({one.config["device"]["identifiers"][0] for one in apart}) == len(shown)
    assert sum(len(one.config["cmps"]) for one in announce("device", shown)) == expected


def test_the_device_others_refer_to_comes_first() -> None:
    first = next(iter(component(Announced("a"), nodes=("b",)).values()))
    assert first["device"]["identifiers"] == ["idlesight.home"]


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
    assert camera_device(TOPICS, camera).info["name"] == name


@pytest.mark.parametrize(
    ("wanted", "labels", "found"),
    [
        (None, ("bus", "cat", "person"), ("person", "cat")),
        (None, ("7", "8"), ()),
        ([], ("cat",), ()),
        (["bus", "cat", "bus"], ("bus", "cat"), ("bus", "cat")),
    ],
)
def test_labels_that_are_watched(
    wanted: list[str] | None, labels: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert watched(wanted, labels) == found


def test_label_keys() -> None:
    assert label_key("person") == "person"
    assert re.fullmatch(r"golden_retriever_[0-9a-f]{8}", label_key("Golden Retriever"))
    assert label_key("golden retriever") != label_key("Golden Retriever")
    assert re.fullmatch(r"_[0-9a-f]{8}", label_key("犬"))


def test_a_node_has_entities_for_what_it_measures() -> None:
    state = NodeState(node="n", state="paused", temperature_c=40.0, version="1")
    assert offered(state) == {"temperature"}
    keys = [one.key for one in node_device(TOPICS, "n", offered(state)).entities]
    assert keys == [
        "connection",
        "state",
        "variant",
        "inference",
        "foreign_cpu",
        "temperature",
        "pause",
    ]


def test_the_deadline_has_the_limits_of_the_command() -> None:
    (number,) = (one for one in camera_device(TOPICS, CAMERA).entities if one.key == "deadline")
    assert (number.config["min"], number.config["max"]) == DEADLINE_LIMITS_MS


def test_no_picture_unless_it_is_published() -> None:
    plain = camera_device(TOPICS, Announced("a"))
    assert "image" not in {one.component for one in plain.entities}


@pytest.mark.parametrize("form", ["component", "device"])
def test_own_messages_are_known_again(form: Form) -> None:
    filters = topic_filters(TOPICS, "homeassistant")
    for one in announce(form, devices(CAMERA, nodes=("n",))):
        assert any(matches(topic_filter, one.topic) for topic_filter in filters)
        standing = read_standing(TOPICS, one.payload)
        assert standing is not None
        assert standing.form == form
        assert standing.unique_id == one.config.get("unique_id")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{not json",
        b"\xff",
        b"[]",
        b"{}",
        b'{"device": {}}',
        b'{"device": {"identifiers": "idlesight.home"}}',
        b'{"device": {"identifiers": [7]}}',
        b'{"device": {"identifiers": ["zigbee2mqtt_0x1"]}}',
        b'{"device": {"identifiers": ["idlesight.home2.porch"]}}',
        b'{"dev": {"identifiers": ["idlesight.ho"]}, "cmps": {}}',
        b"[" * 100_000,
    ],
)
def test_messages_of_others_are_not_ours(payload: bytes) -> None:
    assert read_standing(TOPICS, payload) is None


def test_a_component_that_went_is_named_with_its_platform_alone() -> None:
    (one,) = announce("device", [gateway_device(TOPICS, "1")])
    config = json.loads(without(one.payload, {"old": "switch"}))
    assert config["cmps"].pop("old") == {"p": "switch"}
    assert config == one.config
