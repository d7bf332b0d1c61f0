from pathlib import Path

import pytest

from node_agent.readers import activity
from node_agent.readers.activity import read_user_active
from tests.node_agent.children import every_child


def loginctl(tmp_path: Path, script: str) -> str:
    """A program that stands in for loginctl, which answers only where systemd runs."""
    program = tmp_path / "loginctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("script", "active"),
    [
        ('[ "$1 $2" = "show-session --property=IdleHint" ] && echo IdleHint=no', True),
        ("echo IdleHint=yes", False),
        ("echo 'Failed to connect to bus: Host is down' >&2; exit 1", None),
        ("echo nonsense", None),
        ("printf '\\377'", None),
        ("exit 0", None),
    ],
)
async def test_what_logind_says(tmp_path: Path, script: str, active: bool | None) -> None:
    assert await read_user_active(loginctl(tmp_path, script)) is active


async def test_a_device_without_logind_lacks_the_signal(tmp_path: Path) -> None:
    assert await read_user_active(str(tmp_path / "missing")) is None


async def test_a_program_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "_TIMEOUT_S", 0.2)
    before = every_child()
    assert await read_user_active(loginctl(tmp_path, "exec sleep 600")) is None
    assert every_child() <= before
