"""The session against real brokers, and against links and brokers that misbehave."""

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from broker.codecs import MAX_JPEG_BYTES, FrameMessage, decode_frame, encode_frame
from broker.connection import MAX_WAITING
from broker.errors import (
    AuthenticationError,
    BrokerSettingsError,
    BrokerUnreachableError,
    NotConnectedError,
)
from broker.session import BACKOFF_CAP_S, BrokerSettings, Message, Session, Will, backoff_s

LOGGER = "broker.session"
# "Quickly" for a fall-back: far below the connect timeout given, far above what it takes.
CONNECT_TIMEOUT_S = 30.0
QUICK_S = 15.0


async def test_message_of_each_qos_goes_from_one_session_to_another(
    any_broker: Any, record: Any
) -> None:
    a = record(any_broker.settings, "a1", subscriptions=[("t1/+", 1)])
    b = record(any_broker.settings, "b1")
    await a.connected()
    await b.connected()
    await b.session.publish("t1/x", b"\x00\xff", qos=0)
    await b.session.publish("t1/y", "text", qos=1)
    await a.heard(b"text")
    # amqtt delivers with the subscription's QoS, even what was published with a lower one.
    first_qos = 0 if any_broker.kind == "mosquitto" else 1
    assert a.messages == [
        Message("t1/x", b"\x00\xff", False, first_qos),
        Message("t1/y", b"text", False, 1),
    ]


async def test_largest_frame_passes(any_broker: Any, record: Any, until: Any) -> None:
    frame = FrameMessage(1, 2, 500, bytes(MAX_JPEG_BYTES))
    a = record(any_broker.settings, "a2", subscriptions=[("t2", 0)])
    await a.connected()
    await a.session.publish("t2", encode_frame(frame))
    await until(lambda: a.messages)
    assert decode_frame(a.messages[0].payload) == frame


async def test_protocol_is_5_where_the_broker_has_it(mosquitto: Any, record: Any) -> None:
    a = record(mosquitto.settings, "a3")
    assert a.session.protocol is None
    await a.connected()
    assert a.session.protocol == "5"


@pytest.mark.parametrize("will", [None, Will("t4/will", b"offline")])
async def test_falls_back_to_3_1_1_quickly(embedded: Any, record: Any, will: Will | None) -> None:
    settings = BrokerSettings(port=embedded.port, connect_timeout_s=CONNECT_TIMEOUT_S)
    async with asyncio.timeout(QUICK_S):
        a = record(settings, "a4", will=will)
        await a.connected()
    assert a.session.protocol == "3.1.1"


@pytest.mark.mosquitto
async def test_explicit_3_1_1_is_spoken_to_a_broker_that_has_5(mosquitto: Any, record: Any) -> None:
    settings = BrokerSettings(port=mosquitto.port, protocol="3.1.1")
    a = record(settings, "a5", subscriptions=[("t5", 1)])
    await a.connected()
    assert a.session.protocol == "3.1.1"
    await a.session.publish("t5", b"x", qos=1)
    await a.heard(b"x")


async def test_explicit_5_does_not_fall_back(
    embedded: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a = record(BrokerSettings(port=embedded.port, protocol="5"), "a6")
    await until(lambda: "protocol version" in caplog.text)
    assert not a.session.connected
    assert not a.task.done()


@contextlib.asynccontextmanager
async def _odd_broker(behaviour: Literal["silent", "hangs up", "garbage"]) -> AsyncIterator[int]:
    """A broker that knows 3.1.1 alone and meets MQTT 5 with this behaviour."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connect = await reader.read(1000)
        if connect[8] == 4:
            writer.write(b"\x20\x02\x00\x00")
        elif behaviour == "hangs up":
            writer.close()
            return
        elif behaviour == "garbage":
            writer.write(b"\x20\xff\xff\xff\xff\xff\xff" + b"\x90" * 50)
        with contextlib.suppress(OSError):
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("behaviour", ["silent", "hangs up", "garbage"])
async def test_falls_back_when_mqtt_5_is_not_even_refused(
    behaviour: Literal["silent", "hangs up", "garbage"], record: Any
) -> None:
    async with _odd_broker(behaviour) as port:
        settings = BrokerSettings(port=port, connect_timeout_s=CONNECT_TIMEOUT_S)
        async with asyncio.timeout(QUICK_S):
            a = record(settings, "a7")
            await a.connected()
        assert a.session.protocol == "3.1.1"
        await a.end()


async def test_vanished_client_speaks_by_its_will(
    any_broker: Any, record: Any, link_to: Any, until: Any
) -> None:
    watcher = record(any_broker.settings, "w8", subscriptions=[("t8/status", 1)])
    await watcher.connected()
    link = await link_to(any_broker.port)
    a = record(
        BrokerSettings(port=link.port),
        "a8",
        will=Will("t8/status", b"offline"),
        farewell=[Will("t8/status", b"farewell")],
    )
    await a.connected()
    link.refuse = True
    link.cut()
    await watcher.heard(b"offline")
    await until(lambda: not a.session.connected)
    with pytest.raises(NotConnectedError):
        await a.session.publish("t8/status", b"x")
    link.refuse = False
    await a.connected(2)


async def test_clean_shutdown_publishes_the_farewell_and_no_will(
    any_broker: Any, record: Any
) -> None:
    watcher = record(any_broker.settings, "w9", subscriptions=[("t9/#", 1)])
    await watcher.connected()
    a = record(
        any_broker.settings,
        "a9",
        will=Will("t9/status", b"will"),
        farewell=[Will("t9/status", b"offline"), Will("t9/state", b"gone")],
    )
    await a.connected()
    await a.end()
    assert not a.session.connected
    await watcher.heard(b"gone")
    late = record(any_broker.settings, "l9", subscriptions=[("t9/status", 1)])
    await late.heard(b"offline")
    assert late.messages == [Message("t9/status", b"offline", True, 1)]
    assert b"will" not in [message.payload for message in watcher.messages]


async def test_comes_back_and_subscribes_again_when_the_broker_restarts(
    own_broker: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    a = record(own_broker.settings, "a10", subscriptions=[("t10/first", 1)])
    await a.connected()
    await a.session.subscribe("t10/second", 1)
    await a.session.subscribe("t10/third", 1)
    await a.session.unsubscribe("t10/third")
    own_broker.command.stop()
    await until(lambda: not a.session.connected)
    own_broker.command.start()
    await a.connected(2)
    for leaf in ("third", "first", "second"):
        await a.session.publish(f"t10/{leaf}", leaf, qos=1)
    await a.heard(b"second")
    assert [message.payload for message in a.messages] == [b"first", b"second"]
    said = [(record.levelname, record.message) for record in caplog.records]
    assert [level for level, _ in said] == ["INFO", "WARNING", "INFO"]
    assert ": connected (MQTT" in said[0][1]
    assert "trying again until it is back" in said[1][1]
    assert ": back (MQTT" in said[2][1]


@pytest.mark.mosquitto
async def test_broker_away_at_start_is_said_once(
    free_port: int, record: Any, until: Any, caplog: pytest.LogCaptureFixture,
    tmp_path: Path, configured: Any,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG, LOGGER)
    a = record(BrokerSettings(port=free_port), "a11")
    await until(lambda: caplog.text.count("broker still away") >= 3)
    assert not a.session.connected
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {free_port} 127.0.0.1\nallow_anonymous true\n")
    configured(config, free_port)
    await a.connected()
    said = [one.message for one in caplog.records if one.levelno >= logging.INFO]
    assert len(said) == 2
    assert "cannot be reached" in said[0]
    assert "back" in said[1]


async def test_unknown_host_is_away_too(
    record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    a = record(BrokerSettings(host="no-such-host.invalid"), "a12")
    await until(lambda: "no-such-host.invalid" in caplog.text)
    assert not a.task.done()


@pytest.fixture
def logins(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a password file for `anna`."""
    import shutil
    import subprocess

    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed: apt install mosquitto")

    def write(password: str) -> Path:
        file = tmp_path / "logins"
        file.touch(mode=0o644)
        subprocess.run([program, "-b", file, "anna", password], check=True, capture_output=True)
        return file

    return write


def _login_config(folder: Path, port: int, logins: Path) -> Path:
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {logins}\nuser root\n"
    )
    return config


@pytest.mark.mosquitto
@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
async def test_wrong_password_ends_the_first_connection(
    configured: Any, logins: Any, free_port: int, tmp_path: Path,
    protocol: Literal["auto", "5", "3.1.1"],
) -> None:  # fmt: skip
    configured(_login_config(tmp_path, free_port, logins("right")), free_port)
    for url in ("anna:wrong@", ""):
        settings = BrokerSettings.parse_url(f"mqtt://{url}127.0.0.1:{free_port}", protocol=protocol)
        session = Session(settings, client_id="a13", on_message=lambda _: None)
        with pytest.raises(AuthenticationError, match="refuses the login") as caught:
            async with asyncio.timeout(QUICK_S):
                await session.run()
        assert "wrong" not in str(caught.value)


@pytest.mark.mosquitto
async def test_password_that_turns_wrong_later_is_said_once_and_tried_again(
    configured: Any, logins: Any, free_port: int, tmp_path: Path, record: Any, until: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    config = _login_config(tmp_path, free_port, logins("right"))
    command = configured(config, free_port)
    a = record(BrokerSettings.parse_url(f"mqtt://anna:right@127.0.0.1:{free_port}"), "a14")
    await a.connected()
    logins("changed")
    command.stop()
    command.start()
    caplog.set_level(logging.DEBUG, LOGGER)
    await until(lambda: "refuses the login" in caplog.text)
    assert not a.task.done()
    logins("right")
    command.stop()
    command.start()
    await a.connected(2)
    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert sum("refuses the login" in one.message for one in warned) == 1


async def test_first_message_comes_after_on_connect(any_broker: Any, record: Any) -> None:
    a = record(any_broker.settings, "a15")
    await a.connected()
    await a.session.publish("t15/kept", b"kept", qos=1, retain=True)
    order: list[str] = []

    async def on_connect() -> None:
        order.append("on_connect begins")
        # Long enough for the retained message to be on its way: a round trip to the broker.
        await b.session.publish("t15/other", b"x", qos=1)
        await b.session.publish("t15/other", b"x", qos=1)
        order.append("on_connect ends")

    b = record(
        any_broker.settings,
        "b15",
        on_connect=on_connect,
        on_message=lambda message: order.append(message.topic),
        subscriptions=[("t15/kept", 1)],
    )
    await b.connected()
    async with asyncio.timeout(QUICK_S):
        while len(order) < 3:  # noqa: ASYNC110 - nothing to be notified by
            await asyncio.sleep(0.01)
    assert order == ["on_connect begins", "on_connect ends", "t15/kept"]


async def test_message_that_fails_its_receiver_is_logged_and_the_next_one_comes(
    any_broker: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def on_message(message: Message) -> None:
        if message.payload == b"bad":
            raise RuntimeError("cannot take it")
        heard.append(message.payload)

    a = record(any_broker.settings, "a16", on_message=on_message, subscriptions=[("t16", 1)])
    await a.connected()
    await a.session.publish("t16", b"bad", qos=1)
    await a.session.publish("t16", b"good", qos=1)
    await until(lambda: heard == [b"good"])
    assert "a message on t16 failed its receiver" in caplog.text


async def test_on_connect_that_loses_the_link_leads_to_another_attempt(
    any_broker: Any, record: Any
) -> None:
    async def on_connect() -> None:
        if len(a.connects) == 1:
            raise NotConnectedError("gone")

    a = record(any_broker.settings, "a17", on_connect=on_connect)
    await a.connected(2)


async def test_a_cancellation_that_comes_with_the_loss_of_the_link_ends_run(
    any_broker: Any,
) -> None:
    async def on_connect() -> None:
        task.cancel()
        raise NotConnectedError("the link went away in the same turn of the loop")

    session = Session(
        any_broker.settings, client_id="both", on_message=lambda _: None, on_connect=on_connect
    )
    task = asyncio.create_task(session.run())
    done, _ = await asyncio.wait([task], timeout=20)
    assert done, "the cancellation was forgotten"
    assert task.cancelled()


async def test_on_connect_with_a_mistake_ends_run(any_broker: Any, record: Any) -> None:
    async def on_connect() -> None:
        raise ValueError("a mistake")

    a = record(any_broker.settings, "a18", on_connect=on_connect)
    with pytest.raises(ValueError, match="a mistake"):
        await a.task


async def test_what_is_subscribed_during_the_greeting_holds_for_this_connection(
    hesitant_broker: Any, record: Any, until: Any
) -> None:
    hesitant_broker.answers.clear()
    a = record(
        hesitant_broker.settings, "a31", subscriptions=[("kept", 1), ("gone", 1), ("raised", 0)]
    )
    await until(lambda: hesitant_broker.requests == 1)
    assert not a.session.connected
    await a.session.subscribe("late", 0)
    await a.session.subscribe("raised", 1)
    await a.session.unsubscribe("gone")
    hesitant_broker.answers.set()
    await a.connected()
    assert hesitant_broker.subscribed == {"kept": 1, "late": 0, "raised": 1}
    assert hesitant_broker.connects == 1


@pytest.mark.parametrize("request_of", ["subscribe", "unsubscribe"])
async def test_a_request_that_is_not_acknowledged_leads_to_another_connection(
    hesitant_broker: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture,
    request_of: str,
) -> None:  # fmt: skip
    settings = hesitant_broker.settings.model_copy(update={"keepalive_s": 3600})
    a = record(settings, "a32", subscriptions=[("first", 1), ("second", 1)])
    await a.connected()
    hesitant_broker.answers.clear()
    if request_of == "subscribe":
        await a.session.subscribe("third", 0)
    else:
        await a.session.unsubscribe("second")
    await until(lambda: not a.session.connected)
    assert "no answer within 2 s" in caplog.text
    hesitant_broker.answers.set()
    await a.connected(2)
    expected = {"subscribe": {"first": 1, "second": 1, "third": 0}, "unsubscribe": {"first": 1}}
    assert hesitant_broker.subscribed == expected[request_of]


@pytest.mark.parametrize("qos", [0, 1])
async def test_publish_does_not_outlive_its_link(
    any_broker: Any, record: Any, link_to: Any, until: Any, qos: int
) -> None:
    link = await link_to(any_broker.port)
    a = record(BrokerSettings(port=link.port), "a19")
    await a.connected()
    link.frozen = True
    # QoS 0 waits too once the buffers between us and the broker are full.
    publishing = [
        asyncio.create_task(a.session.publish("t19", bytes(250_000), qos=qos)) for _ in range(60)
    ]
    await asyncio.sleep(0.1)
    assert not all(task.done() for task in publishing)
    link.refuse = True
    link.cut()
    async with asyncio.timeout(5):  # half of the publish timeout: the loss itself ends the wait
        results = await asyncio.gather(*publishing, return_exceptions=True)
    assert any(isinstance(result, NotConnectedError) for result in results)
    assert all(result is None or isinstance(result, NotConnectedError) for result in results)
    link.frozen = False
    await until(lambda: not a.session.connected)


async def test_messages_waiting_for_a_frozen_broker_are_bounded(
    any_broker: Any, record: Any, link_to: Any
) -> None:
    link = await link_to(any_broker.port)
    a = record(BrokerSettings(port=link.port), "a20")
    await a.connected()
    link.frozen = True
    waiting = [
        asyncio.create_task(a.session.publish("t20", b"x", qos=1)) for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(NotConnectedError, match="takes no more"):
        await a.session.publish("t20", b"x", qos=1)
    link.frozen = False
    await asyncio.gather(*waiting)
    await a.session.publish("t20", b"x", qos=1)


async def test_farewell_to_a_frozen_broker_is_bounded_and_leaves_the_word_to_the_will(
    any_broker: Any, record: Any, link_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = record(any_broker.settings, "w21", subscriptions=[("t21", 1)])
    await watcher.connected()
    link = await link_to(any_broker.port)
    a = record(
        BrokerSettings(port=link.port),
        "a21",
        will=Will("t21", b"will"),
        farewell=[Will("t21", b"farewell")],
    )
    await a.connected()
    link.frozen = True
    async with asyncio.timeout(QUICK_S):
        await a.end()
    assert "no farewell" in caplog.text
    link.cut()
    await watcher.heard(b"will")
    assert b"farewell" not in [message.payload for message in watcher.messages]


async def test_frozen_broker_is_noticed_by_the_keep_alive(
    any_broker: Any, record: Any, link_to: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    link = await link_to(any_broker.port)
    a = record(BrokerSettings(port=link.port, keepalive_s=1), "a29")
    await a.connected()
    link.frozen = True
    await until(lambda: not a.session.connected)
    assert "connection lost" in caplog.text
    link.frozen = False
    await a.connected(2)


async def test_a_burst_comes_whole_and_in_order(any_broker: Any, record: Any) -> None:
    a = record(any_broker.settings, "a30", subscriptions=[("t30", 0)])
    b = record(any_broker.settings, "b30")
    await a.connected()
    await b.connected()
    burst = [number.to_bytes(2) for number in range(500)]
    for payload in burst:
        await b.session.publish("t30", payload)
    await a.heard(burst[-1])
    assert [message.payload for message in a.messages] == burst


@pytest.mark.mosquitto
async def test_two_clients_of_one_name_are_told_once(
    mosquitto: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    a = record(mosquitto.settings, "same", rng=random.Random(1))
    await a.connected()
    b = record(mosquitto.settings, "same", rng=random.Random(2))
    await until(lambda: caplog.text.count("does another client use the id same") == 2)
    await until(lambda: caplog.text.count("broker still away") >= 2)
    assert caplog.text.count("does another client use the id same") == 2
    assert not a.task.done()
    assert not b.task.done()


async def test_publish_without_a_link_is_an_error(free_port: int) -> None:
    session = Session(BrokerSettings(port=free_port), client_id="a22", on_message=lambda _: None)
    with pytest.raises(NotConnectedError, match=f"mqtt://127.0.0.1:{free_port}"):
        await session.publish("t22", b"x")
    await session.subscribe("t22", 0)  # remembered for later
    await session.unsubscribe("t22")


async def test_session_runs_once(any_broker: Any, record: Any) -> None:
    a = record(any_broker.settings, "a23")
    await a.connected()
    with pytest.raises(RuntimeError, match="runs already"):
        await a.session.run()


@pytest.mark.parametrize("moment", ["connected", "dialling", "waiting for CONNACK", "backing off"])
async def test_cancelled_at_any_moment_it_ends_at_once_and_leaves_nothing(
    any_broker: Any, record: Any, free_port: int, until: Any, moment: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG, LOGGER)
    before = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts in the kernel, never answers
        port = {"connected": any_broker.port, "backing off": free_port}.get(
            moment, mute.getsockname()[1]
        )
        a = record(BrokerSettings(port=port, connect_timeout_s=CONNECT_TIMEOUT_S), "a24")
        if moment == "connected":
            await a.connected()
        elif moment == "backing off":
            await until(lambda: "next attempt" in caplog.text)
        elif moment == "waiting for CONNACK":
            mute.setblocking(False)
            taken, _ = await asyncio.get_running_loop().sock_accept(mute)
            assert await asyncio.get_running_loop().sock_recv(taken, 1)
            taken.close()
        else:
            await asyncio.sleep(0)
        async with asyncio.timeout(QUICK_S):
            await a.end()
        assert a.task.cancelled()
    assert asyncio.all_tasks() == before


def _tls_config(folder: Path, port: int, certificates: Path) -> Path:
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        f"certfile {certificates}/cert.pem\nkeyfile {certificates}/key.pem\n"
    )
    return config


@pytest.mark.mosquitto
async def test_tls_with_a_ca_of_ones_own(
    configured: Any, certificates: Path, free_port: int, tmp_path: Path, record: Any
) -> None:
    configured(_tls_config(tmp_path, free_port, certificates), free_port)
    settings = BrokerSettings.parse_url(
        f"mqtts://127.0.0.1:{free_port}", ca_file=certificates / "ca.pem"
    )
    a = record(settings, "a25", subscriptions=[("t25", 1)])
    await a.connected()
    payloads = [bytes([number]) * 250_000 for number in range(4)] + [b"last"]
    await asyncio.gather(*(a.session.publish("t25", one, qos=1) for one in payloads))
    await a.heard(b"last")
    assert [message.payload for message in a.messages] == payloads


@pytest.mark.mosquitto
async def test_tls_certificate_of_an_unknown_ca_is_named_as_the_reason(
    configured: Any, certificates: Path, free_port: int, tmp_path: Path, record: Any, until: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    configured(_tls_config(tmp_path, free_port, certificates), free_port)
    record(BrokerSettings.parse_url(f"mqtts://127.0.0.1:{free_port}"), "a26")
    await until(lambda: "certificate verify failed" in caplog.text)


async def test_tls_to_a_broker_without_it_is_away(
    any_broker: Any, record: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BrokerSettings(port=any_broker.port, tls=True, connect_timeout_s=2)
    record(settings, "a27")
    await until(lambda: f"mqtts://127.0.0.1:{any_broker.port} cannot be reached" in caplog.text)


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_ca_file_that_cannot_be_used_is_one_error(
    tmp_path: Path, content: str | None
) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    settings = BrokerSettings(tls=True, ca_file=ca_file)
    session = Session(settings, client_id="a28", on_message=lambda _: None)
    with pytest.raises(BrokerSettingsError, match=r"CA file .*ca\.pem cannot be used"):
        await session.run()


def test_backoff_is_jittered_grows_and_is_capped() -> None:
    rng = random.Random(0)
    for attempt, ceiling_s in [(0, 0.2), (1, 0.4), (3, 1.6), (6, 10.0), (1000, BACKOFF_CAP_S)]:
        drawn = [backoff_s(attempt, rng) for _ in range(200)]
        assert 0 <= min(drawn) < ceiling_s * 0.1
        assert ceiling_s * 0.9 < max(drawn) <= ceiling_s


async def test_one_that_leaves_quietly_publishes_neither_farewell_nor_will(
    any_broker: Any, record: Any
) -> None:
    watcher = record(any_broker.settings, "watcher30", subscriptions=[("t30/#", 1)])
    await watcher.connected()
    guest = record(
        any_broker.settings,
        "guest30",
        will=Will("t30/status", b"will", qos=1, retain=False),
        farewell=[Will("t30/status", b"farewell", qos=1, retain=False)],
    )
    await guest.connected()
    guest.session.leave_quietly()
    await guest.end()
    await watcher.session.publish("t30/status", b"afterwards", qos=1)
    await watcher.heard(b"afterwards")
    assert [message.payload for message in watcher.messages] == [b"afterwards"]


async def test_an_impatient_session_ends_with_what_is_wrong(free_port: int) -> None:
    async def nothing() -> None:
        pytest.fail("there is no broker to connect to")

    session = Session(
        BrokerSettings(port=free_port),
        client_id="guest31",
        on_message=lambda _: None,
        on_connect=nothing,
        patient=False,
    )
    with pytest.raises(BrokerUnreachableError, match="cannot be reached"):
        await session.run()
