"""The real command as a real process, on a real Mosquitto."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.payloads import Assignment, dump
from models.pack import Pack
from tests.node_agent.processes import (
    NAME,
    TOPICS,
    free_port,
    hub,
    mosquitto,
    node,
    passwords,
    state,
    until,
    workers_of,
)

pytestmark = pytest.mark.mosquitto


async def test_assigned_answers_switches_and_leaves_politely(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--always") as guest:
            await home.phase("unassigned")
            for number, variant in enumerate(("V1", "V2")):
                entry = pack.variant(variant)
                assignment = Assignment(
                    pack="tiny", variant=variant, model=entry.sha256, cameras=["porch"]
                )
                await home.session.publish(
                    TOPICS.assignment(NAME), dump(assignment), qos=1, retain=True
                )
                await until(lambda name=variant: home.states[-1].variant == name)  # type: ignore[misc]
                answer = await home.ask(number, jpeg)
                assert (answer.session, answer.model) == (7, entry.model_id)
            (worker,) = workers_of(guest.process.pid)
            guest.process.send_signal(signal.SIGTERM)
            assert await guest.exit_code() == 0
            await until(lambda: home.statuses[-1] == "offline")
            assert state(worker) == "gone"
        assert home.statuses == ["online", "offline"]
        assert "Traceback" not in guest.log


async def test_an_assignment_that_was_there_before_is_taken(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        assignment = Assignment(pack="tiny", variant="V2", model=pack.variant("V2").sha256)
        await home.session.publish(TOPICS.assignment(NAME), dump(assignment), qos=1, retain=True)
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--always"):
            await home.phase("working")
            assert (await home.ask(1, jpeg)).model == pack.variant("V2").model_id


async def test_ctrl_c_ends_it_with_130(pack: Pack) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1") as guest:
            await home.phase("working", "paused")
            guest.process.send_signal(signal.SIGINT)
            guest.process.send_signal(signal.SIGINT)
            assert await guest.exit_code() == 130
            assert "Traceback" not in guest.log
        await until(lambda: home.statuses[-1] == "offline")


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["terminal", "nohup"])
def hangup(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    """What SIGHUP does here, and so at first in children: that is how nohup works."""
    handler: signal.Handlers = request.param
    own = signal.signal(signal.SIGHUP, handler)
    yield handler
    signal.signal(signal.SIGHUP, own)


async def test_a_terminal_that_closes_ends_it_but_not_under_nohup(
    pack: Pack, jpeg: bytes, hangup: signal.Handlers
) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1", "--always") as guest:
            await home.phase("working")
            guest.process.send_signal(signal.SIGHUP)
            if hangup is signal.SIG_IGN:
                await home.ask(1, jpeg)
                guest.process.send_signal(signal.SIGTERM)
            assert await guest.exit_code() == 0
        await until(lambda: home.statuses[-1] == "offline")


async def test_a_killed_agent_is_offline_and_its_worker_gone(pack: Pack) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1") as guest:
            await home.phase("working", "paused")
            (worker,) = workers_of(guest.process.pid)
            guest.process.kill()
            await until(lambda: home.statuses[-1] == "offline")
        # Adopted by whoever is process 1 here, which may leave it a zombie.
        await until(lambda: state(worker) in ("gone", "Z"))


async def test_a_killed_worker_comes_back(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with mosquitto(port), hub(port) as home:
        async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1", "--always") as guest:
            await home.phase("working")
            (worker,) = workers_of(guest.process.pid)
            os.kill(worker, signal.SIGKILL)
            await until(lambda: "SIGKILL" in guest.log)
            await home.phase("working")
            await home.ask(1, jpeg)
        assert home.statuses[:1] == ["online"]


async def test_a_broker_that_is_away_is_named_once_and_awaited(pack: Pack, jpeg: bytes) -> None:
    port = free_port()
    async with node(f"mqtt://127.0.0.1:{port}", pack, "--variant", "V1", "--always") as guest:
        await until(lambda: "cannot be reached" in guest.log)
        for number in range(2):  # it comes, goes and comes again
            async with mosquitto(port), hub(port) as home:
                await home.phase("working")
                await home.ask(number, jpeg)
        guest.process.send_signal(signal.SIGTERM)
        assert await guest.exit_code() == 0
    assert guest.log.count("cannot be reached") <= 3  # at the start and after each loss
    assert "Traceback" not in guest.log


async def test_a_wrong_password_is_exit_code_2_and_one_sentence(pack: Pack, tmp_path: Path) -> None:
    port = free_port()
    async with mosquitto(port, passwords(tmp_path, [("guest", "right")])):
        async with node(f"mqtt://guest:wrong@127.0.0.1:{port}", pack, "--variant", "V1") as guest:
            assert await guest.exit_code() == 2
        errors = [line for line in guest.log.splitlines() if line.startswith("idlesight-node: ")]
        assert len(errors) == 1
        assert "refuses the login" in errors[0]
        assert "wrong" not in errors[0]
        assert "Traceback" not in guest.log
