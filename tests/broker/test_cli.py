"""The command as a real process."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.mosquitto import find_mosquitto

TIMEOUT_S = 40


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broker.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env=os.environ | environment,
    )


@pytest.fixture
def without_mosquitto(tmp_path: Path) -> list[str]:
    """A Python command line that runs the command where Mosquitto is not installed."""
    code = (
        "import sys, broker.cli as cli; cli.find_mosquitto = lambda: None; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    return [sys.executable, "-c", code]


def test_ready_line_is_exact(any_broker: Any) -> None:
    line = any_broker.command.ready_line
    name = {"mosquitto": r"mosquitto 2\.\d+\.\d+", "embedded": r"amqtt 0\.\d+\.\d+"}
    assert re.fullmatch(
        rf"ready: {name[any_broker.kind]} on mqtt://127\.0\.0\.1:{any_broker.port}", line
    )


def test_sigterm_ends_it_with_zero_and_frees_the_port(own_broker: Any) -> None:
    code, said = own_broker.command.stop()
    assert code == 0
    assert said.count("\n") == 1
    assert f"connect with --broker mqtt://127.0.0.1:{own_broker.port}" in said
    own_broker.command.start()


def test_ctrl_c_ends_it_quietly_with_130(own_broker: Any) -> None:
    process = own_broker.command.process
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.mosquitto
async def test_child_ends_when_the_command_is_killed(own_broker: Any, until: Any) -> None:
    own_broker.command.stop(kill=True)

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", own_broker.port)) != 0

    await until(gone)


@pytest.mark.mosquitto
def test_child_that_ends_by_itself_ends_the_command(started: Any, mosquitto: Any) -> None:
    command = [sys.executable, "-m", "broker.cli", "up", "--mosquitto", "--port", "0"]
    _, process = started(command)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children in /proc")
    (child,) = children.read_text().split()
    os.kill(int(child), signal.SIGKILL)
    assert process.wait(timeout=TIMEOUT_S) == 2


def test_occupied_port_is_one_sentence(any_broker: Any) -> None:
    for kind in ("--mosquitto", "--embedded"):
        ended = _run("up", kind, "--port", str(any_broker.port))
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert re.fullmatch(r"idlesight-broker: port \d+ .* is occupied: .*\n", ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required"),
        (["down"], "invalid choice"),
        (["up", "--port", "99999"], "not a port"),
        (["up", "--port", "x"], "not a port"),
        (["up", "--embedded", "--mosquitto"], "not allowed with"),
        (["up", "--port", "0", "--bind", "192.0.2.1"], "cannot listen on"),
        (["up", "--port", "0", "--bind", "0.0.0.0"], "others could read every picture"),
        (["up", "--port", "0", "--config", "/no/such/file"], "is not a file"),
        (["up", "--port", "0", "--password-file", "/no/such/file"], "is not a file"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], says: str) -> None:
    ended = _run(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_unwritable_data_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = _run("up", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert ended.returncode == 2
    assert re.fullmatch(r"idlesight-broker: cannot write to .*--data-dir\n", ended.stderr)


@pytest.mark.mosquitto
def test_config_mosquitto_refuses_is_one_sentence(tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    config = tmp_path / "mosquitto.conf"
    config.write_text("no_such_option true\n")
    ended = _run("up", "--config", str(config), "--port", "0")
    assert ended.returncode == 2
    assert "mosquitto does not start" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mosquitto"], "Mosquitto is not installed"),
        (["--password-file", "FILE"], "need Mosquitto"),
        (["--config", "FILE"], "need Mosquitto"),
    ],
)
def test_what_needs_mosquitto_says_so(
    without_mosquitto: list[str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    given = [str(file) if one == "FILE" else one for one in arguments]
    ended = subprocess.run(
        [*without_mosquitto, "up", "--port", "0", *given],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 2
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.fixture
def started() -> Iterator[Callable[[list[str]], tuple[str, subprocess.Popen[str]]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(command: list[str]) -> tuple[str, subprocess.Popen[str]]:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        return process.stdout.readline(), process

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def test_embedded_broker_stands_in_where_mosquitto_is_missing(
    without_mosquitto: list[str], started: Any
) -> None:
    line, _ = started([*without_mosquitto, "up", "--port", "0"])
    assert line.startswith("ready: amqtt ")


@pytest.mark.mosquitto
async def test_retained_messages_outlive_a_restart_in_the_data_directory(
    mosquitto: Any, tmp_path: Path, free_port: int, started: Any, record: Any
) -> None:
    from broker.session import BrokerSettings

    settings = BrokerSettings(port=free_port)
    command = [sys.executable, "-m", "broker.cli", "up", "--mosquitto", "--port", str(free_port)]
    command += ["--data-dir", str(tmp_path / "new" / "data")]
    _, process = started(command)
    a = record(settings, "keeper")
    await a.connected()
    await a.session.publish("kept", b"kept", qos=1, retain=True)
    await a.end()
    process.terminate()
    process.wait(timeout=TIMEOUT_S)
    started(command)
    b = record(settings, "reader", subscriptions=[("kept", 1)])
    await b.heard(b"kept")
    await b.end()


def test_help_has_examples() -> None:
    for arguments in (["--help"], ["up", "--help"]):
        ended = _run(*arguments)
        assert ended.returncode == 0
        assert "examples:" in ended.stdout
