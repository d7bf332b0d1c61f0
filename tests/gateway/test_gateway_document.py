"""docs/gateway.md is what people copy from: its examples must load and its tables be complete."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from broker.settings import BrokerSettings
from gateway.camera_settings import (
    CameraSettings,
    LabelStateSettings,
    MotionSettings,
    StateSettings,
)
from gateway.settings import GatewaySettings, HomeAssistantSettings, check_labels, load_settings
from models.pack import load_pack

DOCUMENT = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_loads_and_fits_the_pack_that_ships(example: str, tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    file.write_text(example, encoding="utf-8")
    pack = load_pack()
    check_labels(load_settings(file), pack.labels, pack.name)


def test_the_home_has_three_cameras(tmp_path: Path) -> None:
    file = tmp_path / "home.yaml"
    file.write_text(EXAMPLES[0], encoding="utf-8")
    cameras = load_settings(file).cameras
    assert [camera.kind for camera in cameras.values()] == ["auto", "snapshot", "mqtt"]
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize(
    "settings",
    [
        GatewaySettings,
        HomeAssistantSettings,
        BrokerSettings,
        CameraSettings,
        MotionSettings,
        StateSettings,
        LabelStateSettings,
    ],
)
def test_every_setting_is_explained(settings: type[BaseModel]) -> None:
    for name in settings.model_fields:
        assert f"`{name}`" in DOCUMENT, name


@pytest.mark.parametrize(
    ("settings", "name", "default"),
    [
        (model, name, field.default)
        for model in (CameraSettings, MotionSettings, StateSettings)
        for name, field in model.model_fields.items()
        if isinstance(field.default, int | float | str)
    ],
)
def test_defaults_are_as_the_tables_say(
    settings: type[BaseModel], name: str, default: object
) -> None:
    rows = [row.split("|") for row in DOCUMENT.splitlines() if row.startswith("|")]
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    found = [
        value.strip().strip("`")
        for row in rows
        for key, value in zip(re.findall(r"`(\w+)`", row[1]), row[2].split(", ") * 2, strict=False)
        if key == name
    ]
    assert shown.removesuffix(".0") in found, (settings.__name__, found)
