from typing import TYPE_CHECKING

import pytest

from broker.topics import Topics
from gateway.camera_settings import CameraSettings
from gateway.collector import MAX_IN_FLIGHT
from gateway.images import EVERY_S, Images

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from tests.gateway.conftest import House, Memory

TOPIC = "idlesight/home/cameras/porch/image"


@pytest.fixture
def published() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture
def images(published: list[tuple[str, bytes]]) -> Images:
    cameras = {
        "porch": CameraSettings(source="/x", image=True),
        "yard": CameraSettings(source="/x"),
    }
    return Images(cameras, Topics("home"), lambda *message: published.append(message))


def test_a_result_comes_with_its_own_picture(
    images: Images, published: list[tuple[str, bytes]]
) -> None:
    images.keep("porch", 1, b"one")
    images.keep("porch", 2, b"two")
    images.keep("yard", 3, b"three")
    images.decided("yard", 3, 0)
    images.decided("porch", 2, 0)
    images.decided("porch", 2, EVERY_S)  # it is gone
    assert published == [(TOPIC, b"two")]


def test_no_more_than_one_a_second(images: Images, published: list[tuple[str, bytes]]) -> None:
    for number, at_s in enumerate((0, EVERY_S / 2, EVERY_S, EVERY_S * 3)):
        images.keep("porch", number, bytes([number]))
        images.decided("porch", number, at_s)
    assert [payload[0] for _, payload in published] == [0, 2, 3]


def test_frames_that_never_end_are_forgotten(
    images: Images, published: list[tuple[str, bytes]]
) -> None:
    for number in range(MAX_IN_FLIGHT + 1):
        images.keep("porch", number, b"x")
    images.decided("porch", 0, 0)
    assert published == []
    images.decided("porch", 1, 0)
    assert len(published) == 1


async def test_pictures_are_retained_and_go_when_they_are_no_longer_wanted(
    house: "House",
    memory: "Memory",
    until_true: "Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]",
) -> None:
    node = await house.node("a", "V1")
    camera = {"source": house.pictures(1), "deadline_ms": 60_000}
    first = house.gateway({"porch": camera | {"image": True}})
    await first.run(exit_when_done=True, wait_for_nodes=1)
    await until_true(lambda: TOPIC in memory.retained)
    assert memory.retained[TOPIC].payload == node.frames[0].jpeg
    assert "homeassistant/image/idlesight-home/camera-picture-porch/config" in memory.retained
    house.spawn(house.gateway({"porch": camera}).run())
    await until_true(lambda: TOPIC not in memory.retained)
