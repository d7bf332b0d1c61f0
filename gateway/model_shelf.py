"""The model files that stand on the broker, in parts, for nodes whose packs lack them.

A file is published once: what stands there already is recognised by its part 0, which is published
last and removed last, and is all the gateway listens to. What no pack of this gateway holds any
more is removed.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.errors import NotConnectedError, PayloadError
from broker.model_parts import decode_model_part, encode_model_part, split_model
from broker.topics import Topics
from gateway.link import Link
from models.errors import PackError
from models.pack import Pack, Precision

logger = logging.getLogger(__name__)

# A message to ourselves: when it comes back, what the broker retains has come before it. It is
# empty and not retained, which everybody ignores.
_PROBE: Final = "0" * 64
# A broker that sends it later than what it retains, or not at all, costs a file sent again.
PROBE_TIMEOUT_S: Final = 10.0
# For the broker to take what waits already.
CROWDED_S: Final = 1.0
# How often one file is sent again because a node says that its parts are missing or wrong: a node's
# few bytes must not make the gateway send megabytes all day.
AGAIN_AFTER_S: Final = 600.0
# A home has a few; the bound keeps a stranger on the broker from filling the memory.
MAX_FILES: Final = 1024


@dataclass(frozen=True, slots=True)
class _FirstPart:
    """What is remembered of a part 0, which itself may have 96 KiB."""

    digest: bytes
    part_count: int

    @classmethod
    def of(cls, payload: bytes) -> "_FirstPart":
        try:
            part_count = decode_model_part(payload).part_count
        except PayloadError:
            part_count = 1  # nobody knows of more
        return cls(hashlib.sha256(payload).digest(), part_count)


class ModelShelf:
    """Brings the wanted files to the broker; `run` must run beside it."""

    def __init__(
        self, topics: Topics, pack: Pack, *, send: bool, on_ready: Callable[[], None]
    ) -> None:
        """Publish nothing yet.

        Args:
            topics: this gateway's.
            pack: where the files are.
            send: whether files are published at all; if not, those that stand there are removed.
            on_ready: called when a wanted file has become ready.
        """
        self._topics = topics
        self._pack = pack
        self._on_ready = on_ready
        self._files = _files(pack) if send else {}
        self._wanted: dict[str, None] = {}  # an ordered set of hashes
        self._ready: dict[str, _FirstPart] = {}
        self._broken: set[str] = set()  # the pack's file is gone: there is nothing to wait for
        self._not_again_before_s: dict[str, float] = {}  # on the loop's clock
        self._first_parts: dict[str, _FirstPart] = {}  # what stands there, by hash
        self._links = 0  # how many there were
        self._asked_on = 0  # on which of them it was asked what stands there
        self._heard = asyncio.Event()  # the answer to that has come, or the link is another one
        self._news = asyncio.Event()

    def want(self, sha256: str) -> None:
        """Let a file of the pack stand on the broker."""
        if sha256 in self._files and sha256 not in self._wanted:
            self._wanted[sha256] = None
            self._news.set()

    def send_again(self, sha256: str) -> None:
        """Publish a file anew: a node could not put its parts together."""
        now_s = asyncio.get_running_loop().time()
        if sha256 not in self._ready or now_s < self._not_again_before_s.get(sha256, now_s):
            return
        self._not_again_before_s[sha256] = now_s + AGAIN_AFTER_S
        del self._ready[sha256]
        self._first_parts.pop(sha256, None)
        self._news.set()

    def is_ready(self, sha256: str) -> bool:
        """Return whether an assignment may name this file: it stands there, or never will."""
        return sha256 not in self._wanted or self._is_settled(sha256)

    def connected(self) -> None:
        """Note that the link is new: the broker may have lost everything, and tells it again."""
        self._links += 1
        self._ready.clear()
        self._first_parts.clear()
        self._heard.set()
        self._news.set()

    def receive(self, sha256: str, payload: bytes) -> None:
        """Take part 0 of a file, as it stands on the broker or was published just now."""
        if sha256 == _PROBE:
            self._heard.set()
        elif not payload:
            self._first_parts.pop(sha256, None)
        elif sha256 in self._first_parts or len(self._first_parts) < MAX_FILES:
            found = self._first_parts[sha256] = _FirstPart.of(payload)
            if self._ready.get(sha256) not in (None, found):  # somebody else wrote there
                del self._ready[sha256]
            self._news.set()

    async def run(self, link: Link) -> None:
        """Publish and remove whenever there is something to, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                if self._asked_on != self._links:
                    await self._ask(link)
                await self._put_right(link)
            except NotConnectedError as exc:
                logger.debug("models wait for the broker: %s", exc)
                if link.connected:  # it takes no more just now; else the next connect is news
                    await asyncio.sleep(CROWDED_S)
                    self._news.set()

    def _is_settled(self, sha256: str) -> bool:
        return sha256 in self._ready or sha256 in self._broken

    async def _ask(self, link: Link) -> None:
        """Learn what stands on the broker of this link."""
        asked_on = self._links
        self._heard.clear()
        await link.publish(self._topics.model_part(_PROBE, 0), b"", qos=1)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._heard.wait()
        except TimeoutError:
            logger.warning("the broker does not echo part 0 of models: files may be sent again")
        self._asked_on = asked_on

    async def _put_right(self, link: Link) -> None:
        for sha256 in list(self._wanted):
            if self._asked_on != self._links:
                return  # a new link: its broker is asked first
            if not self._is_settled(sha256):
                await self._bring(link, sha256)
        for sha256 in [one for one in self._first_parts if one not in self._files]:
            await self._remove(link, sha256)

    async def _bring(self, link: Link, sha256: str) -> None:
        name, precision = self._files[sha256]
        try:
            model = await asyncio.to_thread(self._pack.model, name, precision)
            parts = await asyncio.to_thread(_encoded, model)
        except (PackError, PayloadError) as exc:
            logger.error("variant %s cannot be sent to nodes: %s", name, exc)
            self._broken.add(sha256)
            self._on_ready()
            return
        first = _FirstPart.of(parts[0])
        if self._first_parts.get(sha256) != first:
            if sha256 in self._first_parts:  # of another size, or not a part at all
                await self._remove(link, sha256)
            for number, payload in reversed(list(enumerate(parts))):
                topic = self._topics.model_part(sha256, number)
                await link.publish(topic, payload, qos=1, retain=True)
            self._first_parts[sha256] = first
            logger.info("variant %s was sent to the broker, %d bytes", name, len(model))
        self._ready[sha256] = first
        self._on_ready()

    async def _remove(self, link: Link, sha256: str) -> None:
        found = self._first_parts.get(sha256)
        if found is None:
            return  # somebody else did
        for number in reversed(range(found.part_count)):
            await link.publish(self._topics.model_part(sha256, number), b"", qos=1, retain=True)
        self._first_parts.pop(sha256, None)
        logger.info("model %s… was removed from the broker", sha256[:12])


def _files(pack: Pack) -> Mapping[str, tuple[str, Precision]]:
    """Return variant and precision of each of the pack's files, by its hash."""
    return {
        file.sha256: (entry.name, file.precision)
        for entry in pack.manifest.variants
        for file in entry.files
    }


def _encoded(model: bytes) -> list[bytes]:
    return [encode_model_part(part) for part in split_model(model)]
