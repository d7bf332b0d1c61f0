"""The compose file against the programs it starts, as far as that goes without a container."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import build_parser as gateway_parser
from gateway.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_the_gateways_settings_are_valid_and_name_the_broker_of_the_file() -> None:
    settings = load_settings(ROOT / "compose" / "home.yaml")
    assert settings.broker.host in SERVICES
    mounts = [mount.rsplit(":", 2)[-2] for mount in SERVICES["gateway"]["volumes"]]
    assert {camera.source for camera in settings.cameras.values()} <= set(mounts)


def test_the_gateways_command_is_one_that_the_program_has() -> None:
    command = SERVICES["gateway"]["command"]
    options = gateway_parser().parse_args(command)
    mounts = [mount.rsplit(":", 2)[-2] for mount in SERVICES["gateway"]["volumes"]]
    assert str(options.config) in mounts


def test_every_image_starts_a_console_command_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    starts = [line for line in dockerfile.splitlines() if line.startswith("ENTRYPOINT")]
    commands = [shlex.split(line.removeprefix("ENTRYPOINT").strip(" []"))[0] for line in starts]
    assert commands == ["idlesight-node", "idlesight-gateway"]
    assert all(f"{command} = " in project for command in commands)


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="docker-compose is not installed"
)
def test_compose_accepts_the_file_and_asks_for_the_pictures() -> None:
    for environment, code in (({"PICTURES": "/tmp"}, 0), ({}, 1)):
        done = subprocess.run(
            ["docker-compose", "config"],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
    assert "set PICTURES to a folder of pictures" in done.stderr
