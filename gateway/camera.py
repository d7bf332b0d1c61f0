"""One camera: a thread that takes and encodes pictures, of which the event loop gets the newest."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from broker.codecs import MAX_JPEG_BYTES
from broker.payloads import utc_now
from gateway.attention import Attention, Glance
from gateway.camera_settings import CameraSettings
from gateway.errors import SourceError, SourceOpenError
from gateway.mailbox import Mailbox
from gateway.pacing import Pacer
from gateway.picture import encode_jpeg, square
from gateway.regions import Box
from gateway.settings import masked
from gateway.shot import Taking
from gateway.sources import endless, shots

logger = logging.getLogger(__name__)

# Between attempts to open a source: soon enough after a camera's reboot, and a camera that was
# given away costs one connection attempt in half a minute.
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0
SHORTEST_BACKOFF_S = 0.5

# A thread that sits in a read of a dead camera comes back after that read's own timeout, or with
# the process; nobody waits longer than this for it.
STOP_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """One picture, ready for the wire.

    Attributes:
        jpeg: square, no larger than the nodes need.
        captured_s: when it was taken, monotonic.
        captured_at: the same for people, aware UTC.
        region: the part of the frame that it shows; None for all of it.
    """

    jpeg: bytes
    captured_s: float
    captured_at: datetime
    region: Box | None = None


@dataclass(slots=True)
class CameraCounts:
    """What became of a camera's pictures since its start; `CameraHealth` says what each means."""

    taken: int = 0
    still: int = 0
    replaced: int = 0
    unreadable: int = 0
    outages: int = 0


def backoff_s(attempt: int, rng: random.Random) -> float:
    """Return how long to wait before attempt number `attempt` ≥ 1: capped, with full jitter."""
    longest_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 10))
    return rng.uniform(SHORTEST_BACKOFF_S, longest_s)


class Camera:
    """Takes pictures from one source until that ends.

    A source that cannot be opened or breaks off is said once, and then tried again and again.

    Attributes:
        name: the camera's id.
        settings: the camera's.
        available: whether its source gives pictures, as far as is known.
        available_since_s: since when that is so, monotonic.
        trouble: one sentence on why it is not available; empty otherwise.
        last_shot_s: when its last picture came, monotonic; None before the first.
        last_shot_at: the same for people, aware UTC.
        failed: whether it ended because its source gave none.
        counts: what became of the pictures.
    """

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        *,
        side: int,
        rng: random.Random,
        retry: bool = True,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a camera; nothing is opened yet.

        Args:
            name: its id.
            settings: its own.
            side: the largest ρ in use, in pixels.
            rng: for the backoff's jitter.
            retry: whether a source that is meant to end is tried again when it cannot be read.
            on_change: called in the event loop whenever `available` has changed.
        """
        self.name = name
        self.settings = settings
        self.available = False
        self.available_since_s = 0.0
        self.trouble = ""
        self.last_shot_s: float | None = None
        self.last_shot_at: datetime | None = None
        self.failed = False
        self.counts = CameraCounts()
        self._side = side
        self._rng = rng
        self._retry = retry or endless(settings)
        self._on_change = on_change
        self._stop = threading.Event()  # for good
        self._on = threading.Event()
        self._on.set()
        self._leave = threading.Event()  # the source that is open: stopped or switched off
        self._mailbox = Mailbox()
        self._attention: Attention | None = None

    @property
    def silent_after_s(self) -> float | None:
        """How long it may give no picture before it counts as offline; None for ever."""
        return self.settings.silent_after_s

    @property
    def figures(self) -> Mapping[str, int]:
        """What became of its pictures, by kind."""
        return asdict(self.counts)

    def deliver(self, payload: bytes) -> None:
        """Take a message with a picture, unless switched off; for cameras of kind `mqtt`."""
        if self._on.is_set() and self._mailbox.put(payload):
            self._count_replaced()

    def switch(self, on: bool) -> None:
        """Take pictures, or close the source and let it be; a recording begins anew after it."""
        if on:
            self._on.set()
        else:
            self._on.clear()
            self._leave.set()

    async def captures(self) -> AsyncIterator[Capture]:
        """Yield the newest picture each time there is one; end when the source has ended.

        A live camera's pictures that come while the consumer is busy replace each other and are
        counted; those of a recording wait, so that a replay leaves none out.
        """
        inbox = _Inbox(asyncio.get_running_loop())
        thread = threading.Thread(
            target=self._run, args=(inbox,), name=f"camera {self.name}", daemon=True
        )
        thread.start()
        try:
            while (capture := await inbox.take()) is not None:
                yield capture
        finally:
            self._stop.set()
            self._leave.set()
            await inbox.wait_closed(STOP_TIMEOUT_S)

    def _run(self, inbox: "_Inbox") -> None:
        failure: Exception | None = None
        try:
            self._take_all(inbox)
        except Exception as exc:  # noqa: BLE001 - raised again in the event loop
            failure = exc
        inbox.close(failure)

    def _take_all(self, inbox: "_Inbox") -> None:
        attempt = 0
        while self._wait_until_on(inbox):
            taken_before = self.counts.taken
            try:
                self._take(inbox)
                if self._leave.is_set() and not self._stop.is_set():
                    continue  # switched off, and perhaps on again
                if self._stop.is_set() or not self.settings.is_live:
                    self._set_available(inbox, False, None)
                    return
                if self.counts.taken == taken_before:
                    raise SourceOpenError(f"{masked(self.settings.source)} ended without a picture")
                # A stream that ended in order: a short video at a URL, or a single picture.
                wait_s = 1 / self.settings.fps
            except SourceError as exc:
                if not self._retry:
                    self._give_up(inbox, exc)
                    return
                attempt = 1 if self.counts.taken > taken_before else attempt + 1
                self._set_available(inbox, False, exc)
                wait_s = backoff_s(attempt, self._rng)
            self._leave.wait(wait_s)

    def _wait_until_on(self, inbox: "_Inbox") -> bool:
        """Wait while the camera is switched off; return whether it is to go on at all."""
        if not self._on.is_set() and not self._stop.is_set():
            self._attention = None  # the place may look different when it is back
            self._mailbox.take(0)  # what came before it was switched off is of no time
            self.trouble = "switched off"
            self._set_available(inbox, False, None)
            inbox.call(self._on_change)
            while not self._on.wait(STOP_TIMEOUT_S / 4) and not self._stop.is_set():
                pass
            self.trouble = ""
        if not self._stop.is_set():
            self._leave.clear()
        # It may have been switched or stopped again meanwhile.
        if self._stop.is_set() or not self._on.is_set():
            self._leave.set()
        return not self._stop.is_set()

    def _take(self, inbox: "_Inbox") -> None:
        pacer = Pacer(self.settings.fps)
        began_s = time.monotonic()
        attention = self._attention or Attention(self.settings)
        taking = Taking(
            attention.side(self._side),
            on_skip=self._count_unreadable,
            on_open=lambda: self._set_available(inbox, True, None),
            wait=self._leave.wait,
        )
        for shot in shots(self.settings, taking, self._mailbox):
            capture_s = time.monotonic()
            if shot.media_s is not None:
                self._leave.wait(pacer.wait_s(shot.media_s, capture_s))
            if self._leave.is_set():
                return
            encode_s = time.monotonic()
            if shot.media_s is None:
                # Whoever stands there when a live camera comes back is no part of the place.
                self._attention = attention
            self.counts.taken += 1
            self.last_shot_s, self.last_shot_at = encode_s, utc_now()
            self._set_available(inbox, True, None)
            glance = attention.look(
                shot.picture, encode_s if shot.media_s is None else shot.media_s
            )
            if glance is None:
                self.counts.still += 1
                began_s = time.monotonic()
                continue
            capture = self._capture(glance, encode_s, self.last_shot_at)
            if shot.media_s is None:
                inbox.put(capture, self._count_replaced)
            else:
                inbox.put_in_turn(capture, self._leave)
                now_s = time.monotonic()
                self._rest(busy_s=capture_s - began_s + now_s - encode_s)
            began_s = time.monotonic()

    def _rest(self, busy_s: float) -> None:
        """Wait before the next picture of a recording is prepared, as long as there is time.

        Preparing it at once would compete with the answers to this one: measured on two busy
        cores, that cost every result 2 ms.
        """
        self._leave.wait(max(0.0, 1 / self.settings.fps - 2 * busy_s))

    def _capture(self, glance: Glance, captured_s: float, captured_at: datetime) -> Capture:
        picture = square(glance.picture, self._side, self.settings.fit)
        jpeg = encode_jpeg(picture, self.settings.jpeg_quality, MAX_JPEG_BYTES)
        return Capture(jpeg, captured_s, captured_at, glance.region)

    def _give_up(self, inbox: "_Inbox", exc: SourceError) -> None:
        logger.error("camera %s: %s", self.name, exc)
        self.failed = True
        self._set_available(inbox, False, None)
        self.trouble = str(exc)[:500]

    def _set_available(self, inbox: "_Inbox", available: bool, exc: SourceError | None) -> None:
        if available:
            self.trouble = ""
        elif exc is not None:
            self.trouble = str(exc)[:500]
        if available == self.available and (available or self.counts.outages):
            return
        self.available = available
        self.available_since_s = time.monotonic()
        if available:
            logger.info("camera %s gives pictures", self.name)
        elif exc is not None:
            self.counts.outages += 1
            logger.warning("camera %s: %s; it is tried again and again", self.name, exc)
        inbox.call(self._on_change)

    def _count_unreadable(self) -> None:
        self.counts.unreadable += 1
        if self.counts.unreadable == 1:
            logger.warning(
                "camera %s: something in %s cannot be read and is skipped; this is said once",
                self.name,
                masked(self.settings.source),
            )

    def _count_replaced(self) -> None:
        self.counts.replaced += 1


class _Inbox:
    """Hands captures from a thread to the event loop: one place, where the newest wins."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()
        self._room = threading.Event()  # nothing is waiting to be taken
        self._room.set()
        self._capture: Capture | None = None
        self._failure: Exception | None = None

    async def take(self) -> Capture | None:
        """Return the newest capture not taken yet, or None once the thread is through."""
        await self._wake.wait()
        self._wake.clear()
        capture, self._capture = self._capture, None
        self._room.set()
        if self._closed.is_set():
            self._wake.set()
            if capture is None and self._failure is not None:
                raise self._failure
        return capture

    async def wait_closed(self, timeout_s: float) -> None:
        """Wait until the thread is through, or no longer than that."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._closed.wait()
        except TimeoutError:
            logger.debug("a camera thread is left to end by itself")

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the event loop; from the thread."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody is interested any more
            logger.debug("the event loop is gone")

    def put_in_turn(self, capture: Capture, stop: threading.Event) -> None:
        """Leave a capture once the one before it was taken, unless stopped; from the thread."""
        while not self._room.wait(STOP_TIMEOUT_S / 4):
            if stop.is_set():
                return
        self._room.clear()
        self.put(capture, lambda: None)

    def put(self, capture: Capture, on_replaced: Callable[[], None]) -> None:
        """Leave a capture in place of one that was not taken yet; from the thread."""

        def arrive() -> None:
            if self._capture is not None:
                on_replaced()
            self._capture = capture
            self._wake.set()

        self.call(arrive)

    def close(self, failure: Exception | None) -> None:
        """Say that nothing more comes, and why if that is a fault; from the thread."""

        def arrive() -> None:
            self._failure = failure
            self._closed.set()
            self._wake.set()

        self.call(arrive)
