"""What Home Assistant shows of a node: all of it comes from the node's own topics."""

import json
from collections.abc import Iterable

from broker.payloads import OFFLINE, ONLINE, NodeState
from broker.topics import Topics
from gateway.entities import Config, Device, Entity, in_words, slug, unique_id

STATES = ("working", "paused", "starting", "unassigned", "failed")

# A device without a battery or a thermal sensor gets no entity for it.
OPTIONAL = ("temperature", "battery")


def offered(state: NodeState) -> frozenset[str]:
    """Return which of the optional entities a node's state has a value for."""
    values = {"temperature": state.temperature_c, "battery": state.battery}
    return frozenset(name for name, value in values.items() if value is not None)


def node_device(topics: Topics, node: str, optional: Iterable[str] = ()) -> Device:
    """Return a node's device with its entities.

    Args:
        topics: the gateway's.
        node: its name.
        optional: which of the optional ones it has.
    """
    shown = set(optional)
    entities = [
        _connection(topics, node),
        *_sensors(topics, node),
        *(one for one in _optional(topics, node) if one.key in shown),
        _pause(topics, node),
    ]
    return Device(
        topic_id=f"node-{node}",
        path=("node", node),
        entity_id=slug("node", node),
        info={
            "name": in_words(node),
            "manufacturer": "idlesight",
            "model": "Node",
            "via_device": unique_id(topics),
        },
        entities=tuple(entities),
    )


def _connection(topics: Topics, node: str) -> Entity:
    config = {
        "name": "Connection",
        "state_topic": topics.node_status(node),
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "qos": 1,
    }
    return Entity("binary_sensor", "connection", config)


def _sensors(topics: Topics, node: str) -> list[Entity]:
    state = topics.node_state(node)
    base = _base(topics, node)
    measured = base | {"state_class": "measurement", "entity_category": "diagnostic"}
    return [
        Entity(
            "sensor",
            "state",
            base
            | {
                "name": "State",
                "icon": "mdi:sleep",
                "device_class": "enum",
                "options": list(STATES),
                "value_template": "{{ value_json.state }}",
                "json_attributes_topic": state,
                "json_attributes_template": (
                    "{{ {'reason': value_json.reason, 'cause': value_json.cause} | tojson }}"
                ),
            },
        ),
        Entity(
            "sensor",
            "variant",
            base
            | {
                "name": "Variant",
                "icon": "mdi:brain",
                "entity_category": "diagnostic",
                "value_template": "{{ value_json.variant or 'none' }}",
            },
        ),
        Entity(
            "sensor",
            "inference",
            measured
            | {
                "name": "Inference time",
                "device_class": "duration",
                "unit_of_measurement": "ms",
                "suggested_display_precision": 1,
                "value_template": "{{ value_json.inference_ms_p50 }}",
            },
        ),
        Entity(
            "sensor",
            "foreign_cpu",
            measured
            | {
                "name": "Processor used by others",
                "icon": "mdi:cpu-64-bit",
                "unit_of_measurement": "%",
                "suggested_display_precision": 0,
                "value_template": _percent("foreign_cpu"),
            },
        ),
    ]


def _optional(topics: Topics, node: str) -> list[Entity]:
    measured = _base(topics, node) | {
        "state_class": "measurement",
        "entity_category": "diagnostic",
    }
    return [
        Entity(
            "sensor",
            "temperature",
            measured
            | {
                "name": "Temperature",
                "device_class": "temperature",
                "unit_of_measurement": "°C",
                "suggested_display_precision": 0,
                "value_template": "{{ value_json.temperature_c }}",
            },
        ),
        Entity(
            "sensor",
            "battery",
            measured
            | {
                "name": "Battery",
                "device_class": "battery",
                "unit_of_measurement": "%",
                "suggested_display_precision": 0,
                "value_template": _percent("battery"),
            },
        ),
    ]


def _pause(topics: Topics, node: str) -> Entity:
    config = _base(topics, node) | {
        "name": "Pause",
        "icon": "mdi:pause-circle-outline",
        "command_topic": topics.node_set(node),
        "value_template": "{{ 'on' if value_json.paused_by_hand else 'off' }}",
        "state_on": "on",
        "state_off": "off",
        "payload_on": json.dumps({"paused": True}),
        "payload_off": json.dumps({"paused": False}),
    }
    return Entity("switch", "pause", config)


def _base(topics: Topics, node: str) -> Config:
    return {
        "state_topic": topics.node_state(node),
        "qos": 1,
        "availability_mode": "all",
        "availability": [{"topic": topics.node_status(node)}],
    }


def _percent(field: str) -> str:
    return (
        f"{{% if value_json.{field} is number %}}{{{{ (value_json.{field} * 100) | round(1) }}}}"
        "{% else %}None{% endif %}"
    )
