"""The embedded broker: amqtt, pure Python, MQTT 3.1.1, nothing kept on disk.

Importing this module needs amqtt and its dependencies; only a command that runs it does so.
"""

import asyncio
import logging
from importlib.metadata import version

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.errors import BrokerError as AmqttError
from amqtt.session import Session

from broker.errors import BrokerStartError

_LEVEL_3_1_1 = 4
_CONNECT = 0x10
# CONNACK: no session present, unacceptable protocol version (MQTT 3.1.1, 3.2.2.3)
_WRONG_VERSION = bytes((0x20, 0x02, 0x00, 0x01))
_FIRST_PACKET_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0


class EmbeddedBroker:
    """amqtt in this process's event loop; anonymous, so for loopback or a trusted network."""

    def __init__(self, *, bind: str, port: int) -> None:
        self.name = f"amqtt {version('amqtt')}"
        self._address = f"{bind}:{port}"
        self._broker: Broker | None = None

    async def start(self) -> None:
        """Start, and return when it accepts connections.

        Raises:
            BrokerStartError: it does not start.
        """
        # It tells of every odd client, and of cancelled tasks when it stops.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        auth = "amqtt.plugins.authentication.AnonymousAuthPlugin"
        self._broker = _CorrectedBroker(
            {
                "listeners": {"default": {"type": "tcp", "bind": self._address}},
                "plugins": {auth: {"allow_anonymous": True}},
            }
        )
        try:
            await self._broker.start()
        except AmqttError as exc:
            self._broker = None
            msg = f"the embedded broker does not start on {self._address}: {exc}"
            raise BrokerStartError(msg) from exc

    async def ended(self) -> None:
        """Wait for ever: it ends with this process only."""
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Close all connections and stop."""
        broker, self._broker = self._broker, None
        if broker is None:
            return
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await broker.shutdown()
        except TimeoutError:
            logging.getLogger(__name__).warning("the embedded broker did not stop in time")


class _CorrectedBroker(Broker):  # type: ignore[misc] # amqtt ships no types
    """amqtt with two faults of 0.11 and 0.12 corrected.

    By itself it reads a CONNECT of MQTT 5 as one of 3.1.1 and, when that has a will, waits for
    bytes that never come instead of refusing it. And it sends a client that connects the
    retained messages of everybody's subscriptions.
    """

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self._subscriptions.get(subscription[0], [])
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        start = b""
        try:
            async with asyncio.timeout(_FIRST_PACKET_TIMEOUT_S):
                start = await _read_to_level(reader)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            start = b""
        if start and start[-1] == _LEVEL_3_1_1:
            await self.external_connected(
                _Resumed(start, reader), StreamWriterAdapter(writer), listener_name
            )
            return
        if start:
            writer.write(_WRONG_VERSION)
        writer.close()


class _Resumed(StreamReaderAdapter):  # type: ignore[misc]
    """A stream some of whose bytes were read already."""

    def __init__(self, start: bytes, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._start = start

    async def read(self, n: int = -1) -> bytes:
        if not self._start or n == -1:
            start, self._start = self._start, b""
            rest: bytes = await super().read(n)
            return start + rest
        start, self._start = self._start[:n], self._start[n:]
        if len(start) == n:
            return start
        rest = await super().read(n - len(start))
        return start + rest


async def _read_to_level(reader: asyncio.StreamReader) -> bytes:
    """Return a CONNECT's bytes up to its protocol level, b"" if it is no CONNECT."""
    start = await reader.readexactly(2)
    if start[0] != _CONNECT:
        return b""
    while start[-1] & 0x80:  # the remaining length goes on, in at most four bytes
        if len(start) > 4:
            return b""
        start += await reader.readexactly(1)
    name_length = await reader.readexactly(2)
    if int.from_bytes(name_length) > 8:  # "MQTT", or "MQIsdp" of MQTT 3.1
        return b""
    return start + name_length + await reader.readexactly(int.from_bytes(name_length) + 1)
