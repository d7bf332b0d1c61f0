import asyncio
import base64
import io
import json
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from broker.codecs import decode_frame
from broker.errors import AuthenticationError
from broker.payloads import CameraEvent, CameraHealth, CameraState, parse
from broker.session import Message
from gateway.announcer import version

if TYPE_CHECKING:
    from tests.gateway.conftest import House, Memory

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]

RESULT = "idlesight/home/cameras/porch/result"
LONG_MS = 60_000  # a deadline that no test waits for


def porch(house: "House", count: int = 3, **settings: Any) -> dict[str, Any]:
    return {
        "porch": {"source": house.pictures(count), "fps": 30, "deadline_ms": LONG_MS} | settings
    }


async def test_answers_of_all_nodes_become_one_result(house: "House") -> None:
    nodes = [await house.node(name, variant) for name, variant in (("a", "V1"), ("b", "V3"))]
    gateway = house.gateway(porch(house))
    await gateway.run(exit_when_done=True, wait_for_nodes=2)
    await house.has_results(3)
    assert [result.frame for result in house.results] == [1, 2, 3]
    for result in house.results:
        assert (result.status, result.label, result.decided) == ("answered", "label4", "all")
        assert result.confidence == pytest.approx(0.75)
        assert {part.node: part.variant for part in result.contributors} == {"a": "V1", "b": "V3"}
        assert (result.expected, result.missing, result.pack) == (2, [], "tiny")
        assert 0 <= result.latency_ms < LONG_MS
    assert all(len(node.frames) == 3 for node in nodes)
    assert {frame.deadline_ms for frame in nodes[0].frames} == {LONG_MS}
    assert {frame.session for frame in nodes[0].frames} == {gateway.session}
    assert gateway.counts == {"frames.published": 3, "results.answered": 3}


async def test_results_are_retained_and_acknowledged(house: "House", memory: "Memory") -> None:
    await house.node("a", "V1")
    await house.gateway(porch(house)).run(exit_when_done=True, wait_for_nodes=1)
    messages = [message for message in memory.log if message.topic == RESULT]
    assert [(message.qos, message.retain) for message in messages] == [(1, True)] * 3
    assert json.loads(memory.retained[RESULT].payload)["frame"] == 3


async def test_nobody_answering_is_no_answer_at_the_deadline(house: "House") -> None:
    await house.gateway(porch(house, 1, deadline_ms=50)).run(exit_when_done=True)
    await house.has_results(1)
    (result,) = house.results
    assert (result.status, result.label, result.confidence) == ("no_answer", None, None)
    assert (result.decided, result.expected, result.missing) == ("deadline", 0, [])
    assert result.latency_ms >= 50


async def test_silent_node_is_missing_at_the_deadline(house: "House") -> None:
    await house.node("a", "V1")
    silent = await house.node("b", "V2")
    silent.answers = False
    gateway = house.gateway(porch(house, 1, deadline_ms=100))
    await gateway.run(exit_when_done=True, wait_for_nodes=2)
    await house.has_results(1)
    (result,) = house.results
    assert (result.status, result.decided, result.missing) == ("answered", "deadline", ["b"])


async def test_unsure_result_keeps_its_guess(house: "House") -> None:
    await house.node("a", "V1")
    gateway = house.gateway(porch(house, 1, min_confidence=0.9))
    await gateway.run(exit_when_done=True, wait_for_nodes=1)
    await house.has_results(1)
    assert (house.results[0].status, house.results[0].label) == ("unsure", "label4")


async def test_paused_node_is_not_waited_for_but_counts(house: "House", until_true: Until) -> None:
    paused = await house.node("paused", "V1", phase="paused")
    paused.answers = False
    slow = await house.node("slow", "V2")
    slow.answers = False
    house.spawn(house.gateway(porch(house, 1)).run(wait_for_nodes=1))
    await until_true(lambda: bool(paused.frames and slow.frames))
    await paused.answer(paused.frames[0])
    await slow.answer(slow.frames[0])
    await house.has_results(1)
    (result,) = house.results
    assert (result.decided, result.expected) == ("all", 1)
    assert [part.node for part in result.contributors] == ["paused", "slow"]


async def test_node_that_vanishes_is_not_waited_for(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    doomed = await house.node("b", "V2")
    doomed.answers = False
    gateway = house.gateway(porch(house, 1))
    house.spawn(gateway.run(wait_for_nodes=2))
    await until_true(lambda: bool(doomed.frames))
    memory.broker.cut(doomed.client_id)
    await house.has_results(1)  # long before the deadline
    (result,) = house.results
    assert (result.status, result.decided, result.missing) == ("answered", "all", ["b"])
    assert gateway.roster.working == {"a"}


NODE = "idlesight/home/nodes/a"


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        (f"{NODE}/predictions", b"", "dropped.prediction.malformed"),
        (f"{NODE}/predictions", b"\xa5\x01\x02", "dropped.prediction.malformed"),
        (f"{NODE}/predictions", b"{}", "dropped.prediction.malformed"),
        (f"{NODE}/status", b"maybe", "dropped.node_status.malformed"),
        (f"{NODE}/state", b"{not json", "dropped.node_state.malformed"),
        (f"{NODE}/state", b"\xff", "dropped.node_state.malformed"),
        (
            f"{NODE}/state",
            b'{"node": "b", "state": "working", "version": "1"}',
            "dropped.node_state.malformed",
        ),
        ("idlesight/home/nodes/a b/status", b"online", "dropped.topic"),
        ("homeassistant/status", b"\x00", None),
    ],
)
async def test_bad_message_is_counted_and_dropped(
    house: "House",
    memory: "Memory",
    until_true: Until,
    topic: str,
    payload: bytes,
    kind: str | None,
) -> None:
    await house.node("a", "V1")
    gateway = house.gateway(porch(house, 3, loop=True))
    house.spawn(gateway.run(wait_for_nodes=1))
    await house.has_results(1)
    for _ in range(2):
        memory.publish(topic, payload)
    if kind is not None:
        await until_true(lambda: gateway.counts[kind] == 2)
    before = len(house.results)
    await house.has_results(before + 2, "answered")


async def test_answers_that_do_not_belong_are_counted(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    node.answers = False
    gateway = house.gateway(porch(house, 1))
    house.spawn(gateway.run(wait_for_nodes=1))
    await until_true(lambda: bool(node.frames))
    (frame,) = node.frames
    await node.answer(frame, session=frame.session ^ 1)
    await node.answer(frame, model=0)
    await node.answer(frame, frame=99)
    memory.publish("idlesight/home/nodes/stranger/predictions", node.prediction(frame))
    await node.answer(frame)
    await node.answer(frame)
    dropped = {
        f"dropped.prediction.{reason}": 1
        for reason in (
            "foreign_session",
            "unknown_model",
            "unknown_frame",
            "unknown_node",
            "duplicate",
        )
    }
    await until_true(lambda: dropped.items() <= gateway.counts.items())
    await house.has_results(1)
    assert [part.node for part in house.results[0].contributors] == ["a"]


async def test_late_answer_is_counted_and_changes_no_result(
    house: "House", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    node.answers = False
    gateway = house.gateway(porch(house, 1, deadline_ms=30))
    house.spawn(gateway.run(wait_for_nodes=1))
    await house.has_results(1)
    await node.answer(node.frames[0])
    await until_true(lambda: gateway.counts["dropped.prediction.late"] == 1)
    assert [result.status for result in house.results] == ["no_answer"]


async def test_certain_result_does_not_wait_for_a_slow_node(
    house: "House", until_true: Until
) -> None:
    slow = await house.node("slow", "V1")
    slow.answers = False
    for name, variant in (("b", "V2"), ("c", "V3")):
        await house.node(name, variant)
    gateway = house.gateway(porch(house, 1))
    house.spawn(gateway.run(wait_for_nodes=3))
    await house.has_results(1)  # long before the deadline
    (result,) = house.results
    assert (result.status, result.decided, result.missing) == ("answered", "certain", ["slow"])
    assert (result.label, result.expected) == ("label4", 3)
    await slow.answer(slow.frames[0], values=(1.0, 0.0), indices=(7, 4))
    await until_true(lambda: gateway.counts["predictions.after_decision"] == 1)
    assert not any(kind.startswith("dropped") for kind in gateway.counts)


async def test_camera_may_wait_for_every_node(house: "House") -> None:
    slow = await house.node("slow", "V1")
    slow.answers = False
    for name, variant in (("b", "V2"), ("c", "V3")):
        await house.node(name, variant)
    gateway = house.gateway(porch(house, 1, deadline_ms=100, decide_early=False))
    await gateway.run(exit_when_done=True, wait_for_nodes=3)
    await house.has_results(1)
    assert (house.results[0].decided, house.results[0].missing) == ("deadline", ["slow"])


async def test_frames_go_on_after_the_broker_was_away(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    gateway = house.gateway(porch(house, 3, loop=True, deadline_ms=200))
    house.spawn(gateway.run(wait_for_nodes=1))
    await house.has_results(2, "answered")
    memory.go_away(forget=True)
    await until_true(lambda: gateway.counts["frames.unpublished"] >= 3)
    memory.come_back()
    before = len(house.results)
    await house.has_results(before + 3)
    await until_true(lambda: house.results[-1].status == "answered")
    for topic in (
        "idlesight/home/status",
        "idlesight/home/cameras/porch/status",
        "idlesight/home/nodes/a/assignment",
        "homeassistant/sensor/idlesight-home/camera-label-porch/config",
        RESULT,
    ):
        await until_true(lambda topic=topic: topic in memory.retained)  # type: ignore[misc]


async def test_node_that_did_not_come_back_with_the_broker_is_not_expected(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    gone = await house.node("b", "V2")
    gateway = house.gateway(porch(house, 3, loop=True, deadline_ms=200))
    house.spawn(gateway.run(wait_for_nodes=2))
    await house.has_results(1)
    memory.go_away(forget=True)
    memory.come_back(without=gone.client_id)
    await until_true(lambda: gateway.roster.working == {"a"})


async def test_last_result_follows_when_it_could_not_be_published(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    node.answers = False
    gateway = house.gateway(porch(house, 1, deadline_ms=300))
    house.spawn(gateway.run(wait_for_nodes=1))
    await until_true(lambda: bool(node.frames))
    memory.go_away()
    await until_true(lambda: gateway.counts["results.no_answer"] == 1)
    await until_true(lambda: gateway.counts["results.unsent"] == 1)
    assert RESULT not in memory.retained
    memory.come_back()
    await until_true(lambda: RESULT in memory.retained)
    assert len(memory.sent(RESULT)) == 1


async def test_everything_is_announced_again_when_home_assistant_starts(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    gateway = house.gateway(porch(house, 2))
    house.spawn(gateway.run(wait_for_nodes=1))
    await house.has_results(2)
    await until_true(lambda: "idlesight/home/plan" in memory.retained)
    config = "homeassistant/sensor/idlesight-home/camera-confidence-porch/config"
    assert len(memory.sent(config)) == 1
    memory.publish("homeassistant/status", b"online")
    await until_true(lambda: len(memory.sent(RESULT)) == 3)
    topics = [message.topic for message in memory.log]
    assert topics.count(config) == 2
    assert topics[-1] == RESULT  # the states follow what they are states of
    assert memory.sent(RESULT)[2] == memory.sent(RESULT)[1]
    assert len(memory.sent("idlesight/home/status")) == 1


async def test_discovery_off_announces_nothing(house: "House", memory: "Memory") -> None:
    gateway = house.gateway(porch(house, 1, deadline_ms=30), discovery="off")
    await gateway.run(exit_when_done=True)
    assert not [message for message in memory.log if message.topic.startswith("homeassistant")]


async def test_free_nodes_are_given_different_variants(house: "House", until_true: Until) -> None:
    free = [
        await house.node(name, None, fixed=False, phase="unassigned") for name in ("a", "b", "c")
    ]
    chosen = await house.node("d", "V2")
    house.spawn(house.gateway(porch(house)).run())
    await until_true(lambda: all(node.assignments for node in (*free, chosen)))
    given = {node.name: node.assignments[-1].variant for node in (*free, chosen)}
    assert given["d"] == "V2"
    assert set(given.values()) == {"V1", "V2", "V3"}
    assignment = free[0].assignments[-1]
    assert assignment.pack == "tiny"
    assert assignment.model == house.pack.variant(assignment.variant).sha256
    assert assignment.cameras == []


async def test_assignment_is_published_again_only_when_it_changes(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", None, fixed=False, phase="unassigned")
    house.spawn(house.gateway(porch(house)).run())
    await until_true(lambda: bool(node.assignments))
    for phase in ("starting", "working", "paused", "working"):
        await node.say_state(state=phase, variant="V1", fixed_variant=False)
    await house.node("b", None, fixed=False, phase="unassigned")
    await until_true(lambda: "idlesight/home/nodes/b/assignment" in memory.retained)
    assert len(memory.sent("idlesight/home/nodes/a/assignment")) == 1


async def test_a_node_that_fetches_finds_the_model_before_its_assignment(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", None, fixed=False, phase="unassigned")
    await node.say_state(fetches=True, variants=["of", "another", "pack"])
    house.spawn(house.gateway(porch(house)).run())
    await until_true(lambda: bool(node.assignments))
    (told,) = node.assignments
    entry = house.pack.variant(told.variant)
    assert told.description is not None
    assert (told.description.classes, told.description.k) == (10, 2)
    assert told.description.resolution == entry.resolution
    topics = [message.topic for message in memory.log if message.retain]
    part = f"idlesight/home/models/{entry.sha256}/0"
    assert topics.index(part) < topics.index("idlesight/home/nodes/a/assignment")
    assert len([one for one in memory.retained if "/models/" in one]) == 1, "no file beyond it"
    await node.say_state(fetches=True, lacks=entry.sha256)
    await until_true(lambda: len(memory.sent(part)) == 2)


async def test_a_file_that_every_node_of_this_release_has_is_sent_only_where_one_lacks_it(
    house: "House", memory: "Memory", until_true: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.announcer.shipped_packs", lambda: {"tiny": house.pack.path})
    node = await house.node("a", None, fixed=False, phase="unassigned")
    await node.say_state(fetches=True, version=version())
    house.spawn(house.gateway(porch(house)).run())
    await until_true(lambda: bool(node.assignments))
    told = node.assignments[0]
    assert told.description is not None
    assert not [topic for topic in memory.retained if "/models/" in topic]
    await node.say_state(fetches=True, version=version(), lacks=told.model)
    await until_true(lambda: f"idlesight/home/models/{told.model}/0" in memory.retained)
    await house.node("b", None, fixed=False, phase="unassigned")
    await until_true(lambda: "idlesight/home/nodes/b/assignment" in memory.retained)
    assert {one.split("/")[3] for one in memory.retained if "/models/" in one} == {told.model}


@pytest.mark.parametrize(
    "said", [{}, {"fetches": False}, {"fetches": True, "fixed_variant": True, "variant": "V1"}]
)
async def test_for_a_node_that_does_not_fetch_no_file_is_sent(
    house: "House", memory: "Memory", until_true: Until, said: dict[str, Any]
) -> None:
    node = await house.node("a", None, fixed=False, phase="unassigned")
    await node.say_state(**({"fixed_variant": False} | said))
    house.spawn(house.gateway(porch(house)).run())
    await until_true(lambda: bool(node.assignments))
    assert node.assignments[0].description is None
    assert not [topic for topic in memory.retained if "/models/" in topic]


async def test_a_node_that_runs_another_packs_model_is_not_waited_for(
    house: "House", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    late = await house.node("b", "V2")
    await late.say_state(model="ab" * 32)
    late.answers = False
    await house.gateway(porch(house, 1)).run(exit_when_done=True, wait_for_nodes=2)
    await house.has_results(1)
    (result,) = house.results
    assert (result.decided, result.expected, result.missing) == ("all", 1, [])
    assert len(node.frames) == 1


async def test_result_waits_neither_for_frames_nor_for_other_results(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    memory.stalled |= {"idlesight/home/frames/porch", RESULT}
    cameras = porch(house, 1) | {
        "yard": {"source": house.pictures(5), "fps": 30, "deadline_ms": LONG_MS}
    }
    house.spawn(house.gateway(cameras).run(wait_for_nodes=1))
    await until_true(lambda: Counter(r.camera for r in house.results) == {"porch": 1, "yard": 5})
    assert len(node.frames) == 6


async def test_every_frame_gets_one_result_when_messages_are_lost_and_delayed(
    house: "House", memory: "Memory"
) -> None:
    for name, variant in (("a", "V1"), ("b", "V2"), ("c", "V3"), ("d", "V3")):
        await house.node(name, variant)
    memory.broker.loss, memory.broker.delay_s = 0.3, 0.15
    cameras = {
        name: {"source": house.pictures(20), "fps": fps, "deadline_ms": 100}
        for name, fps in (("x", 40), ("y", 60))
    }
    gateway = house.gateway(cameras)
    await gateway.run(exit_when_done=True, wait_for_nodes=4)
    published = gateway.counts["frames.published"]
    await house.has_results(published)
    assert sorted(result.frame for result in house.results) == list(range(1, published + 1))
    assert gateway.counts.get("dropped.prediction.late", 0) > 0
    decided = {result.decided for result in house.results}
    assert "deadline" in decided
    assert all(result.label in ("label4", None) for result in house.results)


async def test_frames_are_the_cameras_pictures(house: "House", memory: "Memory") -> None:
    await house.gateway(porch(house, 2, deadline_ms=30)).run(exit_when_done=True)
    frames = [decode_frame(payload) for payload in memory.sent("idlesight/home/frames/porch")]
    assert [frame.frame for frame in frames] == [1, 2]
    assert all(frame.jpeg.startswith(b"\xff\xd8") for frame in frames)
    assert frames[0].jpeg != frames[1].jpeg


async def test_cancelled_gateway_says_goodbye(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    task = house.spawn(house.gateway(porch(house, 3, loop=True)).run(wait_for_nodes=1))
    await house.has_results(2)
    await until_true(
        lambda: memory.retained["idlesight/home/cameras/porch/status"].payload == b"online"
    )
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert memory.retained["idlesight/home/status"].payload == b"offline"
    assert memory.retained["idlesight/home/cameras/porch/status"].payload == b"offline"


async def test_camera_that_fails_leaves_the_others_running(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    cameras = porch(house, 3, loop=True, deadline_ms=50) | {"dead": {"source": "/nowhere"}}
    gateway = house.gateway(cameras)
    house.spawn(gateway.run())
    await house.has_results(3)
    await until_true(lambda: gateway.cameras["dead"].counts.outages == 1)
    assert memory.retained["idlesight/home/cameras/dead/status"].payload == b"offline"
    assert {result.camera for result in house.results} == {"porch"}


async def test_gateway_stays_when_its_cameras_have_ended(house: "House") -> None:
    task = house.spawn(house.gateway(porch(house, 1, deadline_ms=30)).run())
    await house.has_results(1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.2)
    assert not task.done()


async def test_refused_login_ends_the_gateway(house: "House") -> None:
    class Refused:
        connected = False

        async def run(self) -> None:
            raise AuthenticationError("mqtt://h:1883", "not authorized")

        async def publish(self, *_: Any, **__: Any) -> None:
            raise AssertionError("nothing is published without a link")

    house.link = lambda *_, **__: Refused()
    with pytest.raises(ExceptionGroup) as caught:
        await house.gateway(porch(house)).run()
    assert caught.group_contains(AuthenticationError)


async def test_results_are_handed_to_whoever_asked(house: "House") -> None:
    shown: list[str] = []
    ready: list[bool] = []
    gateway = house.gateway(
        porch(house, 1, deadline_ms=30),
        on_result=lambda result: shown.append(result.status),
        on_ready=lambda: ready.append(True),
    )
    await gateway.run(exit_when_done=True)
    assert (shown, ready) == (["no_answer"], [True])


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


DOOR = "frigate/door/person/snapshot"


async def test_pictures_from_another_topic_become_frames(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    cameras = {
        "door": {"kind": "mqtt", "source": "frigate/door/+/snapshot", "fps": 60},
        "yard": {"kind": "mqtt", "source": "esp/yard", "field": "data.image", "fps": 60},
    }
    gateway = house.gateway(cameras)
    house.spawn(gateway.run(wait_for_nodes=1))
    status = "idlesight/home/cameras/{}/status"
    for name in cameras:
        await until_true(
            lambda name=name: memory.sent(status.format(name))[-1:] == [b"online"]  # type: ignore[misc]
        )
    memory.publish(DOOR, jpeg(10))
    text = base64.b64encode(jpeg(200)).decode()
    memory.publish("esp/yard", json.dumps({"data": {"image": text}}).encode())
    await house.has_results(2, "answered")
    assert {result.camera for result in house.results} == set(cameras)
    memory.publish(DOOR, b"no picture")
    await until_true(lambda: gateway.cameras["door"].counts.unreadable == 1)
    memory.publish(DOOR, jpeg(20))
    await house.has_results(3, "answered")


async def test_picture_that_stood_there_before_is_of_unknown_age_and_not_shown(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    old = Message(DOOR, jpeg(10), retain=True, qos=0)
    memory_link = house.link

    def link(*args: Any, **options: Any) -> Any:
        if "gateway" in options["client_id"]:
            on_message = options["on_message"]
            on_connect = options["on_connect"]

            async def greeted() -> None:
                await on_connect()
                on_message(old)  # as a broker does after SUBSCRIBE

            options["on_connect"] = greeted
        return memory_link(*args, **options)

    house.link = link
    gateway = house.gateway({"door": {"kind": "mqtt", "source": DOOR, "deadline_ms": 50}})
    house.spawn(gateway.run())
    await until_true(lambda: gateway.counts["dropped.picture.retained"] == 1)
    memory.publish(DOOR, jpeg(20))
    await house.has_results(1)
    assert gateway.cameras["door"].counts.taken == 1


async def test_camera_that_hangs_stalls_no_other(house: "House", until_true: Until) -> None:
    await house.node("a", "V1")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, says nothing
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.jpg"
        cameras = porch(house, 5) | {"hung": {"source": url}, "dead": {"source": "http://[::1/"}}
        gateway = house.gateway(cameras)
        house.spawn(gateway.run(wait_for_nodes=1))
        await house.has_results(5, "answered")
        await until_true(lambda: gateway.cameras["dead"].counts.outages == 1)
        assert not gateway.cameras["hung"].available


async def test_health_of_a_camera_is_retained(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    topic = "idlesight/home/cameras/{}/health"
    cameras = porch(house, 3, loop=True, deadline_ms=50) | {"dead": {"source": "/nowhere"}}
    house.spawn(house.gateway(cameras).run())

    def health(camera: str) -> CameraHealth:
        return parse(CameraHealth, memory.retained[topic.format(camera)].payload)

    await until_true(lambda: topic.format("porch") in memory.retained)
    await until_true(lambda: health("porch").status == "online")
    assert (health("porch").frame_age_s or 0) < 5
    assert health("porch").taken >= 1
    await until_true(lambda: "does not exist" in health("dead").reason)
    assert (health("dead").status, health("dead").frame_age_s) == ("offline", None)


async def test_result_of_a_crop_says_where_it_is(house: "House", tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(6):
            pixels = np.full((240, 320, 3), 60, dtype=np.uint8)
            if number:
                pixels[180:, 260:] = 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    await house.node("a", "V1")
    cameras = {"porch": {"source": str(clip), "fps": 10, "deadline_ms": LONG_MS}}
    await house.gateway(cameras).run(exit_when_done=True, wait_for_nodes=1)
    await house.has_results(6)
    whole, *parts = house.results
    assert whole.region is None
    for result in parts:
        assert result.region is not None
        assert result.region.x + result.region.width == 1
        assert result.region.y + result.region.height == 1
        assert 0.3 < result.region.width < 0.6


STATE = "idlesight/home/cameras/porch/state"
EVENT = "idlesight/home/cameras/porch/event"


def states(memory: "Memory") -> list[CameraState]:
    return [parse(CameraState, payload) for payload in memory.sent(STATE)]


def events(memory: "Memory") -> list[CameraEvent]:
    return [parse(CameraEvent, payload) for payload in memory.sent(EVENT)]


async def test_state_is_retained_and_each_change_is_one_event(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    node.label = lambda frame: 4 if frame.frame <= 6 else 5
    gateway = house.gateway(porch(house, 12, state={"k": 2, "n": 3, "hold_s": 0}))
    await gateway.run(exit_when_done=True, wait_for_nodes=1)
    assert [(one.status, one.label) for one in states(memory)] == [
        ("unknown", None),
        ("answered", "label4"),
        ("answered", "label5"),
    ]
    assert memory.retained[STATE].payload == memory.sent(STATE)[-1]
    first, second = events(memory)
    assert (first.event_type, first.label, first.frame) == ("recognized", "label4", 2)
    assert (first.previous_status, first.previous_label) == ("unknown", None)
    assert (second.label, second.previous_label, second.frame) == ("label5", "label4", 8)
    assert second.confidence == pytest.approx(0.75)
    assert first.id != second.id
    assert [one.event for one in states(memory)[1:]] == [first.id, second.id]
    assert EVENT not in memory.retained
    assert {message.qos for message in memory.log if message.topic == EVENT} == {1}


async def test_unknown_after_a_restart_names_what_stood_before(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    await house.node("a", "V1")
    cameras = porch(house, 3, state={"k": 2, "n": 3, "hold_s": 0})
    await house.gateway(cameras).run(exit_when_done=True, wait_for_nodes=1)
    await until_true(lambda: states(memory)[-1].label == "label4")
    for _ in range(2):  # also when nothing was seen in between
        count = len(states(memory))
        task = house.spawn(house.gateway(cameras).run(wait_for_nodes=9))
        await until_true(lambda count=count: len(states(memory)) > count)  # type: ignore[misc]
        last = states(memory)[-1]
        assert (last.status, last.previous_label) == ("unknown", "label4")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_silence_is_a_state_without_a_label_and_never_nothing_seen(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    cameras = porch(house, 2, loop=True, deadline_ms=40, state={"k": 2, "n": 3, "hold_s": 0})
    house.spawn(house.gateway(cameras).run(wait_for_nodes=1))
    await until_true(lambda: bool(memory.sent(EVENT)))
    node.answers = False
    await until_true(lambda: states(memory)[-1].status == "no_answer")
    last = states(memory)[-1]
    assert (last.label, last.previous_label) == (None, "label4")
    assert [one.event_type for one in events(memory)] == ["recognized", "no_answer"]
    assert (events(memory)[-1].label, events(memory)[-1].confidence) == (None, None)


async def test_state_changes_when_its_hold_time_is_over_without_another_result(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    node.label = lambda frame: frame.frame
    cameras = porch(house, 2, state={"k": 1, "n": 1, "hold_s": 0.4})
    house.spawn(house.gateway(cameras).run(wait_for_nodes=1))
    await house.has_results(2)
    assert [one.label for one in states(memory)] == [None, "label1"]
    await until_true(lambda: states(memory)[-1].label == "label2")
    assert len(house.results) == 2
    first, second = states(memory)[1:]
    assert (second.since - first.since).total_seconds() >= 0.39  # wall time, for people


async def test_event_without_a_broker_is_counted_and_the_state_follows(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    node = await house.node("a", "V1")
    node.answers = False
    cameras = porch(house, 1, deadline_ms=300, state={"k": 1, "n": 1})
    gateway = house.gateway(cameras)
    house.spawn(gateway.run(wait_for_nodes=1))
    await until_true(lambda: bool(node.frames))
    memory.go_away()
    await until_true(lambda: gateway.counts["events.unsent"] == 1)
    memory.come_back()
    await until_true(lambda: bool(states(memory)) and states(memory)[-1].status == "no_answer")
    assert memory.sent(EVENT) == []


async def test_fewer_answers_than_the_quorum_are_unsure(house: "House") -> None:
    for name, variant in (("a", "V1"), ("b", "V2")):
        await house.node(name, variant)
    cameras = {
        name: {"source": house.pictures(1), "deadline_ms": LONG_MS, "quorum": quorum}
        for name, quorum in (("two", 2), ("three", 3))
    }
    gateway = house.gateway(cameras)
    await gateway.run(exit_when_done=True, wait_for_nodes=2)
    await house.has_results(2)
    found = {result.camera: result for result in house.results}
    assert (found["two"].status, found["three"].status) == ("answered", "unsure")
    for result in house.results:
        assert result.label == "label4"
        assert result.agreement == 1.0
        assert result.slack_ms == pytest.approx(LONG_MS - result.latency_ms, abs=0.02)
        assert (result.age_ms or 0) >= result.latency_ms
