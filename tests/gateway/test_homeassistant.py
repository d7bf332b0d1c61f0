"""What stands on the broker for Home Assistant, as cameras, nodes and settings come and go."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from tests.gateway.conftest import House, Memory

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]


def cameras(house: "House", *names: str) -> dict[str, Any]:
    camera = {"source": house.pictures(2), "fps": 20, "loop": True, "deadline_ms": 40}
    return {name: camera | {"watch": ["label4"]} for name in names}


def discovery(memory: "Memory") -> dict[str, Any]:
    return {
        topic: json.loads(message.payload)
        for topic, message in memory.retained.items()
        if topic.startswith("homeassistant/")
    }


def devices(memory: "Memory") -> set[str]:
    found = discovery(memory).values()
    return {one.get("device", one.get("dev"))["identifiers"][0] for one in found}


async def run_until(
    house: "House", gateway: "Gateway", until_true: Until, condition: Callable[[], bool]
) -> None:
    task = house.spawn(gateway.run())
    await until_true(condition)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("form", ["component", "device"])
async def test_removing_a_camera_clears_its_topics(
    house: "House", memory: "Memory", until_true: Until, form: str
) -> None:
    both = house.gateway(cameras(house, "porch", "yard"), discovery=form)
    root = "idlesight/home/cameras/yard/"
    leaves = {"result", "status", "health", "state", "settings"}
    await run_until(
        house,
        both,
        until_true,
        lambda: (
            {f"{root}{leaf}" for leaf in leaves} <= memory.retained.keys()
            and "idlesight.home.yard" in devices(memory)
        ),
    )
    one = house.gateway(cameras(house, "porch"), discovery=form)
    await run_until(
        house,
        one,
        until_true,
        lambda: (
            not any(topic.startswith(root) for topic in memory.retained)
            and "idlesight.home.yard" not in devices(memory)
        ),
    )
    assert devices(memory) == {"idlesight.home", "idlesight.home.porch"}
    assert "idlesight/home/cameras/porch/result" in memory.retained


async def test_a_node_is_shown_and_stays_while_it_is_away(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("tablet", "V1")
    gateway = house.gateway(cameras(house, "porch"))
    house.spawn(gateway.run())
    await until_true(lambda: "idlesight.home.node.tablet" in devices(memory))
    battery = "homeassistant/sensor/idlesight-home/node-battery-tablet/config"
    assert battery not in memory.retained
    await node.say_state(battery=0.5)
    await until_true(lambda: battery in memory.retained)
    await node.say_state()  # a value that is missing for a moment
    memory.broker.cut(node.client_id)
    await until_true(lambda: not gateway.roster.working)
    assert battery in memory.retained


async def test_a_node_that_is_gone_for_good_is_cleared(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("tablet", None, fixed=False, phase="unassigned")
    house.spawn(house.gateway(cameras(house, "porch")).run())
    root = "idlesight/home/nodes/tablet/"
    await until_true(lambda: f"{root}assignment" in memory.retained)
    await until_true(lambda: "idlesight.home.node.tablet" in devices(memory))
    memory.sessions[node.client_id].broken(publish_will=False)
    memory.publish(f"{root}status", b"", retain=True)
    await until_true(lambda: "idlesight.home.node.tablet" not in devices(memory))
    await until_true(lambda: not any(topic.startswith(root) for topic in memory.retained))
    memory.broker.restore(node.client_id)  # after all
    await until_true(lambda: "idlesight.home.node.tablet" in devices(memory))
    await until_true(lambda: f"{root}assignment" in memory.retained)


async def test_a_restart_keeps_the_nodes_that_stand_there(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("tablet", "V1")
    shown: Callable[[], bool] = lambda: "idlesight.home.node.tablet" in devices(memory)  # noqa: E731
    await run_until(house, house.gateway(cameras(house, "porch")), until_true, shown)
    stood = discovery(memory)
    count = len(memory.log)
    again = house.gateway(cameras(house, "porch"))
    await run_until(house, again, until_true, lambda: again.counts["frames.published"] >= 5)
    assert discovery(memory) == stood
    published = [one.topic for one in memory.log[count:] if one.topic.startswith("homeassistant")]
    assert published == []  # what stands there needs no second message


@pytest.mark.parametrize(("old", "new"), [("component", "device"), ("device", "component")])
async def test_a_move_to_the_other_form_keeps_its_order(
    house: "House", memory: "Memory", until_true: Until, old: str, new: str
) -> None:
    device = "homeassistant/device/idlesight-home-camera-porch/config"
    single = "homeassistant/sensor/idlesight-home/camera-label-porch/config"
    before, after = (single, device) if old == "component" else (device, single)
    first = house.gateway(cameras(house, "porch"), discovery=old)
    await run_until(house, first, until_true, lambda: before in memory.retained)
    count = len(memory.log)
    second = house.gateway(cameras(house, "porch"), discovery=new)
    await run_until(
        house,
        second,
        until_true,
        lambda: after in memory.retained and before not in memory.retained,
    )
    moved = [one for one in memory.log[count:] if one.topic in (before, after)]
    assert [(one.topic, bool(one.retain)) for one in moved] == [
        (before, False),
        (after, True),
        (before, True),
    ]
    assert json.loads(moved[0].payload) == {"migrate_discovery": True}
    assert moved[2].payload == b""


async def test_a_broker_that_keeps_our_status_from_us_keeps_us_from_nothing(
    house: "House",
    memory: "Memory",
    until_true: Until,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = house.link

    def unreadable(*args: Any, subscriptions: Any = (), **options: Any) -> Any:
        readable = [one for one in subscriptions if one[0] != "idlesight/home/status"]
        return link(*args, subscriptions=readable, **options)

    house.link = unreadable
    monkeypatch.setattr("gateway.announcer.ECHO_TIMEOUT_S", 0.05)
    gateway = house.gateway(cameras(house, "porch"))
    await run_until(house, gateway, until_true, lambda: "idlesight.home.porch" in devices(memory))
    assert "let the gateway's login read its own topics" in caplog.text


async def test_discovery_off_takes_away_what_was_announced_and_nothing_else(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    other = "homeassistant/device/zigbee2mqtt_0x1/config"
    memory.publish(other, b'{"dev": {"identifiers": ["0x1"]}, "cmps": {}}', retain=True)
    on = house.gateway(cameras(house, "porch"), discovery="device")
    await run_until(house, on, until_true, lambda: len(discovery(memory)) == 3)
    off = house.gateway(cameras(house, "porch"), discovery="off")
    await run_until(house, off, until_true, lambda: set(discovery(memory)) == {other})


async def test_nothing_that_fires_is_retained_and_a_label_begins_as_off(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    gateway = house.gateway(cameras(house, "porch"))
    event = "idlesight/home/cameras/porch/event"
    await run_until(house, gateway, until_true, lambda: bool(memory.sent(event)))
    assert event not in memory.retained
    first = json.loads(memory.sent("idlesight/home/cameras/porch/state")[0])
    # Which the binary sensor's template makes "off" of.
    assert (first["status"], first["label"]) == ("unknown", None)
