"""The MQTT session: it connects, comes back after every loss, and says goodbye."""

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from broker.connection import (
    Connection,
    ProtocolRefusedError,
    Version,
    open_connection,
)
from broker.errors import (
    AuthenticationError,
    BrokerError,
    BrokerSettingsError,
    BrokerUnreachableError,
    NotConnectedError,
)
from broker.message import Message, Will
from broker.settings import BrokerSettings

__all__ = ["BrokerSettings", "BrokerSettingsError", "Message", "Session", "Will"]

logger = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.2
BACKOFF_CAP_S = 10.0
STABLE_S = 5.0  # a link that held so long was a good one: the backoff starts anew
# So many links in a row that did not hold are no chance: two clients of one id throw each other
# out, and each loss would be news.
SHORT_LINKS = 3
FAREWELL_TIMEOUT_S = 2.0
# A broker of 3.1.1 alone may wait for more bytes instead of refusing a CONNECT of MQTT 5 (amqtt
# does, given a will): the attempt with the other version must not come after a long timeout.
FALLBACK_TIMEOUT_S = 1.0
# Messages that arrive before `on_connect` has returned wait; above it the oldest is evicted.
MAX_HELD = 4096


class Session:
    """A client's life on the broker, through any number of connections.

    `run` does everything; the other methods may be called from the same event loop at any time.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        will: Will | None = None,
        on_message: Callable[[Message], None],
        on_connect: Callable[[], Awaitable[None]] | None = None,
        subscriptions: Sequence[tuple[str, int]] = (),
        farewell: Sequence[Will] = (),
        rng: random.Random | None = None,
        patient: bool = True,
    ) -> None:
        """Keep what `run` needs; nothing is connected yet.

        Args:
            settings: where the broker is.
            client_id: unique on the broker; a second client with it ends the first's link.
            will: published by the broker when this client vanishes.
            on_message: called for every message, in order; synchronous, must not block. What it
                raises is logged.
            on_connect: awaited after every connect and before the first message is handed over:
                the place for retained status and state. It should await nothing but this
                session: a lost link is noticed when it returns. A `NotConnectedError` it raises
                counts as a lost link, anything else ends `run`.
            subscriptions: pairs of topic filter and QoS.
            farewell: published before a clean disconnect, which suppresses the will.
            rng: for the jitter of the backoff.
            patient: whether a broker that is away is awaited; else `run` ends with the first loss.
        """
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._on_message = on_message
        self._on_connect = on_connect
        self._subscriptions = dict(subscriptions)
        self._farewell = tuple(farewell)
        self._rng = rng or random.Random()
        self._patient = patient
        self._connection: Connection | None = None
        self._held: deque[Message] | None = None
        self._version: Version | None = None
        self._was_connected = False
        self._up_since_s: float | None = None
        self._trouble: str | None = None
        self._short_links = 0
        self._running = False

    @property
    def connected(self) -> bool:
        """Whether a message could be published now."""
        return self._connection is not None

    @property
    def protocol(self) -> Version | None:
        """The MQTT version of the link, None while there is none."""
        return None if self._connection is None else self._connection.version

    async def run(self) -> None:
        """Hold the link until cancelled; then publish the farewell and disconnect.

        A broker that is away is reported once, and once when it is back.

        Raises:
            AuthenticationError: the broker refuses the login of the first connection. Later it
                is reported once and tried again.
            BrokerUnreachableError, NotConnectedError: the link was lost or never made, and the
                session is not patient.
            BrokerSettingsError: the CA file cannot be used.
        """
        if self._running:
            msg = "this session runs already"
            raise RuntimeError(msg)
        self._running = True
        attempt = 0
        try:
            tls = await asyncio.to_thread(_tls_context, self._settings)
            while True:
                self._up_since_s = None
                try:
                    await self._live(tls)
                except AuthenticationError as exc:
                    self._report("login", exc)
                except (BrokerUnreachableError, NotConnectedError) as exc:
                    if not self._patient:
                        raise
                    self._report("away", exc)
                attempt = 0 if self._up_s() >= STABLE_S else attempt + 1
                delay_s = backoff_s(attempt, self._rng)
                logger.debug("next attempt in %.2f s", delay_s)
                await asyncio.sleep(delay_s)
        finally:
            self._running = False

    async def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish; returns when written (QoS 0) or acknowledged (QoS 1).

        Raises:
            NotConnectedError: there is no link, or it went away before the message was through.
        """
        if self._connection is None:
            raise NotConnectedError(f"there is no link to broker {self._settings.url}")
        await self._connection.publish(topic, payload, qos=qos, retain=retain)

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe now, or at the next connect, and again after every reconnect."""
        self._subscriptions[topic_filter] = qos
        if self._connection is not None:
            try:
                await self._connection.subscribe([(topic_filter, qos)])
            except NotConnectedError:
                logger.debug("subscribes to %s when the broker is back", topic_filter)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe now and for every later connection."""
        self._subscriptions.pop(topic_filter, None)
        if self._connection is not None:
            try:
                await self._connection.unsubscribe(topic_filter)
            except NotConnectedError:
                logger.debug("the link that was subscribed to %s is gone", topic_filter)

    def leave_quietly(self) -> None:
        """Leave without farewell and will when `run` ends: their topics are another client's."""
        self._farewell = ()

    async def _live(self, tls: ssl.SSLContext | None) -> None:
        """Live through one connection, from CONNECT to its loss."""
        self._held = deque(maxlen=MAX_HELD)
        connection = await self._open(tls)
        try:
            await self._greet(connection)
            await connection.wait_lost()
        except asyncio.CancelledError:
            await self._leave(connection)
            raise
        finally:
            self._connection = None
            connection.drop()

    async def _open(self, tls: ssl.SSLContext | None) -> Connection:
        versions = self._versions()
        for version in versions:
            last = version == versions[-1]
            timeout_s = self._settings.connect_timeout_s
            try:
                connection = await open_connection(
                    self._settings,
                    tls=tls,
                    client_id=self._client_id,
                    will=self._will,
                    version=version,
                    on_message=self._receive,
                    answer_timeout_s=timeout_s if last else min(timeout_s, FALLBACK_TIMEOUT_S),
                )
            except ProtocolRefusedError as exc:
                logger.debug("MQTT %s refused: %s", version, exc)
                if last:
                    raise
            else:
                self._version = version
                return connection
        raise AssertionError("there is always a version to try")  # pragma: no cover

    def _up_s(self) -> float:
        """Time since the last connection was made, 0 if the last attempt made none."""
        if self._up_since_s is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._up_since_s

    def _versions(self) -> tuple[Version, ...]:
        """The versions to try in turn: what worked last comes first."""
        if self._settings.protocol != "auto":
            return (self._settings.protocol,)
        return ("3.1.1", "5") if self._version == "3.1.1" else ("5", "3.1.1")

    async def _greet(self, connection: Connection) -> None:
        subscribed: dict[str, int] = {}
        # Others subscribe and unsubscribe while this waits for the broker.
        while (wanted := dict(self._subscriptions)) != subscribed:
            for topic_filter in subscribed.keys() - wanted.keys():
                await connection.unsubscribe(topic_filter)
            await connection.subscribe(
                [pair for pair in wanted.items() if pair not in subscribed.items()]
            )
            subscribed = wanted
        self._connection = connection
        self._was_connected = True
        self._up_since_s = asyncio.get_running_loop().time()
        if self._short_links < SHORT_LINKS:
            again = "back" if self._trouble else "connected"
            logger.info("broker %s: %s (MQTT %s)", self._settings.url, again, connection.version)
            self._trouble = None
        if self._on_connect is not None:
            await self._on_connect()
        held, self._held = self._held, None
        for message in held or ():
            self._receive(message)

    def _receive(self, message: Message) -> None:
        if self._held is not None:
            if len(self._held) == MAX_HELD:
                logger.warning("a message on %s is evicted before its turn", self._held[0].topic)
            self._held.append(message)
            return
        try:
            self._on_message(message)
        except Exception:
            logger.exception("a message on %s failed its receiver", message.topic)

    async def _leave(self, connection: Connection) -> None:
        """Publish the farewell and disconnect; without a farewell the will has to speak."""
        self._connection = None
        try:
            async with asyncio.timeout(FAREWELL_TIMEOUT_S):
                for last in self._farewell:
                    await connection.publish(
                        last.topic, last.payload, qos=last.qos, retain=last.retain
                    )
        except (TimeoutError, NotConnectedError) as exc:
            logger.warning("no farewell to broker %s: %s", self._settings.url, exc)
            connection.drop()
        else:
            connection.close()

    def _report(self, trouble: str, exc: BrokerError) -> None:
        """Warn once for each kind of trouble until the broker is back.

        Raises:
            AuthenticationError: this, when there never was a connection.
        """
        if isinstance(exc, AuthenticationError) and not self._was_connected:
            raise exc
        if self._up_s() >= STABLE_S:
            self._short_links = 0
        elif self._up_since_s is not None:
            self._short_links += 1
        if self._short_links >= SHORT_LINKS:
            trouble = "short links"
        if trouble == self._trouble:
            logger.debug("broker still away: %s", exc)
        elif trouble == "short links":
            logger.error(
                "the link to broker %s breaks soon after each connect: does another client use "
                "the id %s? Each needs its own name",
                self._settings.url,
                self._client_id,
            )
        else:
            logger.warning("%s; trying again until it is back", exc)
        self._trouble = trouble


def backoff_s(attempt: int, rng: random.Random) -> float:
    """Return the wait before the next attempt: full jitter, capped.

    Args:
        attempt: failures in a row, 0 after a link that held.
        rng: the jitter's source.
    """
    ceiling_s = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(attempt, 16))
    return rng.uniform(0, ceiling_s)


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    try:
        return ssl.create_default_context(
            cafile=None if settings.ca_file is None else str(settings.ca_file)
        )
    except (OSError, ssl.SSLError) as exc:
        msg = f"CA file {settings.ca_file} cannot be used: {exc.strerror or exc}"
        raise BrokerSettingsError(msg) from exc
