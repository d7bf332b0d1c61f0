"""docs/homeassistant.md: its entities are those announced, its examples name only such."""

import re
from pathlib import Path

import pytest
import yaml

from broker.topics import Topics
from gateway.camera_entities import Announced, camera_device
from gateway.discovery import announcements
from gateway.entities import Device
from gateway.gateway_entities import gateway_device
from gateway.node_entities import OPTIONAL, node_device
from gateway.settings import check_labels, load_settings
from models.pack import load_pack

DOCUMENT = (Path(__file__).parents[2] / "docs" / "homeassistant.md").read_text(encoding="utf-8")
AUTOMATIONS = re.findall(r"^```yaml automation\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
(SETTINGS,) = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
TOPICS = Topics("home")
HALL = camera_device(TOPICS, Announced("hall", watch=("person",), image=True))
TABLET = node_device(TOPICS, "tablet", OPTIONAL)
HOME = gateway_device(TOPICS, "1")

_ENTITY = re.compile(
    r"\b((?:sensor|binary_sensor|switch|number|button|event|image)\.[a-z0-9_]+)\b(?!\.)"
)


def entity_ids(*devices: Device) -> set[str]:
    found = announcements(TOPICS, devices, form="component", discovery_prefix="h", version="1")
    return {one.config["default_entity_id"] for one in found if "unique_id" in one.config}


def test_every_entity_is_in_the_tables_and_no_other() -> None:
    tables = DOCUMENT.split("## What appears")[1].split("\n## ")[0]
    assert set(_ENTITY.findall(tables)) == entity_ids(HALL, TABLET, HOME)


@pytest.mark.parametrize("text", AUTOMATIONS)
def test_automations_name_entities_and_topics_that_are_there(text: str) -> None:
    door = camera_device(TOPICS, Announced("front_door", watch=("person",)))
    automation = yaml.safe_load(text)
    assert automation.keys() >= {"alias", "trigger", "action"}
    services = {str(step["service"]) for step in automation["action"]}
    named = {
        one for one in _ENTITY.findall(text) if not any(name.startswith(one) for name in services)
    }
    assert named <= entity_ids(HALL, door, TABLET, HOME)
    for trigger in automation["trigger"]:
        if trigger["platform"] == "mqtt":
            assert trigger["topic"] == TOPICS.camera_event("front_door")
        elif trigger.get("to") == "on":
            assert trigger["not_from"] == ["unavailable", "unknown"]  # the trap


def test_there_are_automations() -> None:
    assert len(AUTOMATIONS) == 4


def test_settings_load_and_fit_the_pack_that_ships(tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    file.write_text(SETTINGS, encoding="utf-8")
    pack = load_pack()
    check_labels(load_settings(file), pack.labels, pack.name)
