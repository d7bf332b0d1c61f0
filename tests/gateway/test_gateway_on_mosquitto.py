import asyncio
import io
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from PIL import Image

from broker.mosquitto import MosquittoBroker, check_port_free, find_mosquitto
from broker.session import BrokerSettings, Message, Session

if TYPE_CHECKING:
    from tests.gateway.conftest import House

MOSQUITTO = find_mosquitto()
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]
ROOT = Path(__file__).parents[2]
LONG_MS = 60_000  # a deadline that no test waits for


def mosquitto(port: int) -> MosquittoBroker:
    assert MOSQUITTO is not None
    return MosquittoBroker(MOSQUITTO, bind="127.0.0.1", port=port)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    free = check_port_free("127.0.0.1", 0)
    broker = mosquitto(free)
    await broker.start()
    yield free
    await broker.stop()


@pytest.fixture
async def real_house(
    port: int, make_house: Callable[[Any, BrokerSettings], "House"]
) -> AsyncIterator["House"]:
    house = make_house(Session, BrokerSettings(port=port))
    await house.watch()
    yield house
    await house.close()


async def test_frames_go_round_through_a_real_broker(real_house: "House") -> None:
    house = real_house
    for name, variant in (("a", "V1"), ("b", "V2"), ("c", "V3")):
        await house.node(name, variant)
    cameras = {
        # All are waited for: who answers in time to decide early depends on the machine.
        name: {
            "source": house.pictures(10),
            "fps": 20,
            "deadline_ms": LONG_MS,
            "decide_early": False,
        }
        for name in ("porch", "yard")
    }
    gateway = house.gateway(cameras)
    await gateway.run(exit_when_done=True, wait_for_nodes=3)
    published = gateway.counts["frames.published"]
    await house.has_results(published)
    assert sorted(result.frame for result in house.results) == list(range(1, published + 1))
    assert all(len(result.contributors) == 3 for result in house.results)
    assert {result.status for result in house.results} == {"answered"}


async def test_retained_picture_is_not_shown_and_live_ones_are(
    real_house: "House", until_true: Until
) -> None:
    house = real_house
    topic = "frigate/door/person/snapshot"
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "PNG")
    picture = buffer.getvalue()
    publisher = Session(house.broker, client_id="frigate", on_message=lambda _: None)
    house.spawn(publisher.run())
    await until_true(lambda: publisher.connected)
    await publisher.publish(topic, picture, qos=1, retain=True)
    gateway = house.gateway(
        {"door": {"kind": "mqtt", "source": "frigate/door/+/snapshot", "deadline_ms": 50}}
    )
    house.spawn(gateway.run())
    await until_true(lambda: gateway.counts["dropped.picture.retained"] == 1)
    await publisher.publish(topic, picture, qos=1, retain=True)
    await house.has_results(1)
    assert gateway.cameras["door"].counts.taken == 1


async def test_killed_node_is_no_longer_waited_for(real_house: "House", until_true: Until) -> None:
    house = real_house
    await house.node("a", "V1")
    doomed = await house.node("b", "V2")
    doomed.answers = False
    gateway = house.gateway(
        {"porch": {"source": house.pictures(1), "fps": 20, "deadline_ms": LONG_MS}}
    )
    house.spawn(gateway.run(wait_for_nodes=2))
    await until_true(lambda: bool(doomed.frames))
    doomed.link._connection.drop()  # type: ignore[attr-defined]
    await house.has_results(1)
    assert house.results[0].missing == ["b"]


async def test_results_resume_after_the_broker_restarts(
    pack: Any,
    make_house: Callable[[Any, BrokerSettings], "House"],
    until_true: Until,
) -> None:
    free = check_port_free("127.0.0.1", 0)
    broker = mosquitto(free)
    await broker.start()
    house = make_house(Session, BrokerSettings(port=free))
    try:
        await house.watch()
        await house.node("a", "V1")
        gateway = house.gateway(
            {"porch": {"source": house.pictures(3), "fps": 20, "loop": True, "deadline_ms": 300}}
        )
        house.spawn(gateway.run(wait_for_nodes=1))
        await house.has_results(3, "answered")
        await broker.stop()
        await until_true(lambda: gateway.counts["frames.unpublished"] >= 3)
        before = len(house.results)
        broker = mosquitto(free)  # it remembers nothing
        await broker.start()
        await house.has_results(before + 3)
        await until_true(lambda: house.results[-1].status == "answered")
    finally:
        await house.close()
        await broker.stop()


async def test_the_command_serves_until_sigterm(
    real_house: "House", port: int, tmp_path: Path, until_true: Until
) -> None:
    house = real_house
    await house.node("a", "V1")
    config = tmp_path / "home.yaml"
    camera = {"source": house.pictures(3), "fps": 20, "loop": True, "deadline_ms": 2000}
    config.write_text(
        yaml.safe_dump(
            {
                "broker": f"mqtt://127.0.0.1:{port}",
                "pack": str(house.pack.path),
                "cameras": {"porch": camera, "dead": {"source": "/nowhere"}},
            }
        )
    )
    statuses: list[bytes] = []
    watcher = Session(
        BrokerSettings(port=port),
        client_id="status",
        on_message=lambda message: statuses.append(message.payload),
        subscriptions=[("idlesight/home/status", 1)],
    )
    house.spawn(watcher.run())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli",
        "run",
        "--config",
        str(config),
        "--wait-for-nodes",
        "1",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), 30)
        assert re.match(rb"ready: gateway home on mqtt://127.0.0.1:\d+, pack tiny 1,", ready)
        await house.has_results(3, "answered")
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert errors.count(b"camera dead: /nowhere does not exist") == 1
    await until_true(lambda: statuses[-1:] == [b"offline"])
    assert statuses[0] == b"online"


async def test_refused_login_is_one_sentence_and_exit_code_2(
    house: "House", tmp_path: Path
) -> None:
    free = check_port_free("127.0.0.1", 0)
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {free} 127.0.0.1\nallow_anonymous false\nuser root\n"
    )
    assert MOSQUITTO is not None
    broker = MosquittoBroker(
        MOSQUITTO, bind="127.0.0.1", port=free, config_file=tmp_path / "mosquitto.conf"
    )
    await broker.start()
    config = tmp_path / "home.yaml"
    config.write_text(
        json.dumps(
            {
                "broker": f"mqtt://me:hush@127.0.0.1:{free}",
                "pack": str(house.pack.path),
                "cameras": {"porch": {"source": house.pictures(1)}},
            }
        )
    )
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.cli",
            "run",
            "--config",
            str(config),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 30)
    finally:
        await broker.stop()
    assert process.returncode == 2
    assert output == b""
    sentence = errors.decode().strip().splitlines()[-1]
    assert sentence.startswith(f"idlesight-gateway: broker mqtt://me@127.0.0.1:{free} refuses")
    assert "hush" not in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_commands_act_and_a_camera_that_went_leaves_nothing_on_the_broker(
    real_house: "House", until_true: Until, tmp_path: Path
) -> None:
    house = real_house
    node = await house.node("a", "V1")
    standing: dict[str, bytes] = {}

    def note(message: Message) -> None:
        if message.topic.endswith(("/set", "/event")):  # never retained
            return
        standing[message.topic] = message.payload
        if not message.payload:
            standing.pop(message.topic)

    user = Session(
        house.broker,
        client_id="user",
        on_message=note,
        subscriptions=[("homeassistant/#", 1), ("idlesight/home/cameras/#", 1)],
    )
    house.spawn(user.run())
    await until_true(lambda: user.connected)
    camera = {"source": house.pictures(3), "fps": 20, "loop": True, "deadline_ms": LONG_MS}
    file = tmp_path / "state.json"
    first = house.gateway({"porch": camera, "yard": camera}, state_file=file)
    task = house.spawn(first.run(wait_for_nodes=1))
    await until_true(lambda: {result.camera for result in house.results} == {"porch", "yard"})
    await user.publish("idlesight/home/cameras/porch/set", b'{"deadline_ms": 4321}', qos=1)
    await user.publish("idlesight/home/cameras/yard/set", b'{"enabled": false}', qos=1)
    await until_true(lambda: house.results[-1].deadline_ms == 4321)
    settings = "idlesight/home/cameras/yard/settings"
    await until_true(lambda: b'"enabled":false' in standing.get(settings, b""))
    await until_true(lambda: any("yard" in topic for topic in standing if "/config" in topic))
    assert any(frame.deadline_ms == 4321 for frame in node.frames)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    second = house.gateway({"porch": camera}, state_file=file, discovery="device")
    house.spawn(second.run(wait_for_nodes=1))
    await until_true(lambda: not any("yard" in topic for topic in standing))
    before = len(house.results)
    await house.has_results(before + 2)
    assert house.results[-1].deadline_ms == 4321
    # Moved to the other form, too.
    await until_true(
        lambda: (
            {topic for topic in standing if topic.startswith("homeassistant/")}
            == {
                f"homeassistant/device/idlesight-home-{name}/config"
                for name in ("gateway", "camera-porch", "node-a")
            }
        )
    )
