"""`idlesight-gateway demo`, as `make demo` runs it."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.system

BOUND_S = 90.0


class Demo:
    """One demo as a child process; its output read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def read_until(self, condition: Callable[[str], object]) -> str:
        assert self.process.stdout is not None
        end_s = time.monotonic() + BOUND_S
        while time.monotonic() < end_s:
            readable, _, _ = select.select([self.process.stdout], [], [], end_s - time.monotonic())
            line = self.process.stdout.readline() if readable else ""
            if not line:
                break
            self.lines.append(line.strip())
            if condition(line):
                return line.strip()
        pytest.fail(f"it never said that: {self.lines}")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def agent(self, variant: str) -> psutil.Process:
        (agent,) = [
            child
            for child in self.children()
            if "node_agent.cli" in child.cmdline() and variant in child.cmdline()
        ]
        return agent

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode, said


@pytest.fixture
def started() -> Iterator[list[Demo]]:
    demos: list[Demo] = []
    yield demos
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.end()


def test_demo_ends_by_itself_with_every_frame_answered_though_an_agent_was_killed(
    started: list[Demo],
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo = Demo("--seconds", "8", "--port", str(port))
    started.append(demo)
    assert f"mqtt://127.0.0.1:{port}" in demo.read_until(lambda line: "mqtt://" in line)
    demo.read_until(lambda line: all(f"node-{v}" in line for v in ("V1", "V2", "V3")))
    demo.agent("V2").kill()
    demo.read_until(lambda line: line.startswith("frame") and "node-V2" not in line)
    summary = demo.read_until(lambda line: line.startswith("answered"))
    counted = re.fullmatch(
        r"answered (\d+) of (\d+) frames, p50 \d+\.\d ms, p95 \d+\.\d ms", summary
    )
    assert counted is not None, summary
    assert counted[1] == counted[2]
    assert int(counted[1]) == sum(line.startswith("frame ") for line in demo.lines)
    assert demo.end()[0] == 0


def test_ctrl_c_ends_everything_that_the_demo_started(started: list[Demo]) -> None:
    demo = Demo()
    started.append(demo)
    demo.read_until(lambda line: line.startswith("frame "))
    children = demo.children()
    assert len(children) >= 8  # broker, gateway, three agents and their workers
    demo.process.send_signal(signal.SIGINT)
    code, said = demo.end()
    assert (code, said) == (130, "")
    _, alive = psutil.wait_procs(children, timeout=BOUND_S)
    assert alive == []


def test_pictures_of_ones_own_take_the_photographs_place(
    started: list[Demo], photographs: Path
) -> None:
    demo = Demo("--source", os.path.relpath(photographs))
    started.append(demo)
    demo.read_until(lambda line: line.startswith("frame "))
    demo.process.terminate()
    assert demo.end()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--source", "nowhere"], "nowhere does not exist"),
        (["--seconds", "soon"], "'soon' is no time in seconds"),
        (["--port", "99999"], "'99999' is no port"),
    ],
)
def test_bad_input_is_one_sentence(
    started: list[Demo], arguments: list[str], sentence: str
) -> None:
    demo = Demo(*arguments)
    started.append(demo)
    code, said = demo.end()
    assert code == 2
    assert sentence in said.splitlines()[-1]
    assert "Traceback" not in said


def test_an_occupied_port_is_said_and_nothing_is_left_running(started: list[Demo]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        demo = Demo("--port", str(taken.getsockname()[1]))
        started.append(demo)
        code, said = demo.end()
    assert code == 2
    assert "is occupied" in said
