"""Commands to a running gateway, over the broker in memory."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.message import Message
from broker.payloads import CameraHealth, CameraSettingsInEffect, GatewayState, parse

if TYPE_CHECKING:
    from tests.gateway.conftest import House, Memory

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]

ROOT = "idlesight/home/cameras/porch"
LONG_MS = 60_000  # a deadline that no test waits for


def porch(house: "House", **settings: Any) -> dict[str, Any]:
    camera = {"source": house.pictures(3), "fps": 30, "loop": True, "deadline_ms": LONG_MS}
    return {"porch": camera | settings}


def settings(memory: "Memory") -> CameraSettingsInEffect:
    return parse(CameraSettingsInEffect, memory.retained[f"{ROOT}/settings"].payload)


def command(memory: "Memory", **values: Any) -> None:
    memory.publish(f"{ROOT}/set", json.dumps(values).encode())


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_deadline_and_threshold_hold_for_the_frames_that_follow(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    house.spawn(house.gateway(porch(house)).run(wait_for_nodes=1))
    await house.has_results(1, "answered")
    assert settings(memory) == CameraSettingsInEffect(
        camera="porch", enabled=True, deadline_ms=LONG_MS, min_confidence=0.5
    )
    command(memory, deadline_ms=12_345, min_confidence=0.99)
    await house.has_results(1, "unsure")
    assert house.results[-1].deadline_ms == 12_345
    assert node.frames[-1].deadline_ms == 12_345  # the nodes are told too
    await until_true(lambda: settings(memory).overridden == ["deadline_ms", "min_confidence"])
    command(memory, reset=True)
    before = len(house.results)
    await until_true(lambda: any(r.deadline_ms == LONG_MS for r in house.results[before:]))
    await until_true(lambda: settings(memory).overridden == [])


async def test_a_camera_that_is_off_sends_nothing_until_it_is_on(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    other = {"yard": porch(house)["porch"]}
    gateway = house.gateway(porch(house) | other)
    house.spawn(gateway.run(wait_for_nodes=1))
    await until_true(lambda: all(one.counts.taken for one in gateway.cameras.values()))
    command(memory, enabled=False)
    await until_true(lambda: memory.retained[f"{ROOT}/status"].payload == b"offline")

    def health() -> CameraHealth:
        return parse(CameraHealth, memory.retained[f"{ROOT}/health"].payload)

    await until_true(lambda: health().reason == "switched off")
    assert health().outages == 0
    porch_counts, yard_counts = (gateway.cameras[one].counts for one in ("porch", "yard"))
    taken, others = porch_counts.taken, yard_counts.taken
    await until_true(lambda: yard_counts.taken > others + 8)  # time enough for a frame
    assert porch_counts.taken == taken
    command(memory, enabled=True)
    await until_true(lambda: porch_counts.taken > taken + 3)
    await until_true(lambda: memory.retained[f"{ROOT}/status"].payload == b"online")


async def test_switching_off_and_on_at_once_ends_no_recording(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    house.spawn(house.gateway(porch(house, loop=False, fps=5)).run(wait_for_nodes=1))
    await until_true(lambda: len(node.frames) == 1)
    command(memory, enabled=False)
    command(memory, enabled=True)
    await until_true(lambda: len(node.frames) >= 4)  # it began anew


async def test_what_was_set_outlives_a_restart_and_the_settings_do_not_change(
    house: "House", memory: "Memory", until_true: Until, tmp_path: Path
) -> None:
    await house.node("a", "V1")
    file = tmp_path / "state" / "home.json"
    cameras = porch(house)
    first = house.spawn(house.gateway(cameras, state_file=file).run(wait_for_nodes=1))
    await house.has_results(1)
    command(memory, deadline_ms=777)
    await house.has_results(len(house.results) + 2)
    await stopped(first)
    before = len(house.results)
    second = house.gateway(cameras, state_file=file)
    task = house.spawn(second.run(wait_for_nodes=1))
    await house.has_results(before + 2)
    assert {result.deadline_ms for result in house.results[before:]} == {777}
    assert second.cameras["porch"].settings.deadline_ms == LONG_MS
    command(memory, enabled=False)
    await until_true(lambda: not settings(memory).enabled)
    await stopped(task)
    third = house.gateway(cameras, state_file=file)
    house.spawn(third.run())
    await until_true(lambda: third.cameras["porch"].trouble == "switched off")
    assert third.cameras["porch"].counts.taken == 0


@pytest.mark.parametrize(
    ("camera", "payload"),
    [
        ("porch", b""),
        ("porch", b"off"),
        ("porch", b"{}"),
        ("porch", b'{"reset": false}'),
        ("porch", b'{"deadline": 300}'),
        ("porch", b'{"deadline_ms": 9}'),
        ("porch", b'{"deadline_ms": 60001}'),
        ("porch", b'{"deadline_ms": "300"}'),
        ("porch", b'{"deadline_ms": true}'),
        ("porch", b'{"min_confidence": 1.01}'),
        ("porch", b'{"min_confidence": NaN}'),
        ("porch", b'{"enabled": "off"}'),
        ("porch", b'{"enabled": false, "deadline_ms": 1}'),
        ("attic", b'{"enabled": false}'),
    ],
)
async def test_refused_command_is_counted_said_once_and_changes_nothing(
    house: "House",
    memory: "Memory",
    until_true: Until,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    camera: str,
    payload: bytes,
) -> None:
    file = tmp_path / "home.json"
    gateway = house.gateway(porch(house, fps=1), state_file=file)
    house.spawn(gateway.run())
    await until_true(lambda: f"{ROOT}/settings" in memory.retained)
    for _ in range(2):
        memory.publish(f"idlesight/home/cameras/{camera}/set", payload)
    await until_true(lambda: gateway.counts["dropped.camera_set.malformed"] == 2)
    (said,) = [one for one in caplog.messages if "dropped.camera_set" in one]
    assert f": {camera}: " in said
    assert len(memory.sent(f"{ROOT}/settings")) == 1
    assert not file.exists()


async def test_retained_command_is_of_unknown_age_and_ignored(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    topic = f"{ROOT}/set"
    memory.retained[topic] = Message(topic, b'{"enabled": false}', retain=True, qos=1)
    gateway = house.gateway(porch(house))
    house.spawn(gateway.run())
    await until_true(lambda: gateway.counts["dropped.camera_set.retained"] == 1)
    await until_true(lambda: settings(memory).enabled)


async def test_a_disk_that_keeps_nothing_is_said_and_the_command_holds(
    house: "House", memory: "Memory", until_true: Until, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    gateway = house.gateway(porch(house), state_file=tmp_path / "file" / "home.json")
    house.spawn(gateway.run())
    await until_true(lambda: f"{ROOT}/settings" in memory.retained)
    command(memory, deadline_ms=99)
    await until_true(lambda: gateway.counts["commands.unkept"] == 1)
    await until_true(lambda: settings(memory).deadline_ms == 99)


async def test_announce_again_is_a_command(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    house.spawn(house.gateway(porch(house, fps=1)).run())
    config = "homeassistant/button/idlesight-home/gateway-announce/config"
    await until_true(lambda: len(memory.sent(config)) == 1)
    memory.publish("idlesight/home/set", b'{"announce": true}')
    await until_true(lambda: len(memory.sent(config)) == 2)


async def test_how_many_nodes_there_are(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    def state() -> tuple[int, int, int]:
        found = parse(GatewayState, memory.retained["idlesight/home/state"].payload)
        return found.nodes_known, found.nodes_online, found.nodes_working

    house.spawn(house.gateway(porch(house, fps=1)).run())
    await until_true(lambda: "idlesight/home/state" in memory.retained)
    await until_true(lambda: state() == (0, 0, 0))
    await house.node("a", "V1")
    node = await house.node("b", "V2", phase="paused")
    await until_true(lambda: state() == (2, 2, 1))
    memory.broker.cut(node.client_id)
    await until_true(lambda: state() == (2, 1, 1))
