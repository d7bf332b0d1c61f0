"""How long a result takes beyond the slowest inference, against a bare MQTT echo.

Real Mosquitto, real gateway, a real agent. The peer is what any system of this shape must pay: the
same bytes from one paho client to another and a small answer back, plus the decoding of the JPEG,
which an agent counts as part of its inference and so is measured apart.
"""

import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import yaml
from PIL import Image

from benchmarks.processes import BOUND_S, client, free_port, start
from benchmarks.rows import Row
from broker.codecs import FrameMessage, decode_frame, encode_frame
from broker.payloads import Result, parse
from broker.topics import Topics
from models.pack import Pack, load_pack
from models.preprocess import decode_jpeg

FRAMES = 200
FPS = 10
NODE = "bench"
ANSWER = bytes(32)
TARGET_RATIO = 1.5
TARGET_P50_MS, TARGET_P99_MS = 2.0, 5.0


def result_latency() -> list[Row]:
    """Measure results and echoes in turns on one broker; return a row for p50 and one for p99."""
    pack = load_pack()
    variant = pack.manifest.variants[-1].name
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        start(stack, "broker.cli", "up", "--mosquitto", "--port", str(port), ready=True)
        # One agent: at home each has a processor of its own, here they would wait for each other.
        start(
            stack, "node_agent.cli", "run", "--broker", f"mqtt://127.0.0.1:{port}",
            "--name", NODE, "--variant", variant, "--always", "--priority", "normal",
        )  # fmt: skip
        results, jpegs = _replay(stack, folder, port)
        echo_ms = _echo(stack, port, jpegs)
    beyond_ms = np.array(
        [
            result.latency_ms - max(one.ms for one in result.contributors)
            for result in results
            if result.contributors
        ]
    )
    decode_ms = _decode(pack, jpegs)
    peer_ms = echo_ms + decode_ms
    what = f"result beyond the slowest inference, {len(beyond_ms)} of {len(results)} frames"
    rows = []
    for percent, target_ms in ((50, TARGET_P50_MS), (99, TARGET_P99_MS)):
        mine, peer = (
            float(np.percentile(beyond_ms, percent)),
            float(np.percentile(peer_ms, percent)),
        )
        rows.append(
            Row(
                f"{what}, p{percent}",
                f"{mine:.2f} ms, {mine / peer:.2f} × peer",
                f"≤ {target_ms:g} ms, ≤ {TARGET_RATIO} × peer",
                mine <= target_ms and mine <= TARGET_RATIO * peer,
                f"paho echo + decode {peer:.2f} ms",
            )
        )
    return rows


def _replay(stack: ExitStack, folder: Path, port: int) -> tuple[list[Result], list[bytes]]:
    """Send pictures through gateway and agent; return the results and the frames' pictures."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for index in range(FRAMES):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(pictures / f"{index:04d}.jpg")
    config = folder / "home.yaml"
    camera = {"source": str(pictures), "fps": FPS, "deadline_ms": 2000, "min_confidence": 0}
    settings = {"broker": f"mqtt://127.0.0.1:{port}", "cameras": {"bench": camera}}
    config.write_text(yaml.safe_dump(settings))
    topics = Topics("home")
    results: list[Result] = []
    jpegs: list[bytes] = []

    def receive(_client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == topics.frames("bench"):
            jpegs.append(decode_frame(bytes(message.payload)).jpeg)
        elif not message.retain:
            results.append(parse(Result, bytes(message.payload)))

    client(stack, port, receive, topics.frames("bench"), topics.result("bench"))
    gateway = start(
        stack, "gateway.cli", "run", "--config", str(config), "--exit-when-done",
        "--wait-for-nodes", "1",
    )  # fmt: skip
    gateway.wait(BOUND_S)
    return results, jpegs


def _echo(stack: ExitStack, port: int, jpegs: list[bytes]) -> np.ndarray:
    """Return the round trips, in ms, of the same frames against a small answer, both bare paho."""
    arrived = threading.Event()

    def reply(client: mqtt.Client, _userdata: Any, _message: mqtt.MQTTMessage) -> None:
        client.publish("echo/answer", ANSWER)

    client(stack, port, reply, "echo/frame")
    sender = client(stack, port, lambda *_: arrived.set(), "echo/answer")
    trips_ms = []
    for number, jpeg in enumerate(jpegs):
        arrived.clear()
        began_s = time.perf_counter()
        sender.publish("echo/frame", encode_frame(FrameMessage(1, number, 500, jpeg)))
        if not arrived.wait(BOUND_S):
            raise TimeoutError("the echo never came")
        trips_ms.append((time.perf_counter() - began_s) * 1000)
        time.sleep(0.5 / FPS)  # at the pace of the frames, so that neither finds caches warmer
    return np.array(trips_ms)


def _decode(pack: Pack, jpegs: list[bytes]) -> np.ndarray:
    """Return how long decoding each picture for the largest variant takes, in ms."""
    times_ms = []
    for jpeg in jpegs:
        began_s = time.perf_counter()
        decode_jpeg(jpeg, pack.largest_resolution)
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return np.array(times_ms)
