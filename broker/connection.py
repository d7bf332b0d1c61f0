"""One MQTT connection on the event loop: from the socket to its loss.

paho-mqtt speaks the protocol; its documented hooks for a foreign event loop do the rest. It
stands here directly, without aiomqtt: that costs a task and a queue for each message (a third
of the round trip), keeps the socket of a failed attempt open, waits out its timeout when the
broker hangs up before CONNACK, and lets a publish wait on after its connection died.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from broker.dial import dial
from broker.errors import AuthenticationError, BrokerUnreachableError, NotConnectedError
from broker.message import Message, Will
from broker.settings import BrokerSettings

logger = logging.getLogger(__name__)

Version = Literal["5", "3.1.1"]

# Bad user name or password, not authorized, banned, bad authentication method (MQTT 5, 3.2.2.2;
# paho translates the codes of 3.1.1).
_LOGIN_REASONS = frozenset({0x86, 0x87, 0x8A, 0x8C})
_UNSUPPORTED_VERSION = 0x84

# How often the keep-alive (MQTT counts it in seconds) and overdue answers are looked at.
MISC_INTERVAL_S = 0.5
READ_BATCH = 32  # packets in one turn of the event loop, about 1 ms
# For one message to be written (QoS 0) or acknowledged (QoS 1). After it the connection ends: paho
# keeps what it has not written, and a message reported as lost must not go out later.
PUBLISH_TIMEOUT_S = 10.0
# Messages that wait for the socket or an acknowledgement; above it the newest is refused, so
# that a broker that stopped reading costs a node at most 64 frames of memory.
MAX_WAITING = 64


class ProtocolRefusedError(BrokerUnreachableError):
    """The broker did not take the CONNECT of this protocol version."""


class _Awaited(NamedTuple):
    """What the broker owes us: an acknowledgement, or room for a message to be written."""

    answer: asyncio.Future[list[ReasonCode]]
    timeout_s: float
    overdue_s: float  # on the loop's clock


class _Client(paho.Client):
    """paho's client on a socket that is already connected.

    Its own way to connect blocks, needs a thread, and leaves the socket of a failed TLS
    handshake to the garbage collector.
    """

    dialled: socket.socket

    def _create_socket(self) -> socket.socket:
        return self.dialled


class Connection:
    """One connection; made by `open_connection`, of no use after its loss."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        will: Will | None,
        version: Version,
        on_message: Callable[[Message], None],
    ) -> None:
        self.version = version
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[BrokerUnreachableError | None] = self._loop.create_future()
        # By packet id. Whoever waits may be cancelled: what was given to paho still counts here.
        self._waiting: dict[int, _Awaited] = {}
        self._misc: asyncio.TimerHandle | None = None
        self._message_count = 0
        is_mqtt5 = version == "5"
        self._client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if is_mqtt5 else True,
            protocol=paho.MQTTv5 if is_mqtt5 else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        if settings.username is not None:
            password = settings.password
            self._client.username_pw_set(
                settings.username, None if password is None else password.get_secret_value()
            )
        if will is not None:
            self._client.will_set(will.topic, will.payload, will.qos, will.retain)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received
        self._client.on_publish = self._published
        self._client.on_subscribe = self._acknowledged
        self._client.on_unsubscribe = self._acknowledged
        self._client.on_socket_close = self._socket_closes
        self._client.on_socket_register_write = self._writes_from_now
        self._client.on_socket_unregister_write = self._writes_no_more

    async def handshake(self, dialled: socket.socket) -> None:
        """Send CONNECT over `dialled`, which then is this connection's, and await CONNACK.

        Raises:
            AuthenticationError: the broker refuses the login.
            ProtocolRefusedError: the broker does not take this protocol version, or hung up.
            BrokerUnreachableError: the broker refuses us for another reason.
        """
        self._client.dialled = dialled
        is_mqtt5 = self.version == "5"
        try:
            self._client.connect(
                self._settings.host,
                self._settings.port,
                keepalive=self._settings.keepalive_s,
                clean_start=True if is_mqtt5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            )
            self._loop.add_reader(dialled, self._read)
            self._tick()
            self._write()
            await self._accepted
        except BaseException:
            self.drop()
            dialled.close()
            raise

    async def wait_lost(self) -> None:
        """Wait until the connection is gone.

        Raises:
            BrokerUnreachableError: it was lost; it returns when `close` or `drop` ended it.
        """
        loss = await asyncio.shield(self._lost)
        if loss is not None:
            raise loss

    async def publish(self, topic: str, payload: bytes | str, *, qos: int, retain: bool) -> None:
        """Publish, and return when it is written (QoS 0) or acknowledged (QoS 1).

        Raises:
            NotConnectedError: the connection is gone (or is given up, because this took longer than
                `PUBLISH_TIMEOUT_S`), or takes no more now.
        """
        if self._lost.done():
            raise NotConnectedError("the link to the broker is down")
        if len(self._waiting) >= MAX_WAITING:
            msg = f"the broker takes no more: {len(self._waiting)} messages wait"
            raise NotConnectedError(msg)
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise NotConnectedError(f"the message was not sent: {paho.error_string(info.rc)}")
        self._write()
        if info.is_published():
            return
        codes = await self._answer_to(info.mid, PUBLISH_TIMEOUT_S)
        if codes and codes[0].is_failure:
            logger.warning("broker refuses a message on %s: %s", topic, codes[0])

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        """Subscribe and wait for the acknowledgement; a refused filter is logged as an error.

        Raises:
            NotConnectedError: the connection is gone, or given up without an acknowledgement.
        """
        if not filters:
            return
        rc, mid = self._client.subscribe(list(filters))
        codes = await self._sent(rc, mid)
        for (topic_filter, _), code in zip(filters, codes, strict=False):
            if code.is_failure:
                logger.error(
                    "broker refuses the subscription to %s (%s): check what this login may read",
                    topic_filter,
                    code,
                )

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe and wait for the acknowledgement.

        Raises:
            NotConnectedError: the connection is gone, or given up without an acknowledgement.
        """
        rc, mid = self._client.unsubscribe(topic_filter)
        await self._sent(rc, mid)

    def close(self) -> None:
        """Disconnect cleanly, so that the broker forgets the will."""
        self._client.disconnect()
        self._write()
        self.drop()

    def drop(self) -> None:
        """Cut the connection without a word, so that the broker publishes the will."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("the broker had closed the socket already")
            self._read()  # reads the end of the stream, so paho lets go of the socket
        self._end(None)

    async def _sent(self, rc: MQTTErrorCode, mid: int | None) -> list[ReasonCode]:
        if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise NotConnectedError(f"the request was not sent: {paho.error_string(rc)}")
        self._write()
        return await self._answer_to(mid, self._settings.connect_timeout_s)

    async def _answer_to(self, mid: int, timeout_s: float) -> list[ReasonCode]:
        if self._lost.done():  # while it was written
            raise NotConnectedError("the link to the broker went away")
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._waiting[mid] = _Awaited(answer, timeout_s, self._loop.time() + timeout_s)
        return await answer

    # What paho calls. The keyword names are its own, the arguments unused here are in one place.

    def _connected(self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _p: Any) -> None:
        if self._accepted.done():
            return
        url = self._settings.url
        if not code.is_failure:
            self._accepted.set_result(None)
        elif code.value in _LOGIN_REASONS:
            self._accepted.set_exception(AuthenticationError(url, str(code)))
        elif code.value == _UNSUPPORTED_VERSION:
            self._accepted.set_exception(ProtocolRefusedError(url, str(code)))
        else:
            self._accepted.set_exception(BrokerUnreachableError(url, str(code)))

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _p: Any
    ) -> None:
        self._end(BrokerUnreachableError(self._settings.url, f"connection lost ({code})"))

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._message_count += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            logger.warning("dropped a message on a topic that is not UTF-8")
            return
        self._on_message(Message(topic, bytes(message.payload), message.retain, message.qos))

    def _published(self, _client: paho.Client, _data: Any, mid: int, code: Any, _p: Any) -> None:
        self._answer(mid, [code])

    def _acknowledged(
        self, _client: paho.Client, _data: Any, mid: int, codes: Any, _p: Any
    ) -> None:
        self._answer(mid, list(codes))

    def _answer(self, mid: int, codes: list[ReasonCode]) -> None:
        awaited = self._waiting.pop(mid, None)
        if awaited is not None and not awaited.answer.done():
            awaited.answer.set_result(codes)

    def _socket_closes(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)

    def _writes_from_now(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self._write)

    def _writes_no_more(self, _client: paho.Client, _data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    # What the event loop calls.

    def _read(self) -> None:
        # One step reads one packet. Going on while messages come saves a turn of the event loop
        # for each; the bound leaves the others their turn.
        for _ in range(READ_BATCH):
            before = self._message_count
            self._guard(self._client.loop_read)
            if self._message_count == before and not self._decrypted_bytes():
                return
        if self._decrypted_bytes():
            self._loop.call_soon(self._read)

    def _decrypted_bytes(self) -> int:
        """Bytes that TLS decrypted with an earlier record: they do not make the socket readable."""
        sock = self._client.socket()
        return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0

    def _write(self) -> None:
        self._guard(self._client.loop_write)

    def _tick(self) -> None:
        if self._lost.done():
            return
        self._guard(self._client.loop_misc)
        now_s = self._loop.time()
        for awaited in self._waiting.values():
            if awaited.overdue_s <= now_s:
                self._give_up(f"no answer within {awaited.timeout_s:g} s")
                return
        self._misc = self._loop.call_later(MISC_INTERVAL_S, self._tick)

    def _guard(self, step: Callable[[], MQTTErrorCode]) -> None:
        """Take one step of paho's; whatever it raises on malformed bytes ends the connection."""
        try:
            step()
        except Exception as exc:  # noqa: BLE001 - paho raises what its parsers happen to raise
            self._give_up(f"broken MQTT ({exc!r})")

    def _give_up(self, reason: str) -> None:
        self._end(BrokerUnreachableError(self._settings.url, reason))
        self.drop()

    def _end(self, loss: BrokerUnreachableError | None) -> None:
        if self._misc is not None:
            self._misc.cancel()
        if not self._accepted.done():
            reason = "hung up before it accepted the connection" if loss else "given up"
            self._accepted.set_exception(ProtocolRefusedError(self._settings.url, reason))
            self._accepted.exception()  # seen: nobody may be waiting any more
        if not self._lost.done():
            self._lost.set_result(loss)
        reason = "the link to the broker went away" if loss is None else str(loss)
        for awaited in self._waiting.values():
            if not awaited.answer.done():
                awaited.answer.set_exception(NotConnectedError(reason))
        self._waiting.clear()


async def open_connection(
    settings: BrokerSettings,
    *,
    tls: ssl.SSLContext | None,
    client_id: str,
    will: Will | None,
    version: Version,
    on_message: Callable[[Message], None],
    answer_timeout_s: float,
) -> Connection:
    """Return a connection the broker has accepted, within `connect_timeout_s`.

    Args:
        settings: where the broker is.
        tls: the context for TLS, None without.
        client_id: unique on the broker.
        will: what the broker publishes when the connection is lost.
        version: the MQTT version to speak.
        on_message: called for every message.
        answer_timeout_s: bound from CONNECT to CONNACK alone.

    Raises:
        AuthenticationError: the broker refuses the login.
        ProtocolRefusedError: it may speak another version (or did not answer CONNECT).
        BrokerUnreachableError: there is no broker.
    """
    sent = False
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            dialled = await dial(settings, tls)
            sent = True
            connection = Connection(
                settings, client_id=client_id, will=will, version=version, on_message=on_message
            )
            async with asyncio.timeout(answer_timeout_s):
                await connection.handshake(dialled)
            return connection
    except TimeoutError as exc:
        error = ProtocolRefusedError if sent else BrokerUnreachableError
        timeout_s = min(answer_timeout_s, settings.connect_timeout_s)
        raise error(settings.url, f"no answer within {timeout_s:g} s") from exc
    except OSError as exc:
        raise BrokerUnreachableError(settings.url, exc.strerror or str(exc)) from exc
