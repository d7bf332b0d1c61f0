"""The whole system on one machine: broker, gateway and three agents as processes of their own.

Nothing in it is special to the demo but the camera: crops that wander over still photographs. The
table reads the result topic as any other subscriber would.
"""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live

from broker.errors import PayloadError
from broker.payloads import Result, parse
from broker.session import BrokerSettings, Message, Session
from broker.topics import Topics
from gateway.errors import DemoError
from gateway.table import Scoreboard, line
from models.pack import Pack

logger = logging.getLogger(__name__)

CAMERA = "demo"
NODE = "node-"
FPS = 2
# The whole time between two frames: a demo may be run on a machine that is busy.
DEADLINE_MS = 500
PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
START_TIMEOUT_S = 60.0  # a Raspberry Pi needs some ten seconds for all the imports
STOP_TIMEOUT_S = 5.0
LOG_TAIL_LINES = 5


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the command line says.

    Attributes:
        seconds: how long to run; None until Ctrl-C.
        port: the broker's; None for a free one.
        source: directory, video file or URL instead of the photographs.
        polite: agents pause while the machine is busy, as they do in a home; otherwise they
            always run, because the demo's own processes make a small machine busy.
    """

    seconds: float | None = None
    port: int | None = None
    source: str | None = None
    polite: bool = False


@dataclass(slots=True)
class Processes:
    """Child processes in order of their start, each with a log file; ended in reverse."""

    directory: Path
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, name: str, module: str, *arguments: str, ready: str | None = None) -> str:
        """Start `python -m module …` and return its first line that begins with `ready`.

        Raises:
            DemoError: it ended or said nothing in time; the message holds the end of its log.
        """
        with (self.directory / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if ready else log,
                stderr=log,
                # Ctrl-C goes to the demo alone, which ends its children in order.
                start_new_session=True,
            )
        self.running[name] = process
        if ready is None:
            return ""
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                async for raw in process.stdout:
                    if (text := raw.decode(errors="replace").strip()).startswith(ready):
                        return text
        except TimeoutError:
            pass
        raise DemoError(f"the {name} did not start: {self.log_tail(name)}")

    def log_tail(self, name: str) -> str:
        """Return the last lines of a process's log as one."""
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-LOG_TAIL_LINES:]) or "it left no word"

    async def stop(self) -> None:
        """End all of them, the last started first; kill what does not end in time."""
        for process in reversed(self.running.values()):
            if process.returncode is not None:
                continue
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def run_demo(settings: DemoSettings, pack: Pack) -> Scoreboard:
    """Run the demo for its time, or until cancelled, and return the count.

    Raises:
        DemoError: a part did not start or ended by itself, the source is missing.
    """
    scoreboard = Scoreboard()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="idlesight-demo-") as folder:
        processes = Processes(Path(folder))
        try:
            caption, port = await _start(processes, settings, pack, console)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.seconds):
                    await _show(scoreboard, console, port, caption, processes)
        finally:
            await processes.stop()
            if scoreboard.unsure:
                console.print(
                    f"unsure {scoreboard.unsure} of them, marked ?: below 50 % confidence"
                )
            if scoreboard.frames:
                console.print(scoreboard.summary(), highlight=False)
    return scoreboard


async def _start(
    processes: Processes, settings: DemoSettings, pack: Pack, console: Console
) -> tuple[str, int]:
    """Start everything in order; return the caption and the broker's port."""
    port = settings.port or _free_port()
    config = processes.directory / "home.yaml"
    config.write_text(yaml.safe_dump(_configuration(settings, port, processes.directory)))
    with console.status("starting broker, agents and gateway …"):
        data = str(processes.directory / "broker")
        arguments = ["up", "--port", str(port), "--data-dir", data]
        ready = await processes.start("broker", "broker.cli", *arguments, ready="ready:")
        pids = []
        for entry in pack.manifest.variants:
            node = NODE + entry.name
            await processes.start(
                node, "node_agent.cli", *_node_arguments(settings, port, entry.name)
            )
            pids.append(f"{entry.name} {processes.running[node].pid}")
        waiting = ("--wait-for-nodes", str(len(pids)))
        await processes.start(
            "gateway", "gateway.cli", "run", "--config", str(config), *waiting, ready="ready:"
        )
    console.print(ready.removeprefix("ready: "), highlight=False)
    return f"kill an agent and watch, process ids: {', '.join(pids)}; Ctrl-C ends", port


def _node_arguments(settings: DemoSettings, port: int, variant: str) -> list[str]:
    broker = f"mqtt://127.0.0.1:{port}"
    arguments = ["run", "--broker", broker, "--name", NODE + variant, "--variant", variant]
    return arguments if settings.polite else [*arguments, "--always", "--priority", "normal"]


def _configuration(settings: DemoSettings, port: int, directory: Path) -> dict[str, Any]:
    # Every frame is shown, whether something moves or not.
    camera: dict[str, Any] = {"fps": FPS, "deadline_ms": DEADLINE_MS, "motion": "off"}
    if settings.source is None:
        camera |= {
            "source": str(_photographs(directory / "photographs")),
            "pan": True,
            "loop": True,
        }
    elif "://" in settings.source:
        camera |= {"source": settings.source}
    else:
        path = Path(settings.source).expanduser().resolve()
        if not path.exists():
            raise DemoError(f"{path} does not exist: name a folder, a video file or a URL")
        camera |= {"source": str(path), "loop": True}
    return {
        "broker": f"mqtt://127.0.0.1:{port}",
        "cameras": {CAMERA: camera},
        "homeassistant": {"discovery": "off"},
        "state_dir": str(directory),
    }


def _photographs(directory: Path) -> Path:
    """Copy the photographs that scikit-image carries into a directory and return it."""
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise DemoError(
            "the photographs come with scikit-image, which is not installed: "
            "pip install 'idlesight[demo]', or name pictures with --source"
        )
    directory.mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(Path(package.origin).parent / "data" / name, directory)
    return directory


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _show(
    scoreboard: Scoreboard, console: Console, port: int, caption: str, processes: Processes
) -> None:
    """Show every result as it comes, until cancelled.

    Raises:
        DemoError: broker or gateway ended by itself. An agent may.
    """
    topics = Topics("home")
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def receive(message: Message) -> None:
            if message.retain:  # an older one; every frame of this run comes live
                return
            try:
                result = parse(Result, message.payload)
            except PayloadError as exc:
                logger.warning("dropped a result: %s", exc)
                return
            scoreboard.add(result)
            if console.is_terminal:
                live.update(scoreboard.render(caption), refresh=True)
            else:
                console.print(line(result), highlight=False, soft_wrap=True)

        session = Session(
            BrokerSettings(port=port),
            client_id="idlesight-demo",
            on_message=receive,
            subscriptions=[(topics.result(CAMERA), 0)],
        )
        async with _in_background(session.run()):
            await _until_one_ends(processes)


async def _until_one_ends(processes: Processes) -> None:
    """Wait for a process that should not end; an agent that was killed may, that is the point.

    Raises:
        DemoError: a process ended by itself.
    """
    waits = {
        asyncio.create_task(process.wait(), name=f"wait for {name}"): name
        for name, process in processes.running.items()
    }
    try:
        while waits:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                name = waits.pop(wait)
                if not (name.startswith(NODE) and wait.result() <= 0):
                    raise DemoError(f"the {name} ended by itself: {processes.log_tail(name)}")
    finally:
        for wait in waits:
            wait.cancel()


@contextlib.asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name="results")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
