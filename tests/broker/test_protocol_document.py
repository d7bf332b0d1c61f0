"""The vectors and examples in PROTOCOL.md, read from the document itself."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from paho.mqtt.client import topic_matches_sub
from pydantic import BaseModel

import broker.codecs
from broker.codecs import (
    MAX_CLASS_COUNT,
    MAX_JPEG_BYTES,
    MAX_MESSAGE_BYTES,
    FrameMessage,
    PredictionMessage,
    decode_frame,
    decode_prediction,
    encode_frame,
    encode_prediction,
)
from broker.errors import PayloadError
from broker.model_parts import (
    MAX_MODEL_FILE_BYTES,
    MAX_MODEL_PART_BYTES,
    MAX_PART_DATA_BYTES,
    ModelPart,
    decode_model_part,
    encode_model_part,
)
from broker.payloads import (
    MAX_JSON_BYTES,
    Assignment,
    CameraCommand,
    CameraEvent,
    CameraHealth,
    CameraSettingsInEffect,
    CameraState,
    GatewayCommand,
    GatewayState,
    ModelDescription,
    NodeCommand,
    NodePlan,
    NodeState,
    OwnerReport,
    PlanReport,
    Result,
    parse,
)
from broker.topics import Topics
from node_agent.objections import Cause

DOCUMENT = (Path(broker.codecs.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    return str(found)


VECTORS: dict[str, list[dict[str, Any]]] = json.loads(_block("json test-vectors"))


def _named(kind: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]]


@pytest.mark.parametrize("vector", _named("frames"))
def test_frame_vector(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["bytes"])
    message = FrameMessage(
        vector["session"], vector["frame"], vector["deadline_ms"], bytes.fromhex(vector["jpeg"])
    )
    assert encode_frame(message) == payload
    assert decode_frame(payload) == message


@pytest.mark.parametrize("vector", _named("predictions"))
def test_prediction_vector(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["bytes"])
    names = ("session", "frame", "model", "inference_us", "class_count")
    message = PredictionMessage(
        **{name: vector[name] for name in names},
        indices=tuple(vector["indices"]),
        values=tuple(vector["values"]),
    )
    assert encode_prediction(message) == payload
    assert decode_prediction(payload) == message


@pytest.mark.parametrize("vector", _named("model_parts"))
def test_model_part_vector(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["bytes"])
    message = ModelPart(
        vector["part"], vector["part_count"], vector["total_bytes"], bytes.fromhex(vector["data"])
    )
    assert encode_model_part(message) == payload
    assert decode_model_part(payload) == message


@pytest.mark.parametrize("vector", _named("refused_model_parts"))
def test_refused_model_part_vector(vector: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        decode_model_part(bytes.fromhex(vector["bytes"]))


@pytest.mark.parametrize("vector", _named("refused_frames"))
def test_refused_frame_vector(vector: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        decode_frame(bytes.fromhex(vector["bytes"]))


@pytest.mark.parametrize("vector", _named("refused_predictions"))
def test_refused_prediction_vector(vector: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        decode_prediction(bytes.fromhex(vector["bytes"]))


def test_the_vectors_are_many() -> None:
    assert {kind: len(vectors) for kind, vectors in VECTORS.items()} == {
        "frames": 2,
        "predictions": 5,
        "model_parts": 2,
        "refused_frames": 5,
        "refused_predictions": 16,
        "refused_model_parts": 12,
    }


def test_example_result_is_one() -> None:
    assert parse(Result, _block("json").encode()).label == "cat"


def test_example_assignment_is_one() -> None:
    description = parse(Assignment, _block("json assignment").encode()).description
    assert description is not None
    assert description.classes == 10


def test_example_event_is_one() -> None:
    assert parse(CameraEvent, _block("json event").encode()).event_type == "recognized"


def test_example_plan_is_one() -> None:
    assert parse(PlanReport, _block("json plan").encode()).nodes[1].variant == "V1"


@pytest.mark.parametrize(
    "model",
    [
        NodeState,
        OwnerReport,
        NodeCommand,
        Assignment,
        ModelDescription,
        PlanReport,
        NodePlan,
        Result,
        CameraHealth,
        CameraState,
        CameraEvent,
        CameraCommand,
        CameraSettingsInEffect,
        GatewayCommand,
        GatewayState,
    ],
)
def test_every_json_field_is_documented(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        assert f"`{name}`" in DOCUMENT


def test_every_topic_is_documented() -> None:
    topics = Topics("GW")
    for topic, shown in [
        (topics.status, "status"),
        (topics.plan, "plan"),
        (topics.frames("X"), "frames/<camera>"),
        (topics.predictions("X"), "nodes/<node>/predictions"),
        (topics.node_status("X"), "nodes/<node>/status"),
        (topics.node_state("X"), "nodes/<node>/state"),
        (topics.assignment("X"), "nodes/<node>/assignment"),
        (topics.node_set("X"), "nodes/<node>/set"),
        (topics.model_part("0" * 64, 7).replace("0" * 64, "X"), "models/<sha256>/<part>"),
        (topics.camera_status("X"), "cameras/<camera>/status"),
        (topics.result("X"), "cameras/<camera>/result"),
        (topics.image("X"), "cameras/<camera>/image"),
        (topics.camera_health("X"), "cameras/<camera>/health"),
        (topics.camera_state("X"), "cameras/<camera>/state"),
        (topics.camera_event("X"), "cameras/<camera>/event"),
        (topics.camera_set("X"), "cameras/<camera>/set"),
        (topics.camera_settings("X"), "cameras/<camera>/settings"),
        (topics.gateway_state, "state"),
        (topics.gateway_set, "set"),
    ]:
        assert topic == "idlesight/GW/" + re.sub("<.*?>", "X", shown.replace("<part>", "7"))
        assert f"| `{shown}` |" in DOCUMENT


def test_a_node_may_read_what_it_subscribes_to_and_nothing_else() -> None:
    life = DOCUMENT.split("## A node's life")[1].split("\n## ")[0]
    sentences = re.findall(r"SUBSCRIBE to (.*?)[.(]", life, re.DOTALL)
    subscribed = {found for one in sentences for found in re.findall(r"`(.*?)`", one)}
    pattern = re.compile(r"^pattern read idlesight/\+/(.*)$", re.MULTILINE)
    readable = [found.replace("%u", "<node>") for found in pattern.findall(DOCUMENT)]
    assert subscribed
    for topic_filter in subscribed:
        assert any(topic_matches_sub(one, topic_filter) for one in readable), topic_filter
    for one in readable:
        assert any(topic_matches_sub(one, topic_filter) for topic_filter in subscribed), one
    assert "status" not in subscribed  # the gateway's: nothing a node does depends on it


def test_every_cause_is_documented() -> None:
    for cause in get_args(Cause):
        assert f"`{cause}`" in DOCUMENT


@pytest.mark.parametrize(
    "limit",
    [
        MAX_MESSAGE_BYTES,
        MAX_JPEG_BYTES,
        MAX_CLASS_COUNT,
        MAX_JSON_BYTES,
        MAX_MODEL_FILE_BYTES,
        MAX_MODEL_PART_BYTES,
        MAX_PART_DATA_BYTES,
    ],
)
def test_limit_is_documented(limit: int) -> None:
    assert f"{limit:,}".replace(",", " ") in DOCUMENT
