import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import node_agent.model_keeper
from models.errors import PrecisionNotFoundError
from models.pack import Pack, load_pack
from node_agent.errors import WorkerDiedError
from node_agent.model_keeper import (
    LAST_RESTART_S,
    Choice,
    ModelKeeper,
    load_request,
    restart_delay_s,
)
from node_agent.settings import WorkerSettings
from node_agent.worker_protocol import WorkerAnswer
from tests.node_agent.children import children

BOUND_S = 60.0
PATIENT = WorkerSettings(priority="normal", load_timeout_s=3600, answer_timeout_s=3600)
NORMAL = WorkerSettings(priority="normal", load_timeout_s=60, answer_timeout_s=60)


@asynccontextmanager
async def keeping(*wanted: Choice, settings: WorkerSettings = NORMAL) -> AsyncIterator[ModelKeeper]:
    keeper = ModelKeeper(settings, random.Random(1), lambda: None)
    for choice in wanted:
        keeper.want(choice)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, BOUND_S)
        assert children() == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.01)


def choice(pack: Pack, variant: str = "V1") -> Choice:
    return Choice(pack, pack.variant(variant))


async def test_without_a_model_it_answers_nothing(jpeg: bytes) -> None:
    async with keeping() as keeper:
        with pytest.raises(WorkerDiedError, match="no worker"):
            await keeper.classify(jpeg)
        assert keeper.worker_pids == ()


async def test_another_precision_of_the_variant_is_another_model(
    two_precisions: Pack, jpeg: bytes
) -> None:
    entry = two_precisions.variant("V1")
    default, other = Choice(two_precisions, entry), Choice(two_precisions, entry, "int8")
    assert default.same_model(Choice(two_precisions, entry, "float32"))
    assert not default.same_model(other)
    assert load_request(other, 1).model == two_precisions.model("V1", "int8")
    async with keeping(default) as keeper:
        await until(lambda: keeper.serving is not None)
        (pid,) = keeper.worker_pids
        keeper.want(other)
        await until(lambda: other.same_model(keeper.serving))
        await until(lambda: pid not in keeper.worker_pids)
        _, model = await keeper.classify(jpeg)
        assert model.file.precision == "int8"


def test_a_precision_that_the_variant_lacks_is_no_choice(two_precisions: Pack) -> None:
    with pytest.raises(PrecisionNotFoundError, match="float32, int8"):
        Choice(two_precisions, two_precisions.variant("V1"), "float16")


async def test_the_last_of_many_wishes_is_served(pack: Pack, jpeg: bytes) -> None:
    async with keeping(*(choice(pack, name) for name in ("V1", "V9", "V2", "V1", "V2"))) as keeper:
        await until(lambda: keeper.situation.serving == "V2")
        _, model = await keeper.classify(jpeg)
        assert model.entry.name == "V2"
        assert len(keeper.worker_pids) == 1


@pytest.mark.parametrize(
    ("program", "words"), [("/bin/false", "status 1"), ("/does/not/exist", "can be started")]
)
async def test_a_worker_that_does_not_start_is_tried_again(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", program)
        async with keeping(choice(pack)) as keeper:
            await until(lambda: keeper.situation.problem is not None)
            assert words in (keeper.situation.problem or "")
            assert not keeper.situation.refused
            broken.undo()
            await until(lambda: keeper.situation.serving == "V1")
            assert keeper.situation.problem is None


async def test_another_wish_ends_the_rest_after_a_failure(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_agent.model_keeper.restart_delay_s", lambda *_: 2 * BOUND_S)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        async with keeping(choice(pack)) as keeper:
            await until(lambda: keeper.situation.problem is not None)
            broken.undo()
            await until(lambda: keeper.situation.loading is None)
            keeper.want(choice(pack, "V2"))
            await until(lambda: keeper.situation.serving == "V2")


async def test_a_model_file_that_has_vanished_is_refused(pack: Pack, tmp_path: Path) -> None:
    shutil.copytree(pack.path, tmp_path / "copy")
    fleeting = load_pack(tmp_path / "copy")
    (tmp_path / "copy" / "V1.tflite").unlink()
    async with keeping(choice(fleeting)) as keeper:
        await until(lambda: keeper.situation.refused)
        assert "V1.tflite is missing" in (keeper.situation.problem or "")


async def test_a_replaced_worker_stays_own_until_it_is_reaped(pack: Pack) -> None:
    async with keeping(choice(pack)) as keeper:
        await until(lambda: keeper.serving is not None)
        (old,) = keeper.worker_pids
        keeper.want(choice(pack, "V2"))
        async with asyncio.timeout(BOUND_S):
            while old in children():
                assert old in keeper.worker_pids
                await asyncio.sleep(0)
        await until(lambda: old not in keeper.worker_pids)
        assert len(keeper.worker_pids) == 1


async def stuck(keeper: ModelKeeper, jpeg: bytes) -> asyncio.Task[tuple[WorkerAnswer, Choice]]:
    """Return a question to which the serving worker gives no answer."""
    await until(lambda: keeper.serving is not None)
    (pid,) = keeper.worker_pids
    os.kill(pid, signal.SIGSTOP)
    question = asyncio.create_task(keeper.classify(jpeg))
    await asyncio.sleep(0)
    return question


async def test_a_stuck_worker_ends_at_once_when_no_model_is_wanted(pack: Pack, jpeg: bytes) -> None:
    async with keeping(choice(pack), settings=PATIENT) as keeper:
        question = await stuck(keeper, jpeg)
        keeper.want(None)
        assert keeper.serving is None
        with pytest.raises(WorkerDiedError):
            await asyncio.wait_for(question, BOUND_S)
        await until(lambda: children() == [])
        assert keeper.situation.problem is None
        keeper.want(choice(pack))
        await until(lambda: keeper.serving is not None)


async def test_a_successor_does_not_wait_for_a_stuck_worker(
    pack: Pack, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_agent.model_keeper, "HAND_OVER_S", 0.2)
    async with keeping(choice(pack), settings=PATIENT) as keeper:
        question = await stuck(keeper, jpeg)
        keeper.want(choice(pack, "V2"))
        with pytest.raises(WorkerDiedError):
            await asyncio.wait_for(question, BOUND_S)
        _, model = await keeper.classify(jpeg)
        assert model.entry.name == "V2"
        assert keeper.situation.problem is None


async def test_a_frame_in_hand_is_answered_before_the_successor_takes_over(
    pack: Pack, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_agent.model_keeper, "HAND_OVER_S", BOUND_S)
    async with keeping(choice(pack), settings=PATIENT) as keeper:
        question = await stuck(keeper, jpeg)
        (old,) = keeper.worker_pids
        keeper.want(choice(pack, "V2"))
        await until(lambda: len(keeper.worker_pids) == 2)
        os.kill(old, signal.SIGCONT)
        assert (await asyncio.wait_for(question, BOUND_S))[1].entry.name == "V1"
        await until(lambda: keeper.situation.serving == "V2")


async def test_a_model_that_kills_its_worker_is_refused_while_another_answers(
    pack: Pack, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_agent.model_keeper.restart_delay_s", lambda *_: 0.01)
    async with keeping(choice(pack)) as keeper:
        await until(lambda: keeper.serving is not None)
        (old,) = keeper.worker_pids
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/bin/false")
            keeper.want(choice(pack, "V2"))
            await until(lambda: keeper.situation.refused)
        assert "status 1, 3 times while it loaded" in (keeper.situation.problem or "")
        assert keeper.worker_pids == (old,)
        assert (await keeper.classify(jpeg))[1].entry.name == "V1"
        keeper.want(choice(pack, "V2"))
        assert keeper.situation.refused  # the same again is no news
        keeper.want(choice(pack, "V2"), anew=True)
        await until(lambda: keeper.situation.serving == "V2")


@pytest.mark.parametrize("then", ["V1", None])
async def test_a_stuck_load_is_given_up_when_it_is_no_longer_wanted(
    pack: Pack, then: str | None
) -> None:
    async with keeping(choice(pack, "V2"), settings=PATIENT) as keeper:
        await until(lambda: len(keeper.worker_pids) == 1)
        (pid,) = keeper.worker_pids
        os.kill(pid, signal.SIGSTOP)
        keeper.want(choice(pack, then) if then else None)
        await until(lambda: pid not in children())
        assert keeper.situation.problem is None
        await until(lambda: keeper.situation.serving == then)


@given(failures=st.integers(1, 10_000), seed=st.integers(0, 2**32))
def test_restarts_are_spaced_and_capped(failures: int, seed: int) -> None:
    delay_s = restart_delay_s(failures, random.Random(seed))
    assert 0.25 <= delay_s <= LAST_RESTART_S


def test_each_failure_doubles_the_wait() -> None:
    waits = [restart_delay_s(failures, random.Random(1)) for failures in range(1, 6)]
    assert waits == pytest.approx([waits[0] * 2**n for n in range(5)])
