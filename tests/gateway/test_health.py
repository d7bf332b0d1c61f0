import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from broker.payloads import CameraHealth, parse
from broker.topics import Topics
from gateway.announcer import Announcer
from gateway.health import REPEAT_S, Health, examine
from gateway.settings import GatewaySettings
from models.pack import Pack

AT = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)


@dataclass
class Camera:
    available: bool = True
    available_since_s: float = 100.0
    trouble: str = ""
    last_shot_s: float | None = 110.0
    last_shot_at: datetime | None = AT
    silent_after_s: float | None = None

    @property
    def figures(self) -> Mapping[str, int]:
        return {"taken": 3, "still": 1, "replaced": 0, "unreadable": 2, "outages": 0}


@pytest.mark.parametrize(
    ("camera", "now_s", "status", "age_s"),
    [
        (Camera(), 112.5, "online", 2.5),
        (Camera(), 1e6, "online", pytest.approx(1e6 - 110)),
        (Camera(silent_after_s=10), 120.0, "online", 10.0),
        (Camera(silent_after_s=10), 120.1, "offline", pytest.approx(10.1)),
        (Camera(silent_after_s=10, last_shot_s=None, last_shot_at=None), 109.0, "online", None),
        (Camera(silent_after_s=10, last_shot_s=None, last_shot_at=None), 111.0, "offline", None),
        # it is back since 100: the old picture does not count against it yet
        (Camera(silent_after_s=10, last_shot_s=20.0), 109.0, "online", 89.0),
        (Camera(available=False), 112.0, "offline", 2.0),
        (Camera(available=False, last_shot_s=None, last_shot_at=None), 0.0, "offline", None),
    ],
)
def test_how_a_camera_is(camera: Camera, now_s: float, status: str, age_s: float | None) -> None:
    health = examine("porch", camera, now_s)
    assert (health.status, health.frame_age_s) == (status, age_s)


def test_silence_and_trouble_are_said_in_words() -> None:
    silent = examine("porch", Camera(silent_after_s=10), 200.0)
    assert silent.reason == "no picture for more than 10 s"
    assert examine("porch", Camera(available=False, trouble="it broke off"), 1).reason == (
        "it broke off"
    )
    assert examine("porch", Camera(), 111.0).reason == ""


def test_what_is_published_and_when(pack: Pack) -> None:
    topics = Topics("home")
    settings = GatewaySettings.model_validate({"cameras": {"porch": {"source": "x"}}})
    wanted: list[tuple[str, bytes]] = []

    class Heard(Announcer):
        def want(self, topic: str, payload: bytes) -> None:
            wanted.append((topic.rpartition("/")[2], payload))

    camera = Camera(silent_after_s=20)
    health = Health({"porch": camera}, topics, Heard(settings, topics, pack))
    health.look(112.0)
    assert [topic for topic, _ in wanted] == ["status", "health"]
    assert wanted[0][1] == b"online"
    said = parse(CameraHealth, wanted[1][1])
    assert (said.frame_age_s, said.last_frame_at, said.taken, said.still) == (2.0, AT, 3, 1)
    health.look(113.0)
    assert len(wanted) == 2  # nothing new
    health.look(131.0)
    assert [payload for topic, payload in wanted[2:] if topic == "status"] == [b"offline"]
    health.look(131.0 + REPEAT_S)
    assert json.loads(wanted[-1][1])["frame_age_s"] == pytest.approx(21 + REPEAT_S)
    assert len(wanted) == 6
