"""What Home Assistant shows of a camera.

A camera's sensors are available only while the gateway is there (its last will says when it is
not), the camera's source gives pictures, and somebody answered its last frame. The last
needs a rule of its own: a text sensor takes the word "None" for a label in Home Assistant before
2024.10 and ignores an empty one in every version, so without it a `no_answer` would leave the
last label standing, as if that were still seen.

The watched labels' binary sensors follow the steady state. They are off while another label is
seen and in the beginning; unknown while the nodes are unsure, and after a restart of the gateway
unless they were off before; unavailable while none answers. So neither doubt nor silence nor a
restart can look like an empty place.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from broker.payloads import DEADLINE_LIMITS_MS
from broker.topics import Topics
from gateway.entities import (
    Config,
    Device,
    Entity,
    gateway_here,
    in_words,
    label_key,
    slug,
    unique_id,
)

# What the label sensor shows for a guess below the camera's min_confidence; the guess itself is
# in its attributes, where no automation on the state finds it.
UNSURE = "unsure"

# What homes watch for, where the settings do not say.
USUAL_LABELS = ("person", "cat", "dog", "animal", "car")

EVENT_TYPES = ("recognized", "unsure", "no_answer")

_ANSWERED = "{{ 'offline' if value_json.status == 'no_answer' else 'online' }}"
_LABEL = (
    "{% if value_json.status == 'answered' %}{{ value_json.label[:255] }}"
    "{% elif value_json.status == 'unsure' %}" + UNSURE + "{% else %}None{% endif %}"
)
_CONFIDENCE = (
    "{% if value_json.confidence is number %}{{ (value_json.confidence * 100) | round(1) }}"
    "{% else %}None{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Announced:
    """A camera as Home Assistant is to show it.

    Attributes:
        id: its own.
        name: what people call it; its id in words where absent.
        watch: the labels with a binary sensor and a trigger.
        image: whether the pictures that results are about are published.
    """

    id: str
    name: str | None = None
    watch: tuple[str, ...] = ()
    image: bool = False


def watched(wanted: Sequence[str] | None, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels to watch, each once: those wanted, or the usual ones that a pack knows."""
    if wanted is not None:
        return tuple(dict.fromkeys(wanted))
    return tuple(label for label in USUAL_LABELS if label in labels)


def camera_device(topics: Topics, camera: Announced) -> Device:
    """Return a camera's device with its entities."""
    entities = [*_of_results(topics, camera.id), *_controls(topics, camera.id)]
    entities.append(_event(topics, camera.id))
    for label in camera.watch:
        entities.append(_seen(topics, camera.id, label))
        entities.append(_trigger(topics, camera.id, label))
    if camera.image:
        entities.append(_image(topics, camera.id))
    return Device(
        topic_id=f"camera-{camera.id}",
        path=(camera.id,),
        entity_id=slug(camera.id),
        info={
            "name": camera.name or in_words(camera.id),
            "manufacturer": "idlesight",
            "model": "Camera",
            "via_device": unique_id(topics),
        },
        entities=tuple(entities),
    )


def _of_results(topics: Topics, camera: str) -> list[Entity]:
    result = topics.result(camera)
    answered = {"topic": result, "value_template": _ANSWERED}
    base: Config = {"state_topic": result, "qos": 1}
    return [
        Entity(
            "sensor",
            "label",
            base
            | _here(topics, camera, answered)
            | {
                "name": "Label",
                "icon": "mdi:eye-outline",
                "value_template": _LABEL,
                "json_attributes_topic": result,
            },
        ),
        Entity(
            "sensor",
            "confidence",
            base
            | _here(topics, camera, answered)
            | {
                "name": "Confidence",
                "icon": "mdi:gauge",
                "value_template": _CONFIDENCE,
                "unit_of_measurement": "%",
                "state_class": "measurement",
                "suggested_display_precision": 0,
            },
        ),
        Entity(
            "sensor",
            "latency",
            base
            | _here(topics, camera)
            | {
                "name": "Latency",
                "device_class": "duration",
                "unit_of_measurement": "ms",
                "state_class": "measurement",
                "suggested_display_precision": 0,
                "entity_category": "diagnostic",
                "value_template": "{{ value_json.latency_ms }}",
            },
        ),
        Entity(
            "sensor",
            "answered",
            base
            | _here(topics, camera)
            | {
                "name": "Answered",
                "icon": "mdi:account-voice",
                "entity_category": "diagnostic",
                "value_template": (
                    "{{ value_json.contributors | length }} of {{ value_json.expected }}"
                ),
            },
        ),
    ]


def _controls(topics: Topics, camera: str) -> list[Entity]:
    shortest_ms, longest_ms = DEADLINE_LIMITS_MS
    base = {
        "state_topic": topics.camera_settings(camera),
        "command_topic": topics.camera_set(camera),
        "qos": 1,
        "entity_category": "config",
        **gateway_here(topics),
    }
    return [
        Entity(
            "switch",
            "enabled",
            base
            | {
                "name": "Enabled",
                "icon": "mdi:cctv",
                "value_template": "{{ 'on' if value_json.enabled else 'off' }}",
                "state_on": "on",
                "state_off": "off",
                "payload_on": json.dumps({"enabled": True}),
                "payload_off": json.dumps({"enabled": False}),
            },
        ),
        Entity(
            "number",
            "deadline",
            base
            | {
                "name": "Deadline",
                "icon": "mdi:timer-outline",
                "min": shortest_ms,
                "max": longest_ms,
                "step": 10,
                "mode": "box",
                "unit_of_measurement": "ms",
                "value_template": "{{ value_json.deadline_ms }}",
                "command_template": '{"deadline_ms": {{ value | int }}}',
            },
        ),
        Entity(
            "number",
            "threshold",
            base
            | {
                "name": "Threshold",
                "icon": "mdi:percent-outline",
                "min": 0,
                "max": 100,
                "step": 1,
                "unit_of_measurement": "%",
                "value_template": "{{ (value_json.min_confidence * 100) | round(1) }}",
                "command_template": '{"min_confidence": {{ (value / 100) | round(4) }}}',
            },
        ),
    ]


def _event(topics: Topics, camera: str) -> Entity:
    config = _here(topics, camera) | {
        "name": "Event",
        "icon": "mdi:bell-outline",
        "state_topic": topics.camera_event(camera),
        "event_types": list(EVENT_TYPES),
        "qos": 1,
    }
    return Entity("event", "event", config)


def _seen(topics: Topics, camera: str, label: str) -> Entity:
    state = topics.camera_state(camera)
    answers = {"topic": state, "value_template": _ANSWERED}
    config = _here(topics, camera, answers) | {
        "name": in_words(label),
        "state_topic": state,
        "device_class": "occupancy",
        "value_template": (
            "{% if value_json.status == 'unsure' or value_json.status == 'unknown' and "
            "(value_json.previous_label == " + _quoted(label) + " or "
            "value_json.previous_status in ['unsure', 'no_answer']) %}None"
            "{% elif value_json.label == " + _quoted(label) + " %}ON{% else %}OFF{% endif %}"
        ),
        "qos": 1,
    }
    return Entity("binary_sensor", f"seen_{label_key(label)}", config)


def _trigger(topics: Topics, camera: str, label: str) -> Entity:
    config: Config = {
        "automation_type": "trigger",
        "type": "recognized",
        "subtype": label,
        "topic": topics.camera_event(camera),
        "value_template": (
            "{{ value_json.label if value_json.event_type == 'recognized' else '' }}"
        ),
        "payload": label,
        "qos": 1,
    }
    return Entity("device_automation", f"recognized_{label_key(label)}", config)


def _image(topics: Topics, camera: str) -> Entity:
    config = _here(topics, camera) | {
        "name": "Picture",
        "image_topic": topics.image(camera),
        "content_type": "image/jpeg",
    }
    return Entity("image", "picture", config)


def _here(topics: Topics, camera: str, *more: Config) -> Config:
    """Return the availability of what depends on the gateway, the camera and perhaps more."""
    topics_ = [{"topic": topics.status}, {"topic": topics.camera_status(camera)}]
    return {"availability_mode": "all", "availability": [*topics_, *more]}


def _quoted(text: str) -> str:
    # A Jinja string literal knows the escapes of Python's, which JSON's are among.
    return json.dumps(text, ensure_ascii=False)
