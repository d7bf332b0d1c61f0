from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import BrokerError
from broker.topics import (
    InvalidIdError,
    Kind,
    Parsed,
    TopicError,
    Topics,
    check_topic_filter,
    matches,
    overlaps,
    parse,
)

TOPICS = Topics("home")
SHA = "0123456789abcdef" * 4
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)

EXPECTED = [
    (TOPICS.status, "idlesight/home/status", Parsed(Kind.STATUS, "home")),
    (TOPICS.plan, "idlesight/home/plan", Parsed(Kind.PLAN, "home")),
    (TOPICS.frames("porch"), "idlesight/home/frames/porch", Parsed(Kind.FRAME, "porch")),
    (
        TOPICS.predictions("pi"),
        "idlesight/home/nodes/pi/predictions",
        Parsed(Kind.PREDICTION, "pi"),
    ),
    (TOPICS.node_status("pi"), "idlesight/home/nodes/pi/status", Parsed(Kind.NODE_STATUS, "pi")),
    (TOPICS.node_state("pi"), "idlesight/home/nodes/pi/state", Parsed(Kind.NODE_STATE, "pi")),
    (
        TOPICS.assignment("pi"),
        "idlesight/home/nodes/pi/assignment",
        Parsed(Kind.ASSIGNMENT, "pi"),
    ),
    (TOPICS.node_set("pi"), "idlesight/home/nodes/pi/set", Parsed(Kind.NODE_SET, "pi")),
    (TOPICS.result("porch"), "idlesight/home/cameras/porch/result", Parsed(Kind.RESULT, "porch")),
    (TOPICS.image("porch"), "idlesight/home/cameras/porch/image", Parsed(Kind.IMAGE, "porch")),
    (
        TOPICS.camera_status("porch"),
        "idlesight/home/cameras/porch/status",
        Parsed(Kind.CAMERA_STATUS, "porch"),
    ),
    (
        TOPICS.camera_health("porch"),
        "idlesight/home/cameras/porch/health",
        Parsed(Kind.CAMERA_HEALTH, "porch"),
    ),
    (
        TOPICS.camera_state("porch"),
        "idlesight/home/cameras/porch/state",
        Parsed(Kind.CAMERA_STATE, "porch"),
    ),
    (
        TOPICS.camera_event("porch"),
        "idlesight/home/cameras/porch/event",
        Parsed(Kind.CAMERA_EVENT, "porch"),
    ),
    (
        TOPICS.camera_set("porch"),
        "idlesight/home/cameras/porch/set",
        Parsed(Kind.CAMERA_SET, "porch"),
    ),
    (
        TOPICS.camera_settings("porch"),
        "idlesight/home/cameras/porch/settings",
        Parsed(Kind.CAMERA_SETTINGS, "porch"),
    ),
    (TOPICS.gateway_state, "idlesight/home/state", Parsed(Kind.GATEWAY_STATE, "home")),
    (TOPICS.gateway_set, "idlesight/home/set", Parsed(Kind.GATEWAY_SET, "home")),
    (
        TOPICS.model_part(SHA, 12),
        f"idlesight/home/models/{SHA}/12",
        Parsed(Kind.MODEL_PART, SHA, 12),
    ),
]


@pytest.mark.parametrize(("built", "topic", "parsed"), EXPECTED)
def test_topic_is_built_and_parsed(built: str, topic: str, parsed: Parsed) -> None:
    assert built == topic
    assert parse(TOPICS, topic) == parsed


def test_filters_cover_their_topics() -> None:
    assert TOPICS.all_predictions == TOPICS.predictions("X").replace("X", "+")
    assert TOPICS.all_node_status == "idlesight/home/nodes/+/status"
    assert TOPICS.all_node_states == "idlesight/home/nodes/+/state"
    assert TOPICS.all_camera_status == "idlesight/home/cameras/+/status"
    assert TOPICS.all_camera_states == "idlesight/home/cameras/+/state"
    assert TOPICS.all_camera_sets == "idlesight/home/cameras/+/set"
    assert TOPICS.all_frames == "idlesight/home/frames/+"
    assert TOPICS.all_results == "idlesight/home/cameras/+/result"
    assert TOPICS.all_first_model_parts == "idlesight/home/models/+/0"
    assert TOPICS.model_parts(SHA) == f"idlesight/home/models/{SHA}/+"


@pytest.mark.parametrize(
    "bad", ["", "a/b", "+", "#", "a b", "ä", "x" * 65, "porch\n", "$SYS", "a.b", "\0"]
)
def test_invalid_id_builds_no_topic(bad: str) -> None:
    for build in (TOPICS.frames, TOPICS.predictions, TOPICS.result, TOPICS.node_status):
        with pytest.raises(InvalidIdError, match="1 to 64"):
            build(bad)
    with pytest.raises(InvalidIdError, match="gateway"):
        Topics(bad)
    with pytest.raises(InvalidIdError, match="prefix"):
        Topics("home", prefix=bad)


@pytest.mark.parametrize("sha", ["", "a" * 63, "A" * 64, "a" * 65, "g" * 64, "a" * 64 + "\n"])
def test_model_topic_needs_a_sha256(sha: str) -> None:
    with pytest.raises(InvalidIdError, match="hex"):
        TOPICS.model_part(sha, 0)


@pytest.mark.parametrize("part", [-1, 10_000])
def test_model_part_number_is_bounded(part: int) -> None:
    with pytest.raises(InvalidIdError, match="part"):
        TOPICS.model_part(SHA, part)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "idlesight",
        "idlesight/home",
        "idlesight/home/",
        "idlesight/other/status",
        "other/home/status",
        "idlesight/home/status/more",
        "/idlesight/home/status",
        "idlesight/home/frames/",
        "idlesight/home/frames/a b",
        "idlesight/home/frames/+",
        "idlesight/home/nodes/pi",
        "idlesight/home/nodes/pi/secrets",
        "idlesight/home/nodes//state",
        "idlesight/home/cameras/porch/mood",
        "idlesight/home/models/abc/0",
        f"idlesight/home/models/{SHA}/01",
        f"idlesight/home/models/{SHA}/x",
        f"idlesight/home/models/{SHA}/10000",
        "homeassistant/status",
    ],
)
def test_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(TopicError, match="not a topic under idlesight/home/"):
        parse(TOPICS, topic)


@given(st.text(max_size=100))
def test_any_text_parses_or_raises_topic_error(topic: str) -> None:
    try:
        parse(TOPICS, topic)
    except TopicError:
        return
    raise AssertionError("no random text is one of our topics")


@given(IDS, IDS, IDS)
def test_every_valid_id_comes_back(gateway: str, prefix: str, node: str) -> None:
    topics = Topics(gateway, prefix)
    assert parse(topics, topics.predictions(node)) == Parsed(Kind.PREDICTION, node)
    assert parse(topics, topics.frames(node)) == Parsed(Kind.FRAME, node)


def test_invalid_id_error_is_a_value_error_and_ours() -> None:
    assert issubclass(InvalidIdError, ValueError)
    assert issubclass(InvalidIdError, BrokerError)


def test_topics_are_values() -> None:
    assert Topics("home") == TOPICS
    assert [one.name for one in fields(Topics)] == ["gateway", "prefix"]


@pytest.mark.parametrize("topic_filter", ["a", "a/b", "/", "+", "#", "a/+/b", "+/#", "a//b"])
def test_topic_filter(topic_filter: str) -> None:
    assert check_topic_filter(topic_filter) == topic_filter


@pytest.mark.parametrize("text", ["", "a+", "a/b#", "#/a", "a/#/b", "a\0", "x" * 65_536])
def test_what_is_no_topic_filter(text: str) -> None:
    with pytest.raises(InvalidIdError, match="is no MQTT topic or topic filter"):
        check_topic_filter(text)


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("#", True),
        ("+/#", True),
        ("idlesight/#", True),
        ("idlesight/home/#", True),
        ("+/home/cameras/x/image", True),
        ("idlesight/+/frames/+", True),
        ("idlesight/home", False),
        ("idlesight/other/cameras/x/image", False),
        ("frigate/+/+/snapshot", False),
        ("+", False),
    ],
)
def test_whether_a_filter_takes_in_what_is_below_a_root(topic_filter: str, expected: bool) -> None:
    assert overlaps(topic_filter, ("idlesight", "home")) is expected
    if expected:
        below = topic_filter.replace("#", "x").split("/")
        named = [
            own if level == "+" else level
            for own, level in zip(
                ["idlesight", "home", "x", "x", "x"], [*below, "x", "x"], strict=False
            )
        ]
        named[:2] = ["idlesight", "home"]
        assert any(matches(topic_filter, "/".join(named[:end])) for end in range(3, 6))
