"""The worker process: takes JPEGs on standard input, gives top-k answers on standard output.

Started by `node_agent.worker`, never by hand. It lowers its own priority before it imports
anything heavy, so that even its start is the host's idle time, and it ends with its parent.
"""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from node_agent.worker_protocol import (
    HEADER,
    Kind,
    LoadRequest,
    Ready,
    decode_load,
    encode_ready,
    pack_message,
    unpack_header,
)

NICE = 19
AUTOGROUP = Path("/proc/self/autogroup")
# Without CAP_SYS_ADMIN the kernel takes one such write in 0.1 s from the whole system.
_AUTOGROUP_TRIES = 20
_AUTOGROUP_PAUSE_S = 0.05
_PR_SET_PDEATHSIG = 1  # prctl(2)

Respond = Callable[[bytes], tuple[Kind, bytes]]


def main(arguments: list[str]) -> int:
    """Serve until standard input ends. Arguments: priority (idle, low, normal), parent's pid."""
    priority, parent_pid = arguments[0], int(arguments[1])
    notes = [*lower_priority(priority), *die_with(parent_pid)]
    requests, replies = _take_pipes()
    kind, body = _read(requests)
    if kind is not Kind.LOAD:
        return 1
    respond = _load(decode_load(body), tuple(notes), replies)
    del body  # the model's bytes live on in the interpreter alone
    if respond is None:
        return 1
    while True:
        kind, body = _read(requests)
        if kind is not Kind.CLASSIFY:
            return 1
        _write(replies, *respond(body))


def lower_priority(priority: str) -> list[str]:
    """Give way to everybody else; return what could not be done, one sentence each."""
    notes = []
    if priority in ("idle", "low"):
        try:
            os.nice(NICE)
        except OSError as exc:
            notes.append(f"nice {NICE} was refused: {exc.strerror}")
        notes += lower_session()
    if priority == "idle":
        try:
            # Together with nice: SCHED_IDLE alone would not be booked as `nice` in /proc/stat.
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except AttributeError:
            notes.append("this system has no SCHED_IDLE; only nice is in force")
        except OSError as exc:
            notes.append(f"SCHED_IDLE was refused: {exc.strerror}; only nice is in force")
    return notes


def lower_session(file: Path = AUTOGROUP) -> list[str]:
    """Give way to other sessions too; return what could not be done, one sentence each.

    With autogroups (sched(7); on by default on Debian and most desktops) nice and SCHED_IDLE rank
    only the processes of one session among themselves. Against another session's the session's
    own nice value counts: without it an idle worker keeps half of a core that the owner's program
    wants. The worker leads a session of its own, so this touches nobody else.
    """
    for attempt in range(_AUTOGROUP_TRIES):
        if attempt:
            time.sleep(_AUTOGROUP_PAUSE_S)
        try:
            descriptor = os.open(file, os.O_WRONLY)  # no O_CREAT: /proc refuses it with EACCES
            try:
                os.write(descriptor, str(NICE).encode())
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return []  # no autogroups here
        except OSError as exc:
            problem = exc.strerror
            if exc.errno != errno.EAGAIN:
                break
        else:
            return []
    return [
        f"nice {NICE} for the worker's session was refused: {problem}; "
        "other sessions' programs must share the processor with it"
    ]


def die_with(parent_pid: int) -> list[str]:
    """Ask the kernel to kill this process with its parent; return what could not be done.

    Where there is no prctl, the end of standard input ends the process, after its inference.
    """
    if not sys.platform.startswith("linux"):
        return []
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        return [f"PR_SET_PDEATHSIG was refused: {os.strerror(ctypes.get_errno())}"]
    if os.getppid() != parent_pid:
        sys.exit(0)  # the parent died before the kernel was asked
    return []


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes, and let nothing else write to the reply pipe: a library's print would."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, replies


def _read(requests: BinaryIO) -> tuple[Kind, bytes]:
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        sys.exit(0)  # the agent has closed the pipe or is gone
    kind, length = unpack_header(header)
    body = requests.read(length)
    if len(body) < length:
        sys.exit(0)
    return kind, body


def _write(replies: BinaryIO, kind: Kind, body: bytes) -> None:
    message = memoryview(pack_message(kind, body))
    try:
        while message:
            message = message[replies.write(message) or 0 :]
    except BrokenPipeError:
        sys.exit(0)


def _load(request: LoadRequest, notes: tuple[str, ...], replies: BinaryIO) -> Respond | None:
    """Load the model and try it; reply READY and return what answers, or reply REFUSED."""
    from models.errors import ModelsError
    from node_agent.served_model import ServedModel

    try:
        served = ServedModel(request)
        trial_ms = served.trial_ms()
    except ModelsError as exc:
        _write(replies, Kind.REFUSED, str(exc).encode())
        return None
    _write(replies, Kind.READY, encode_ready(Ready(trial_ms, notes)))
    return served.respond


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
