import asyncio
import random

import pytest

from broker.errors import NotConnectedError
from broker.memory import MemoryBroker, MemorySession
from broker.session import Message, Will


async def _run(session: MemorySession) -> asyncio.Task[None]:
    task = asyncio.create_task(session.run())
    await _settle()
    assert session.connected
    return task


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _sent(seed: int, loss: float, delay_s: float) -> list[bytes]:
    broker = MemoryBroker(random.Random(seed), loss=loss, delay_s=delay_s)
    heard: list[Message] = []
    session = broker.session(client_id="a", on_message=heard.append, subscriptions=[("x/+", 0)])
    task = await _run(session)
    for number in range(50):
        await session.publish("x/y", bytes([number]))
    await asyncio.sleep(delay_s + 0.02)
    await _end(task)
    return [message.payload for message in heard]


async def test_messages_are_lost_and_reordered_the_same_way_for_the_same_seed() -> None:
    everything = [bytes([number]) for number in range(50)]
    assert await _sent(1, 0.0, 0.0) == everything
    lossy = await _sent(1, 0.5, 0.0)
    assert 5 < len(lossy) < 45
    assert lossy == await _sent(1, 0.5, 0.0) != await _sent(2, 0.5, 0.0)
    late = await _sent(1, 0.0, 0.2)
    assert late != everything
    assert sorted(late) == everything


async def test_retained_will_and_farewell() -> None:
    broker = MemoryBroker()
    node = broker.session(
        client_id="node",
        on_message=lambda _: None,
        will=Will("s", b"offline"),
        farewell=[Will("s", b"bye")],
    )
    first = await _run(node)
    await node.publish("s", "online", qos=1, retain=True)
    heard: list[Message] = []
    watcher = broker.session(client_id="w", on_message=heard.append, subscriptions=[("s", 1)])
    second = await _run(watcher)
    await _settle()
    assert heard == [Message("s", b"online", True, 1)]
    broker.cut("node")
    with pytest.raises(NotConnectedError):
        await node.publish("s", b"x")
    await _settle()
    assert heard[-1] == Message("s", b"offline", False, 1)
    broker.restore("node")
    await _settle()
    assert node.connected
    await _end(first)
    await _settle()
    assert heard[-1].payload == b"bye"
    await _end(second)


async def test_one_that_leaves_quietly_says_nothing() -> None:
    broker = MemoryBroker()
    node = broker.session(
        client_id="node",
        on_message=lambda _: None,
        will=Will("s", b"offline"),
        farewell=[Will("s", b"bye")],
    )
    running = await _run(node)
    node.leave_quietly()
    await _end(running)
    assert broker.published == []


async def test_subscriptions_change_at_run_time() -> None:
    broker = MemoryBroker()
    heard: list[Message] = []
    session = broker.session(client_id="a", on_message=heard.append)
    task = await _run(session)
    assert session.protocol == "5"
    await session.publish("x", b"1", retain=True, qos=1)
    await session.subscribe("x", 1)
    await _settle()
    await session.unsubscribe("x")
    await session.publish("x", b"2", qos=1)
    await _settle()
    assert [message.payload for message in heard] == [b"1"]
    await _end(task)
    assert session.protocol is None
