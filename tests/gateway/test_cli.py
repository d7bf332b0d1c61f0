import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from gateway.cli import main
from gateway.overrides import CameraOverride, Overrides, write_overrides
from gateway.settings import load_settings
from models.pack import Pack

ROOT = Path(__file__).parents[2]
# Every line is one sentence: nothing of a traceback.
TRACEBACK = re.compile(r"Traceback|^  File ", re.MULTILINE)


@pytest.fixture
def config(tmp_path: Path, pack: Pack) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (number * 80, 0, 0)).save(folder / f"{number}.png")
    file = tmp_path / "home.yaml"
    settings = {
        "broker": "mqtt://127.0.0.1:9",  # the discard port: nobody is there
        "pack": str(pack.path),
        "cameras": {"porch": {"source": "pictures", "fps": 20, "deadline_ms": 50}},
    }
    file.write_text(yaml.safe_dump(settings))
    return file


def change(file: Path, **settings: object) -> Path:
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | settings))
    return file


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_check_prints_the_settings_in_effect(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", str(config)]) == 0
    shown = capsys.readouterr()
    settings = yaml.safe_load(shown.out)
    assert settings["cameras"]["porch"]["min_confidence"] == 0.5
    assert "# pack tiny 1: 10 labels, V1, V2, V3" in shown.out
    assert shown.err == ""


def test_check_says_what_commands_have_set(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    (camera,) = load_settings(config).cameras
    override = CameraOverride(enabled=False, deadline_ms=321)
    write_overrides(load_settings(config).state_file, Overrides(cameras={camera: override}))
    assert main(["check", "--config", str(config)]) == 0
    output = capsys.readouterr().out
    assert f"# cameras.{camera}.enabled is false by a command" in output
    assert f"# cameras.{camera}.deadline_ms is 321 by a command" in output
    assert "min_confidence is" not in output


def test_check_masks_passwords(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(config, broker="mqtts://me:hush@broker")
    assert main(["check", "--config", str(config)]) == 0
    assert "hush" not in capsys.readouterr().out


def test_check_mentions_a_source_that_is_not_there_yet(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(config, cameras={"porch": {"source": "later"}})
    assert main(["check", "--config", str(config)]) == 0
    assert "cameras.porch.source" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(
    config: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(config, gatway="x")
    assert main([command, "--config", str(config)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"idlesight-gateway: {config}: gatway is not a setting; did you mean gateway?\n"
    )


def test_a_corrupt_pack_is_one_sentence_and_exit_code_2(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(config, pack=str(tmp_path / "no-pack"))
    assert main(["check", "--config", str(config)]) == 2
    shown = capsys.readouterr().err
    assert "no-pack" in shown
    assert shown.count("\n") == 1


def test_a_wrong_broker_url_is_one_sentence_and_exit_code_2(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", str(config), "--broker", "http://h"]) == 2
    assert "write mqtt:// or mqtts://" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["run"], ["dance"], ["run", "--config", "x", "--wait-for-nodes", "-1"]],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("idlesight-gateway")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["check", "--help"]])
def test_help_has_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_ends_it_while_the_broker_is_away(
    config: Path, number: signal.Signals, code: int
) -> None:
    process = started("run", "--config", str(config))
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "broker mqtt://127.0.0.1:9 cannot be reached" in line
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert output == ""
    assert not TRACEBACK.search(errors)
