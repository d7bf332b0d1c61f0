"""What a node costs its host: the foreground's time, how soon it is gone, memory, its start.

A real broker and the real agent at its real priority. The foreground's job is a video being decoded
by one thread, on the same core as the agent and its worker.
"""

import io
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import paho.mqtt.client as mqtt
import psutil
from PIL import Image

from benchmarks.processes import BOUND_S, client, free_port, start
from benchmarks.rows import Row
from broker.codecs import FrameMessage, decode_prediction, encode_frame
from broker.payloads import NodeState, parse
from broker.topics import Topics
from models.pack import load_pack

NODE = "bench"
TOPICS = Topics("home")
FPS = 20  # more than a core that is taken can answer: something always waits
PAIRS = 10
TRIALS = 12
STARTS = 5
MAX_SLOWDOWN = 0.01
# Where half of the pairs lie further apart, what else runs on the machine was measured.
MAX_SPREAD = 0.05
MAX_YIELD_S = 0.6
MAX_PSS_MIB = 75.0
MAX_START_S = 1.5
# After it a load that was there all the time would have been seen.
QUIET_S = 1.5
READY_S = 20.0

_DECODE = """
import sys, time, av
for _ in sys.stdin:
    began = time.perf_counter()
    with av.open(sys.argv[1]) as clip:
        clip.streams.video[0].thread_type = "NONE"
        for _ in clip.decode(video=0):
            pass
    print(time.perf_counter() - began, flush=True)
"""
_SPIN = "while True: pass"


@dataclass
class Ear:
    """What the node says, and when it came."""

    answers: list[tuple[float, float]] = field(default_factory=list)  # (arrived, took), s
    states: list[NodeState] = field(default_factory=list)

    def hear(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        """Note a message, and when it came."""
        now_s = time.perf_counter()
        if message.topic == TOPICS.predictions(NODE):
            took_s = decode_prediction(bytes(message.payload)).inference_us / 1e6
            self.answers.append((now_s, took_s))
        elif message.payload:
            self.states.append(parse(NodeState, bytes(message.payload)))

    def answers_since(self, moment_s: float) -> list[float]:
        """Return when the inferences began that were answered after a moment."""
        return [arrived - took for arrived, took in self.answers if arrived >= moment_s]


@dataclass
class House:
    """A broker, frames without end, and an ear."""

    stack: ExitStack
    port: int
    ear: Ear

    def start_node(self, *options: str) -> "subprocess.Popen[str]":
        """Start the agent with the largest variant of the shipped pack."""
        variant = load_pack().manifest.variants[-1].name
        return start(
            self.stack, "node_agent.cli", "run", "--broker", f"mqtt://127.0.0.1:{self.port}",
            "--name", NODE, "--variant", variant, *options,
        )  # fmt: skip


@contextmanager
def _house() -> Iterator[House]:
    with ExitStack() as stack:
        port = free_port()
        start(stack, "broker.cli", "up", "--mosquitto", "--port", str(port), ready=True)
        ear = Ear()
        client(stack, port, ear.hear, TOPICS.predictions(NODE), TOPICS.node_state(NODE))
        sender = client(stack, port, lambda *_: None)
        over = threading.Event()
        thread = threading.Thread(target=_send, args=(sender, over))
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        yield House(stack, port, ear)


def _send(sender: mqtt.Client, over: threading.Event) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(stream, "JPEG")
    number = 0
    while not over.wait(1 / FPS):
        frame = FrameMessage(1, number, 1000, stream.getvalue())
        sender.publish(TOPICS.frames("bench"), encode_frame(frame))
        number += 1


def guest() -> list[Row]:
    """Measure all of it."""
    return [*foreground_slowdown(), *yield_latency(), *memory_and_start()]


def foreground_slowdown() -> list[Row]:
    """Measure a job alone and beside the agent, in turns: the agent is frozen for half of them."""
    rows = []
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        clip = _clip(Path(folder))
        for what, options in (("working always", ("--always",)), ("with defaults", ())):
            with _house() as house:
                node = house.start_node(*options)
                if not _until(lambda node=node: len(_workers(node.pid)) == 1):  # type: ignore[misc]
                    rows.append(_not_measured(f"slowdown by an agent {what}", "≤ 1 %"))
                    continue
                for pid in (node.pid, *_workers(node.pid)):
                    os.sched_setaffinity(pid, {core})
                alone_s, beside_s, taken = _pairs(node.pid, clip, core)
            ratios = [beside / alone - 1 for alone, beside in zip(alone_s, beside_s, strict=True)]
            slowdown = statistics.median(ratios)
            low, _, high = statistics.quantiles(ratios, n=4)
            noisy = high - low > MAX_SPREAD
            rows.append(
                Row(
                    f"video decode beside an agent {what} on its core, {FPS} frames/s, "
                    f"{PAIRS} pairs",
                    f"{slowdown:+.2%} (half of the pairs {low:+.2%} to {high:+.2%}"
                    f"{': too noisy to tell' if noisy else ''}); "
                    f"the agent used {taken:.2%} of the core",
                    f"≤ {MAX_SLOWDOWN:.0%}",
                    slowdown <= MAX_SLOWDOWN and not noisy,
                    f"alone {statistics.median(alone_s):.2f} s",
                )
            )
    return rows


def _clip(folder: Path) -> Path:
    """Return a video that takes about a second to decode."""
    file = folder / "clip.mp4"
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (45, 80, 3), dtype=np.uint8) for _ in range(16)]
    pictures = [np.asarray(Image.fromarray(one).resize((1280, 720))) for one in coarse]
    with av.open(str(file), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.bit_rate = 1280, 720, 8_000_000
        for index in range(250):
            picture = av.VideoFrame.from_ndarray(pictures[index % 16], format="rgb24")
            clip.mux(stream.encode(picture))
        clip.mux(stream.encode())
    return file


def _pairs(agent: int, clip: Path, core: int) -> tuple[list[float], list[float], float]:
    """Return the job's times alone and beside the agent, and the agent's share of the latter."""
    job = subprocess.Popen(
        [sys.executable, "-c", _DECODE, str(clip)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(job.pid, {core})

    def once(*, frozen: bool) -> float:
        pids = (agent, *_workers(agent))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)
        try:
            assert job.stdin is not None
            assert job.stdout is not None
            job.stdin.write("\n")
            job.stdin.flush()
            return float(job.stdout.readline())
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    try:
        once(frozen=True)  # warms the caches up
        before_s = _used_s(agent)
        alone_s: list[float] = []
        beside_s: list[float] = []
        for pair in range(PAIRS):
            order = (True, False) if pair % 2 else (False, True)
            for frozen in order:
                (alone_s if frozen else beside_s).append(once(frozen=frozen))
        # Frozen, the agent uses nothing, so all of it was used beside the job.
        return alone_s, beside_s, (_used_s(agent) - before_s) / sum(beside_s)
    finally:
        job.kill()
        job.communicate()


def yield_latency() -> list[Row]:
    """Measure how long after others take every core the last inference begins."""
    what = f"from foreign load on every core to no new inference, {TRIALS} trials, the longest"
    with _house() as house, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "node.toml"
        # What makes it stop are the defaults; that it comes back soon makes room for trials.
        config.write_text("[governor]\nhold_off_s = 0.5\njitter = 0\nslow_window_s = 0.5\n")
        house.start_node("--config", str(config))
        if not _until(lambda: len(house.ear.answers) > 0):
            return [_not_measured(what, f"≤ {MAX_YIELD_S:g} s")]
        spinners = _spinners(house.stack)
        yields_s = []
        for _ in range(TRIALS):
            began_s = time.perf_counter()
            for pid in spinners:
                os.kill(pid, signal.SIGCONT)
            time.sleep(QUIET_S)
            starts = house.ear.answers_since(began_s)
            for pid in spinners:
                os.kill(pid, signal.SIGSTOP)
            yields_s.append(max([0.0, *(moment - began_s for moment in starts)]))
            again_s = time.perf_counter()
            if not _until(lambda since=again_s: len(house.ear.answers_since(since)) > FPS):  # type: ignore[misc]
                return [_not_measured(what, f"≤ {MAX_YIELD_S:g} s")]
    longest_s = max(yields_s)
    return [
        Row(
            what,
            f"{longest_s:.2f} s (median {statistics.median(yields_s):.2f} s)",
            f"≤ {MAX_YIELD_S:g} s",
            longest_s <= MAX_YIELD_S,
        )
    ]


def _spinners(stack: ExitStack) -> list[int]:
    """Start one process a core that would use it up, and stop them."""
    pids = []
    for _ in os.sched_getaffinity(0):
        process = subprocess.Popen([sys.executable, "-S", "-c", _SPIN])
        os.kill(process.pid, signal.SIGSTOP)
        stack.callback(process.wait)
        stack.callback(process.kill)
        pids.append(process.pid)
    return pids


def memory_and_start() -> list[Row]:
    """Measure the start of an agent in a house that waits for it, and its memory at work."""
    starts_s: list[float] = []
    variant = load_pack().manifest.variants[-1].name
    pss_mib = 0.0
    for _ in range(STARTS):
        with _house() as house:
            began_s = time.perf_counter()
            node = house.start_node("--always", "--priority", "normal")
            if not _until(lambda: len(house.ear.answers) > 0):
                return [_not_measured("start to first answer", f"≤ {MAX_START_S:g} s")]
            starts_s.append(house.ear.answers[0][0] - began_s)
            _until(lambda: len(house.ear.answers) > 2 * FPS)
            pss_mib = max(pss_mib, sum(_pss_mib(pid) for pid in (node.pid, *_workers(node.pid))))
    median_s = statistics.median(starts_s)
    return [
        Row(
            f"agent with {variant}, PSS of both processes after {2 * FPS} answers",
            f"{pss_mib:.1f} MiB",
            f"≤ {MAX_PSS_MIB:g} MiB",
            pss_mib <= MAX_PSS_MIB,
        ),
        Row(
            f"start of the agent to its first answer ({variant}), median of {STARTS}",
            f"{median_s:.2f} s",
            f"≤ {MAX_START_S:g} s",
            median_s <= MAX_START_S,
        ),
    ]


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} does not tell its memory")


def _used_s(agent: int) -> float:
    """Return the processor time of an agent and its worker so far."""
    files = [Path(f"/proc/{pid}/schedstat") for pid in (agent, *_workers(agent))]
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def _workers(agent: int) -> list[int]:
    children = psutil.Process(agent).children()
    return [child.pid for child in children if "node_agent.worker_main" in child.cmdline()]


def _until(condition: Callable[[], bool], bound_s: float = READY_S) -> bool:
    end_s = time.perf_counter() + min(bound_s, BOUND_S)
    while not condition():
        if time.perf_counter() > end_s:
            return False
        time.sleep(0.01)
    return True


def _not_measured(what: str, target: str) -> Row:
    return Row(what, "not measured: the machine is too busy for an idle guest", target, False)
