import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.payloads import CameraCommand
from gateway.camera_settings import CameraSettings
from gateway.errors import StateFileError
from gateway.overrides import (
    CameraOverride,
    Overrides,
    drop_unknown,
    in_effect,
    read_overrides,
    write_overrides,
)

SETTINGS = CameraSettings(source="/x", deadline_ms=500, min_confidence=0.5)


@pytest.mark.parametrize(
    ("commands", "enabled", "deadline_ms", "min_confidence", "overridden"),
    [
        ([], True, 500, 0.5, []),
        ([{"deadline_ms": 300}], True, 300, 0.5, ["deadline_ms"]),
        ([{"enabled": False}, {"min_confidence": 0}], False, 500, 0, ["enabled", "min_confidence"]),
        ([{"enabled": False}, {"enabled": True}], True, 500, 0.5, []),
        ([{"deadline_ms": 300}, {"deadline_ms": 500}], True, 500, 0.5, []),
        ([{"deadline_ms": 300}, {"deadline_ms": None}], True, 300, 0.5, ["deadline_ms"]),
        ([{"deadline_ms": 300}, {"reset": True}], True, 500, 0.5, []),
        (
            [{"enabled": False}, {"reset": True, "deadline_ms": 9000}],
            True,
            9000,
            0.5,
            ["deadline_ms"],
        ),
    ],
)
def test_what_holds_after_commands(
    commands: list[dict[str, Any]],
    enabled: bool,
    deadline_ms: int,
    min_confidence: float,
    overridden: list[str],
) -> None:
    overrides = Overrides()
    for command in commands:
        overrides = overrides.after("porch", SETTINGS, CameraCommand.model_validate(command))
    effective = in_effect("porch", SETTINGS, overrides.of("porch"))
    assert (effective.enabled, effective.deadline_ms) == (enabled, deadline_ms)
    assert effective.min_confidence == min_confidence
    assert effective.overridden == overridden
    assert ("porch" in overrides.cameras) == bool(overridden)


def test_a_command_to_one_camera_leaves_the_others() -> None:
    command = CameraCommand(enabled=False)
    overrides = Overrides().after("a", SETTINGS, command).after("b", SETTINGS, command)
    assert not in_effect("a", SETTINGS, overrides.of("a")).enabled
    assert set(overrides.after("b", SETTINGS, CameraCommand(reset=True)).cameras) == {"a"}


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.builds(
            CameraOverride,
            enabled=st.sampled_from([None, True, False]),
            deadline_ms=st.none() | st.integers(10, 60_000),
            min_confidence=st.none() | st.floats(0, 1),
        ),
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, cameras: dict[str, CameraOverride]
) -> None:
    file = tmp_path_factory.mktemp("state") / "new" / "home.json"
    overrides = Overrides(cameras=cameras)
    write_overrides(file, overrides)
    assert read_overrides(file) == overrides
    assert os.listdir(file.parent) == ["home.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{cut off",
        b"\xff\xfe",
        b'{"cameras": {"porch": {"deadline_ms": 5}}}',
        b'{"cameras": {"porch": {"min_confidence": "much"}}}',
        b'{"cameras": [' + b" " * 300_000,
    ],
)
def test_a_file_that_cannot_be_used_is_said_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    file = tmp_path / "home.json"
    file.write_bytes(content)
    assert read_overrides(file) == Overrides()
    assert len(caplog.messages) == 1
    assert "is ignored" in caplog.text


def test_no_file_is_nothing_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_overrides(tmp_path / "none.json") == Overrides()
    assert caplog.messages == []


def test_a_file_of_a_later_version_holds(tmp_path: Path) -> None:
    file = tmp_path / "home.json"
    file.write_text(json.dumps({"cameras": {"a": {"enabled": False, "fps": 3}}, "nodes": {}}))
    assert read_overrides(file).of("a") == CameraOverride(enabled=False)


def test_a_disk_that_takes_nothing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFileError, match=r"cannot be written .*: what was set holds until"):
        write_overrides(tmp_path / "file" / "home.json", Overrides())


def test_cameras_that_are_gone_are_forgotten() -> None:
    off = CameraOverride(enabled=False)
    kept = drop_unknown(Overrides(cameras={"a": off, "b": off}), {"b": SETTINGS})
    assert kept == Overrides(cameras={"b": off})
