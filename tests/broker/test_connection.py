"""One connection to brokers that stall, and host names that cannot be dialled."""

import asyncio
from typing import Any

import pytest

import broker.connection
from broker.connection import MAX_WAITING, open_connection
from broker.errors import BrokerUnreachableError, NotConnectedError
from broker.session import BrokerSettings

FRAME_BYTES = 250_000  # so many of them fill every buffer between us and the broker


@pytest.fixture
def _short_publish_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.connection, "PUBLISH_TIMEOUT_S", 1.0)


def _patient(port: int) -> BrokerSettings:
    """Settings with which the keep-alive notices nothing within a test."""
    return BrokerSettings(port=port, keepalive_s=3600)


@pytest.mark.mosquitto
@pytest.mark.usefixtures("_short_publish_timeout")
async def test_message_reported_as_lost_does_not_go_out_later(
    mosquitto: Any, record: Any, link_to: Any, until: Any
) -> None:
    watcher = record(mosquitto.settings, "w40", subscriptions=[("t40", 0)])
    await watcher.connected()
    link = await link_to(mosquitto.port)
    a = record(_patient(link.port), "a40")
    await a.connected()
    link.frozen = True
    payloads = [bytes([number]) * FRAME_BYTES for number in range(MAX_WAITING)]
    results = await asyncio.gather(
        *(a.session.publish("t40", payload) for payload in payloads), return_exceptions=True
    )
    lost = {payload[0] for payload, result in zip(payloads, results, strict=True) if result}
    assert lost, "nothing waited: the buffers are larger than the test thinks"
    assert any("no answer within 1 s" in str(result) for result in results)
    await until(lambda: not a.session.connected)
    link.frozen = False
    await a.connected(2)
    await a.session.publish("t40", b"\xff", qos=1)
    await watcher.heard(b"\xff")
    assert not lost & {message.payload[0] for message in watcher.messages}


@pytest.mark.usefixtures("_short_publish_timeout")
async def test_publish_without_an_acknowledgement_ends_the_connection(
    hesitant_broker: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a = record(hesitant_broker.settings.model_copy(update={"keepalive_s": 3600}), "a41")
    await a.connected()
    hesitant_broker.answers.clear()
    with pytest.raises(NotConnectedError, match="no answer within 1 s"):
        await a.session.publish("t41", b"x", qos=1)
    await until(lambda: "no answer within 1 s; trying again" in caplog.text)
    await a.connected(2)


async def test_cancelled_publish_still_counts_as_waiting(hesitant_broker: Any, record: Any) -> None:
    a = record(hesitant_broker.settings, "a42")
    await a.connected()
    hesitant_broker.answers.clear()
    waiting = [
        asyncio.create_task(a.session.publish("t42", b"x", qos=1)) for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    with pytest.raises(NotConnectedError, match="takes no more"):
        await a.session.publish("t42", b"x", qos=1)
    hesitant_broker.answers.set()
    async with asyncio.timeout(20):
        while True:
            try:
                await a.session.publish("t42", b"x", qos=1)
            except NotConnectedError:
                await asyncio.sleep(0.01)
            else:
                break
    assert hesitant_broker.connects == 1


@pytest.mark.parametrize("host", ["hub..lan", ".hub.lan", "a" * 64 + ".lan"])
async def test_host_name_that_no_resolver_takes_is_a_broker_out_of_reach(host: str) -> None:
    settings = BrokerSettings().model_copy(update={"host": host})  # past the settings' own check
    with pytest.raises(BrokerUnreachableError, match="host name cannot be used"):
        await open_connection(
            settings,
            tls=None,
            client_id="a43",
            will=None,
            version="5",
            on_message=lambda _: None,
            answer_timeout_s=1,
        )
