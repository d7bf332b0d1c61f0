"""What Home Assistant itself makes of our discovery, our states and its own commands."""

import asyncio
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from broker.session import Message, Session

if TYPE_CHECKING:
    from tests.gateway.conftest import House
    from tests.homeassistant.conftest import RealHomeAssistant

pytestmark = [pytest.mark.homeassistant, pytest.mark.mosquitto]

DEADLINE_MS = 2000


def cameras(house: "House", *names: str) -> dict[str, Any]:
    return {
        name: {
            "source": house.pictures(3),
            "fps": 5,
            "loop": True,
            "deadline_ms": DEADLINE_MS,
            "watch": ["label4", "label5"],
            "state": {"k": 2, "n": 3, "hold_s": 0},
        }
        for name in names
    }


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_home_assistant_shows_what_is_seen_and_commands_act(
    homeassistant: "RealHomeAssistant", real_house: "House"
) -> None:
    house, ha = real_house, homeassistant
    retained: dict[str, bytes] = {}

    def note(message: Message) -> None:
        retained[message.topic] = message.payload

    listener = Session(
        house.broker,
        client_id="listener",
        on_message=note,
        subscriptions=[("homeassistant/#", 1), ("idlesight/#", 1)],
    )
    house.spawn(listener.run())
    node = await house.node("tablet", "V1")
    node.label = 5
    await ha.wait_for(lambda: "idlesight/home/nodes/tablet/state" in retained)
    await node.say_state(temperature_c=41.0, battery=0.5, foreign_cpu=0.25)
    both = cameras(house, "porch", "yard")
    both["yard"]["image"] = True
    task = house.spawn(house.gateway(both).run(wait_for_nodes=1))

    # Every entity that was announced is there, and it said nothing against any of them.
    await ha.has("sensor.porch_label", "label5")
    await ha.has("sensor.node_tablet_battery", "50.0")
    configs = [
        json.loads(payload)
        for topic, payload in retained.items()
        if topic.startswith("homeassistant/") and topic.endswith("/config")
    ]
    entities = {one["default_entity_id"] for one in configs if "default_entity_id" in one}
    assert len(entities) == 3 + 2 * 10 + 1 + 8
    for entity in sorted(entities):
        assert (await ha.ask(entity))["known"], entity

    assert (await ha.ask("image.yard_picture"))["state"] not in ("unknown", "unavailable")
    await ha.add_device_trigger("hand", "sensor.porch_label", "label4")

    # A state change of the label reaches it, with what the result says.
    assert (await ha.has("binary_sensor.porch_seen_label4", "off"))["device_class"] == "occupancy"
    await ha.has("binary_sensor.porch_seen_label5", "on")
    node.label = 4
    await ha.has("binary_sensor.porch_seen_label4", "on")
    await ha.has("binary_sensor.porch_seen_label5", "off")
    attributes = await ha.has("sensor.porch_label", "label4")
    assert attributes["contributors"][0]["node"] == "tablet"
    assert attributes["top"][0]["label"] == "label4"
    await ha.has("sensor.porch_answered", "1 of 1")
    event = (await ha.ask("event.porch_event"))["attributes"]
    assert (event["event_type"], event["label"]) == ("recognized", "label4")
    await ha.wait_for(lambda: ha.fired.keys() >= {"lamp", "label", "hand"})
    assert (ha.fired["lamp"], ha.fired["hand"]) == (1, 1)

    # Commands act on the running gateway, and on the node.
    await ha.has("number.porch_deadline", str(DEADLINE_MS))
    await ha.call("number.set_value", "number.porch_deadline", value=1230)
    await ha.has("number.porch_deadline", "1230")
    await ha.call("number.set_value", "number.porch_threshold", value=35)
    await ha.has("number.porch_threshold", "35.0")
    await ha.wait_for(lambda: house.results[-1].deadline_ms == 1230)
    await ha.call("switch.turn_off", "switch.yard_enabled")
    await ha.has("switch.yard_enabled", "off")
    await ha.has("sensor.yard_label", "unavailable")
    await ha.call("switch.turn_on", "switch.node_tablet_pause")
    await ha.wait_for(lambda: "idlesight/home/nodes/tablet/set" in retained)
    assert json.loads(retained["idlesight/home/nodes/tablet/set"]) == {"paused": True}
    await ha.has("sensor.idlesight_home_nodes_online", "1")

    # Nobody answers: unavailable, never "off". With `not_from` nothing fires again on return.
    before = dict(ha.fired)
    node.answers = False
    await ha.has("binary_sensor.porch_seen_label4", "unavailable")
    await ha.has("sensor.porch_label", "unavailable")
    node.answers = True
    await ha.has("binary_sensor.porch_seen_label4", "on")
    await ha.has("sensor.porch_label", "label4")
    await ha.wait_for(lambda: ha.fired["trap"] > before["trap"])
    # Only now: an event that came before its entity was there is gone, and the next one is "from
    # unknown".
    await ha.wait_for(lambda: ha.fired["event"] > 0)
    assert (ha.fired["lamp"], ha.fired["label"]) == (before["lamp"], before["label"])

    # A gateway that is gone takes its cameras along; a removed camera's entities are no more.
    await stopped(task)
    await ha.has("sensor.porch_label", "unavailable")
    await ha.has("binary_sensor.idlesight_home_gateway", "off")
    await ha.has("binary_sensor.node_tablet_connection", "on")
    house.spawn(house.gateway(cameras(house, "porch")).run(wait_for_nodes=1))
    await ha.has("sensor.porch_label", "label4")
    await ha.has("binary_sensor.porch_seen_label4", "on")
    assert (ha.fired["lamp"], ha.fired["label"]) == (before["lamp"], before["label"])
    await ha.has("sensor.yard_label", "unknown")
    assert not (await ha.ask("sensor.yard_label"))["known"]

    complaints = [
        line
        for line in ha.log.read_text(errors="replace").splitlines()
        if re.search(r"(WARNING|ERROR).*(mqtt|template)", line, re.IGNORECASE)
    ]
    assert complaints == [], "\n".join(complaints)
