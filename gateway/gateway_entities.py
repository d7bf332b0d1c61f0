"""What Home Assistant shows of the gateway itself."""

import json

from broker.payloads import OFFLINE, ONLINE
from broker.topics import Topics
from gateway.entities import Device, Entity, gateway_here, slug


def gateway_device(topics: Topics, version: str) -> Device:
    """Return the gateway's device with its entities; the other devices hang below it."""
    connection = {
        "name": "Connection",
        "state_topic": topics.status,
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "qos": 1,
    }
    nodes = {
        "name": "Nodes online",
        "icon": "mdi:lan-connect",
        "state_topic": topics.gateway_state,
        "value_template": "{{ value_json.nodes_online }}",
        "json_attributes_topic": topics.gateway_state,
        "state_class": "measurement",
        "qos": 1,
        **gateway_here(topics),
    }
    announce = {
        "name": "Announce again",
        "icon": "mdi:bullhorn-outline",
        "command_topic": topics.gateway_set,
        "payload_press": json.dumps({"announce": True}),
        "entity_category": "config",
        "qos": 1,
        **gateway_here(topics),
    }
    return Device(
        topic_id="gateway",
        path=(),
        entity_id=slug("idlesight", topics.gateway),
        info={
            "name": f"idlesight {topics.gateway}",
            "manufacturer": "idlesight",
            "model": "Gateway",
            "sw_version": version,
        },
        entities=(
            Entity("binary_sensor", "gateway", connection),
            Entity("sensor", "nodes_online", nodes),
            Entity("button", "announce", announce),
        ),
    )
