"""A real child process with a real model, at normal priority: a busy machine starves idle ones."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from models.interface import OURS, Interface
from models.pack import Pack
from models.preprocess import decode_jpeg
from models.runtime import Classifier
from node_agent import worker_main
from node_agent.errors import (
    BadFrameError,
    ModelRefusedError,
    WorkerDiedError,
    WorkerHungError,
)
from node_agent.model_keeper import Choice, load_request
from node_agent.settings import WorkerSettings
from node_agent.worker import Worker, describe_end, is_kept_waiting, processor_time_s
from node_agent.worker_protocol import LoadRequest

DATA = Path(__file__).parents[1] / "models" / "data"
BOUND_S = 60.0
NORMAL = WorkerSettings(priority="normal", load_timeout_s=60, answer_timeout_s=60)


@asynccontextmanager
async def worker(settings: WorkerSettings = NORMAL) -> AsyncIterator[Worker]:
    """A worker process that is watched, and stopped at the end."""
    child = Worker(settings)
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        await child.spawn()
        group.create_task(child.watch())
        try:
            yield child
        finally:
            await child.stop()


def request(pack: Pack, variant: str = "V1") -> LoadRequest:
    return load_request(Choice(pack, pack.variant(variant)), threads=1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is the kernel's
            await asyncio.sleep(0.01)


def memory_map(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def gone(pid: int) -> bool:
    """Whether the process does not exist, not even as a zombie."""
    return not Path(f"/proc/{pid}").exists()


async def test_answers_what_the_runtime_answers_in_this_process(pack: Pack, jpeg: bytes) -> None:
    async with worker() as child:
        ready = await child.load(request(pack))
        answer = await child.classify(jpeg)
    assert ready.trial_ms > 0
    scores = Classifier(pack.model("V1")).classify(decode_jpeg(jpeg, 32))
    best = np.argsort(-scores)[:2]
    assert answer.class_count == 10
    assert answer.indices == tuple(best)
    assert answer.values == pytest.approx(scores[best])
    assert answer.inference_us < BOUND_S * 1e6
    assert 0 < answer.cpu_us < BOUND_S * 1e6


def foreign(
    name: str, interface: Interface, class_count: int = 3, resolution: int = 32
) -> LoadRequest:
    """Somebody else's model, as its pack would have it served."""
    model = (DATA / f"{name}.tflite").read_bytes()
    return LoadRequest(model, resolution, class_count, 2, (0.0, 0.0), 1, interface)


@pytest.mark.parametrize("name", ["ranged", "ranged_int8"])
async def test_somebody_elses_model_is_spoken_to_in_its_own_way(name: str, jpeg: bytes) -> None:
    interface = Interface((-1.0, 1.0), "logits")
    async with worker() as child:
        await child.load(foreign(name, interface))
        answer = await child.classify(jpeg)
    model = (DATA / f"{name}.tflite").read_bytes()
    scores = Classifier(model, interface=interface).classify(decode_jpeg(jpeg, 32))
    assert scores.sum() == pytest.approx(1.0)
    assert answer.values == pytest.approx(scores[list(answer.indices)])
    assert answer.indices == tuple(range(3))  # two of three: all are sent


async def test_a_thousand_classes_are_answered(jpeg: bytes) -> None:
    async with worker() as child:
        await child.load(foreign("many", OURS, 1001))
        answer = await child.classify(jpeg)
    scores = Classifier((DATA / "many.tflite").read_bytes()).classify(decode_jpeg(jpeg, 32))
    assert answer.class_count == 1001
    assert answer.indices == tuple(np.argsort(-scores, kind="stable")[:2].tolist())
    assert max(answer.indices) > 255, "one byte would not hold it"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (foreign("ranged", Interface((-1.0, 1.0), "probabilities")), "no probabilities"),
        (foreign("ranged_int8", Interface((-1.0, 1.0), "probabilities")), "no probabilities"),
        (foreign("sigmoid", OURS), "no probabilities"),
        (foreign("ranged", Interface((-1.0, 1.0), "logits"), class_count=4), "3 classes"),
        (foreign("ranged", Interface((-1.0, 1.0), "logits"), resolution=64), "32 pixels"),
        (foreign("channels_first", Interface(output="logits")), "channels come first"),
        (foreign("score_map", Interface(output="logits")), "one score per class"),
    ],
    ids=["logits", "int8 logits", "sigmoid", "classes", "pixels", "channels", "map"],
)
async def test_what_is_no_classifier_is_refused_whatever_its_pack_says(
    request_: LoadRequest, reason: str
) -> None:
    async with worker() as child:
        with pytest.raises(ModelRefusedError, match=reason):
            await child.load(request_)


async def test_more_than_half_of_the_classes_are_sent_as_all(pack: Pack, jpeg: bytes) -> None:
    whole = request(pack)
    whole = LoadRequest(whole.model, 32, 10, 6, (0.0, 0.0), 1)
    async with worker() as child:
        await child.load(whole)
        answer = await child.classify(jpeg)
    assert answer.indices == tuple(range(10))
    assert sum(answer.values) == pytest.approx(1.0, abs=1e-3)


async def test_of_one_class_the_index_alone_counts(pack: Pack, jpeg: bytes) -> None:
    one = replace(request(pack), k=1)
    async with worker() as child:
        await child.load(one)
        answer = await child.classify(jpeg)
    assert len(answer.indices) == 1
    assert answer.values == (1.0,)


async def test_a_picture_that_cannot_be_decoded_is_an_answer(pack: Pack, jpeg: bytes) -> None:
    async with worker() as child:
        await child.load(request(pack))
        for bad in (b"", b"no picture", jpeg[: len(jpeg) // 2]):
            with pytest.raises(BadFrameError):
                await child.classify(bad)
        assert (await child.classify(jpeg)).class_count == 10


@pytest.mark.parametrize("model", [b"", b"no model", b"\0\0\0\0TFL3" + bytes(100)])
async def test_what_is_no_model_is_refused(pack: Pack, model: bytes) -> None:
    broken = LoadRequest(model, 32, 10, 2, (0.0, 0.0), 1)
    async with worker() as child:
        # A runtime may also crash on such bytes: that, too, must end in one of our errors.
        with pytest.raises((ModelRefusedError, WorkerDiedError)):
            await child.load(broken)


async def test_a_model_of_another_shape_is_refused(pack: Pack) -> None:
    async with worker() as child:
        with pytest.raises(ModelRefusedError, match="its pack says 64 pixels"):
            await child.load(request(pack, "V9"))


async def test_a_killed_worker_is_noticed_and_reaped(pack: Pack, jpeg: bytes) -> None:
    async with worker() as child:
        await child.load(request(pack))
        assert child.pid is not None
        pid = child.pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="killed by SIGKILL"):
            await child.classify(jpeg)
        await until(lambda: not child.alive)
        assert gone(pid)
        assert child.pid is None


async def test_a_worker_that_stands_still_is_killed(pack: Pack, jpeg: bytes) -> None:
    async with worker(NORMAL.model_copy(update={"answer_timeout_s": 0.3})) as child:
        await child.load(request(pack))
        assert child.pid is not None
        pid = child.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(WorkerHungError):
            await child.classify(jpeg)
        await until(lambda: gone(pid))


async def test_a_cancelled_question_ends_the_worker(pack: Pack, jpeg: bytes) -> None:
    async with worker() as child:
        await child.load(request(pack))
        assert child.pid is not None
        pid = child.pid
        os.kill(pid, signal.SIGSTOP)
        question = asyncio.create_task(child.classify(jpeg))
        await asyncio.sleep(0)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        await until(lambda: gone(pid))


async def test_the_event_loop_goes_on_while_the_worker_is_asked(pack: Pack, jpeg: bytes) -> None:
    async with worker() as child:
        await child.load(request(pack))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        question = asyncio.create_task(child.classify(jpeg))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not question.done()
        os.kill(child.pid, signal.SIGCONT)
        assert (await question).class_count == 10


async def test_it_gives_way_before_it_imports_anything_heavy(pack: Pack) -> None:
    async with worker(WorkerSettings(priority="idle")) as child:
        assert child.pid is not None
        pid = child.pid
        await until(lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE)
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        assert "numpy" not in memory_map(pid)


needs_autogroups = pytest.mark.skipif(
    not worker_main.AUTOGROUP.exists(), reason="this kernel has no autogroups"
)


def autogroup(pid: int | str) -> str:
    """Return the kernel's group for a process's session, such as `/autogroup-12 nice 0`.

    It is empty for a session that is as old as the machine: that one has no group of its own.
    """
    return Path(f"/proc/{pid}/autogroup").read_text().strip()


@needs_autogroups
@pytest.mark.parametrize(("priority", "nice"), [("idle", "19"), ("low", "19"), ("normal", "0")])
async def test_its_session_gives_way_to_other_sessions(
    pack: Pack, priority: Literal["idle", "low", "normal"], nice: str
) -> None:
    before = autogroup("self")
    patient = WorkerSettings(priority=priority, load_timeout_s=60)
    async with worker(patient) as child:
        assert child.pid is not None
        pid = child.pid
        ready = await child.load(request(pack))
        assert ready.notes == ()
        name, _, own_nice = autogroup(pid).split()
        assert name not in before.split()
        assert own_nice == nice
        assert autogroup("self") == before
        assert os.getsid(pid) == os.getpgid(pid) == pid


def test_a_session_that_may_not_give_way_is_noted(tmp_path: Path) -> None:
    (note,) = worker_main.lower_session(tmp_path)  # a folder: no writing
    assert "nice 19 for the worker's session was refused: Is a directory" in note
    assert worker_main.lower_session(tmp_path / "missing") == []


@pytest.mark.parametrize(("refusals", "notes"), [(3, 0), (1000, 1)])
def test_the_kernels_rate_limit_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, notes: int
) -> None:
    answers = iter([*[BlockingIOError(errno.EAGAIN, "try again")] * refusals, None])

    def write(_descriptor: int, _text: bytes) -> None:
        if (problem := next(answers)) is not None:
            raise problem

    (tmp_path / "autogroup").touch()
    with monkeypatch.context() as limited:
        limited.setattr(os, "write", write)
        limited.setattr(time, "sleep", lambda _: None)
        said = worker_main.lower_session(tmp_path / "autogroup")
    assert len(said) == notes


@pytest.mark.parametrize(("priority", "notes"), [("idle", 1), ("low", 1), ("normal", 0)])
def test_what_the_session_was_refused_is_said(
    monkeypatch: pytest.MonkeyPatch, priority: str, notes: int
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 19)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    monkeypatch.setattr(worker_main, "lower_session", lambda: ["refused"])
    assert worker_main.lower_priority(priority) == ["refused"] * notes


LOADS_AND_WAITS = """
import asyncio, sys
from models.pack import load_pack
from node_agent.model_keeper import Choice, load_request
from node_agent.settings import WorkerSettings
from node_agent.worker import Worker

async def main():
    pack = load_pack(sys.argv[1])
    child = Worker(WorkerSettings(priority="normal"))
    await child.spawn()
    await child.load(load_request(Choice(pack, pack.variant("V1")), 1))
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("end", [os.kill, os.killpg])
def test_it_dies_with_its_parent_and_with_its_parents_group(
    pack: Pack, stopped: bool, end: Callable[[int, int], None]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOADS_AND_WAITS, str(pack.path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        process_group=0,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        end(parent.pid, signal.SIGKILL)
    asyncio.run(until(lambda: gone(pid) or state(pid) == "Z"))


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


async def test_without_a_runtime_it_says_what_to_install(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ai_edge_litert", "tflite_runtime"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with worker() as child:
        with pytest.raises(ModelRefusedError, match="pip install ai-edge-litert"):
            await child.load(request(pack))


@pytest.mark.parametrize(
    ("returncode", "last_words", "expected"),
    [
        (None, [], "the worker closed its pipe"),
        (-11, ["INFO: delegate"], "the worker was killed by SIGSEGV"),
        (-999, [], "the worker was killed by signal 999"),
        (1, ["Traceback", "MemoryError"], "the worker ended with status 1: MemoryError"),
        (0, ["INFO: delegate"], "the worker ended with status 0"),
    ],
)
def test_how_it_ended(returncode: int | None, last_words: list[str], expected: str) -> None:
    assert describe_end(returncode, last_words) == expected


def fake_process(proc: Path, states: str) -> Path:
    for index, state in enumerate(states):
        (proc / "7" / "task" / str(index)).mkdir(parents=True)
        line = f"7 (py) {state} 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 0\n"
        (proc / "7" / "task" / str(index) / "stat").write_text(line)
        (proc / "7" / "stat").write_text(line)
    return proc


@pytest.mark.parametrize(
    ("states", "waiting"), [("S", False), ("T", False), ("R", True), ("SR", True), ("D", True)]
)
def test_kept_waiting_is_not_hung(tmp_path: Path, states: str, waiting: bool) -> None:
    proc = fake_process(tmp_path, states)
    assert is_kept_waiting(7, proc) is waiting
    assert not is_kept_waiting(8, proc)
    assert processor_time_s(7, proc) == 200 / os.sysconf("SC_CLK_TCK")
    assert processor_time_s(8, proc) == 0.0
