"""The processes and clients that a benchmark of the whole path needs; all end with their stack."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

BOUND_S = 120.0


def client(
    stack: ExitStack, port: int, on_message: Callable[..., None], *topic_filters: str
) -> mqtt.Client:
    """Return a connected client that has subscribed, and runs in a thread of its own."""
    subscribed = threading.Event()
    made = mqtt.Client(CallbackAPIVersion.VERSION2)
    made.on_message = on_message
    made.on_subscribe = lambda *_: subscribed.set()
    made.connect("127.0.0.1", port)
    if topic_filters:
        made.subscribe([(topic_filter, 0) for topic_filter in topic_filters])
    else:
        subscribed.set()
    made.loop_start()
    stack.callback(made.loop_stop)
    stack.callback(made.disconnect)
    if not subscribed.wait(BOUND_S):
        raise TimeoutError("the broker does not answer")
    return made


def start(
    stack: ExitStack, module: str, *arguments: str, ready: bool = False
) -> "subprocess.Popen[str]":
    """Start one of our commands, and where it says so wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE if ready else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
    )

    def end() -> None:
        process.terminate()
        process.wait(BOUND_S)

    stack.callback(end)
    if ready:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not re.match("ready: ", line):
            raise RuntimeError(f"{module} did not start")
    return process


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
