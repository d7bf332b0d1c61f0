"""The agent's side of one worker process: starts it, asks it, ends it.

One worker serves one model for as long as it lives. It holds nothing that is worth saving, so it
is always ended by SIGKILL, at once and also when it hangs.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import node_agent
from node_agent.errors import (
    BadFrameError,
    ModelRefusedError,
    WorkerDiedError,
    WorkerHungError,
)
from node_agent.foreign_cpu import PROC, parse_process
from node_agent.settings import WorkerSettings
from node_agent.worker_protocol import (
    HEADER,
    Kind,
    LoadRequest,
    Ready,
    WorkerAnswer,
    WorkerProtocolError,
    decode_answer,
    decode_ready,
    encode_load,
    pack_message,
    unpack_header,
)

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Reaping a process that was sent SIGKILL; more only where it hangs in the kernel.
_REAP_TIMEOUT_S = 5.0
# A worker at idle priority on a busy device gets no processor time for minutes; it is then not
# hung but polite. Below this share of one core it counts as kept waiting.
_STARVED_SHARE = 0.5
_STDERR_LINES = 5
_STDERR_CHUNK_BYTES = 4096
# The interpreter's and numpy's pools would otherwise start a thread and an arena for each core.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Worker:
    """One worker process; `start` it, `classify` one picture at a time, `stop` it.

    `watch` must run beside it: it reads what the process says on standard error and notices its
    end, also while nobody asks it anything.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._last_words: deque[str] = deque(maxlen=_STDERR_LINES)
        self._ended = asyncio.Event()
        self._hung = False

    @property
    def pid(self) -> int | None:
        """The process's id while it lives."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def spawn(self) -> None:
        """Start the process, without a model yet.

        Raises:
            WorkerDiedError: the system starts no more processes.
        """
        root = str(Path(node_agent.__file__).parent.parent)
        search_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "node_agent.worker_main"),
                *(self._settings.priority, str(os.getpid())),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": search_path},
                # A group of its own: Ctrl-C is for the agent, which ends the worker itself. And a
                # session of its own, because a session is what the kernel's autogroups rank.
                start_new_session=True,
            )
        except OSError as exc:
            raise WorkerDiedError(f"no worker process can be started: {exc.strerror}") from exc

    async def watch(self) -> str:
        """Read the process's standard error until it ends, reap it and say how it ended."""
        process = self._running()
        assert process.stderr is not None
        while chunk := await process.stderr.read(_STDERR_CHUNK_BYTES):
            for line in chunk.decode(errors="replace").splitlines():
                self._last_words.append(line.strip())
                logger.debug("worker %d: %s", process.pid, line)
        await process.wait()
        self._ended.set()
        return self._obituary()

    async def load(self, request: LoadRequest) -> Ready:
        """Give the process its model and return what it says about it.

        Raises:
            ModelRefusedError: the model cannot be served; the process has ended.
            WorkerDiedError, WorkerHungError: the process has ended or was killed.
        """
        body = encode_load(request)
        kind, reply = await self._ask(Kind.LOAD, body, self._settings.load_timeout_s)
        if kind is Kind.REFUSED:
            raise ModelRefusedError(reply.decode(errors="replace"))
        return self._understand(kind, Kind.READY, decode_ready, reply)

    async def classify(self, jpeg: bytes) -> WorkerAnswer:
        """Return the top k of one picture.

        Raises:
            BadFrameError: the picture gets no answer; the worker is well.
            WorkerDiedError, WorkerHungError: the process has ended or was killed.
        """
        kind, reply = await self._ask(Kind.CLASSIFY, jpeg, self._settings.answer_timeout_s)
        if kind is Kind.BAD_FRAME:
            raise BadFrameError(reply.decode(errors="replace"))
        return self._understand(kind, Kind.ANSWER, decode_answer, reply)

    def kill(self) -> None:
        """End the process; `watch` reaps it."""
        if self._process is not None and self._process.returncode is None:
            # Not Process.kill: it polls first and so takes the exit status of a process that has
            # just ended away from asyncio's watcher, which then reports 255 (Python 3.11).
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End the process and return when it is reaped (or after a bound, with a warning)."""
        if self._process is None:
            return
        self.kill()
        try:
            async with asyncio.timeout(_REAP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            logger.warning("worker %d was killed and does not end", self._process.pid)

    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("the worker was never started")
        return self._process

    async def _ask(self, kind: Kind, body: bytes, patience_s: float) -> tuple[Kind, bytes]:
        """Return the reply to one request; on any failure the process is killed.

        Also when cancelled: a reply that nobody reads would be taken for the next one's.
        """
        process = self._running()
        watchdog = _Watchdog(process.pid, patience_s, self._give_up)
        try:
            return await _exchange(process, kind, body)
        except (EOFError, ConnectionError) as exc:
            self.kill()
            with suppress(TimeoutError):
                async with asyncio.timeout(_REAP_TIMEOUT_S):
                    await self._ended.wait()
            raise (WorkerHungError if self._hung else WorkerDiedError)(self._obituary()) from exc
        except WorkerProtocolError as exc:
            self.kill()
            raise WorkerDiedError(f"the worker sent {exc} and was killed") from exc
        except BaseException:
            self.kill()
            raise
        finally:
            watchdog.cancel()

    def _give_up(self) -> None:
        self._hung = True
        self.kill()

    def _understand(
        self, kind: Kind, expected: Kind, decode: Callable[[bytes], T], body: bytes
    ) -> T:
        try:
            if kind is not expected:
                raise WorkerProtocolError(f"{kind.name} for {expected.name}")
            return decode(body)
        except WorkerProtocolError as exc:
            self.kill()
            raise WorkerDiedError(f"the worker sent {exc} and was killed") from exc

    def _obituary(self) -> str:
        """Return in words how the process ended."""
        if self._hung:
            return "the worker had the processor, said nothing for too long and was killed"
        return describe_end(self._running().returncode, self._last_words)


class _Watchdog:
    """Calls back when a process has been silent for too long without being kept waiting."""

    def __init__(self, pid: int, patience_s: float, give_up: Callable[[], None]) -> None:
        self._pid = pid
        self._patience_s = patience_s
        self._give_up = give_up
        self._used_s = processor_time_s(pid)
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(patience_s, self._look)

    def cancel(self) -> None:
        """Never call back."""
        self._handle.cancel()

    def _look(self) -> None:
        used_s = processor_time_s(self._pid)
        share = (used_s - self._used_s) / self._patience_s
        self._used_s = used_s
        if share < _STARVED_SHARE and is_kept_waiting(self._pid):
            self._handle = self._loop.call_later(self._patience_s, self._look)
        else:
            self._give_up()


def processor_time_s(pid: int, proc: Path = PROC) -> float:
    """Return a process's processor time so far, 0 where it cannot be read."""
    try:
        ticks = parse_process((proc / str(pid) / "stat").read_text()).own
    except (OSError, ValueError):
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


def is_kept_waiting(pid: int, proc: Path = PROC) -> bool:
    """Return whether any of a process's threads wants the processor (R) or the disk (D)."""
    try:
        stats = [path.read_text() for path in (proc / str(pid) / "task").glob("*/stat")]
        return any(parse_process(text).state in ("R", "D") for text in stats)
    except (OSError, ValueError):
        return False


def describe_end(returncode: int | None, last_words: Sequence[str]) -> str:
    """Return in words how a worker process ended."""
    if returncode is None:
        return "the worker closed its pipe"
    if returncode < 0:
        try:
            return f"the worker was killed by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"the worker was killed by signal {-returncode}"
    said = f": {last_words[-1]}" if returncode > 0 and last_words else ""
    return f"the worker ended with status {returncode}{said}"


async def _exchange(process: Process, kind: Kind, body: bytes) -> tuple[Kind, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pack_message(kind, body))
    await process.stdin.drain()
    reply_kind, length = unpack_header(await process.stdout.readexactly(HEADER.size))
    return reply_kind, await process.stdout.readexactly(length)
