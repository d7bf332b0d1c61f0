"""Finds the model that the gateway assigned and the node's own pack lacks.

It looks in the packs that come with idlesight, then among the files that came earlier, and then
fetches the parts that stand on the broker, for which it subscribes only so long. What cannot be had
is reported, and tried again after a growing rest; whatever answers meanwhile goes on.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from broker.errors import PayloadError
from broker.model_parts import ModelAssembly, decode_model_part
from broker.payloads import Assignment
from broker.session import Message
from broker.topics import Parsed, Topics
from node_agent.errors import FetchError
from node_agent.fetched_model import describe_pack, held_choice, shipped_choice, stored_choice
from node_agent.link import Link
from node_agent.model_keeper import Choice
from node_agent.model_store import ModelStore
from node_agent.settings import ModelSettings

logger = logging.getLogger(__name__)

# Parts that are missing or wrong stay so until the gateway mends them; each try costs the network a
# whole model.
FIRST_RETRY_S: Final = 10.0
LAST_RETRY_S: Final = 3600.0


class ModelFinder:
    """Finds one model at a time; `run` must run beside `want`."""

    def __init__(
        self,
        topics: Topics,
        store: ModelStore,
        settings: ModelSettings,
        rng: random.Random,
        *,
        on_found: Callable[[Choice], None],
        on_change: Callable[[], None],
    ) -> None:
        """Find nothing yet.

        Args:
            topics: the gateway's.
            store: where files that came over the air are kept.
            settings: what the owner decided.
            rng: for the jitter of retries.
            on_found: called with the model that was wanted.
            on_change: called when `problem` or `progress` has changed.
        """
        self._topics = topics
        self._store = store
        self._settings = settings
        self._rng = rng
        self._on_found = on_found
        self._on_change = on_change
        self._wish: Assignment | None = None
        self._assembly: ModelAssembly | None = None
        self._fault: PayloadError | None = None
        self._failures = 0
        self._resting = False  # after a failure
        self._problem: str | None = None
        self._lacks: str | None = None
        self._new_wish = asyncio.Event()
        self._news = asyncio.Event()  # a new wish, or something about a part

    @property
    def busy(self) -> bool:
        """Whether something is wanted and not found yet."""
        return self._wish is not None

    @property
    def problem(self) -> str | None:
        """Why the wanted model cannot be had, one sentence; it may still be tried again."""
        return self._problem

    @property
    def lacks(self) -> str | None:
        """SHA-256 of the wanted model, where what the broker has of it is missing or wrong."""
        return self._lacks

    @property
    def progress(self) -> str | None:
        """What is being fetched and how far it is; None while nothing is."""
        if self._wish is None or self._assembly is None:
            return None
        have, count = self._assembly.progress
        parts = f": {have} of {count} parts" if count is not None else ""
        return f"{self._wish.variant} of pack {self._wish.pack} is being fetched{parts}"

    def want(self, assignment: Assignment | None) -> None:
        """Find the model of this assignment from now on; None: nothing any more.

        The same again, as after each connect, does not begin anew what is under way; where the
        last try failed it is a reason to try again at once.
        """
        old = self._wish
        same = assignment is not None and old is not None and _is_same(assignment, old)
        if same and not self._resting:
            return
        self._wish = assignment
        if not same:
            self._failures = 0
            self._problem = self._lacks = None
        self._new_wish.set()
        self._news.set()

    def receive(self, parsed: Parsed, message: Message) -> None:
        """Take a part; one that nobody waits for, or that was cleared, is ignored.

        Raises:
            PayloadError: it is no part, or not one of the file that is being fetched.
        """
        assembly, wish = self._assembly, self._wish
        if wish is None or assembly is None or parsed.id != assembly.sha256 or not message.payload:
            return
        try:
            part = decode_model_part(message.payload)
            if part.part != parsed.part:
                raise PayloadError(f"part {part.part} came on the topic of part {parsed.part}")
            said_bytes = wish.description.size_bytes if wish.description else None
            if said_bytes not in (None, part.total_bytes):
                raise PayloadError(
                    f"the broker has a file of {part.total_bytes} bytes, not of {said_bytes}"
                )
            if assembly.add(part):
                self._news.set()
                self._on_change()
        except PayloadError as exc:
            self._fault = exc
            self._news.set()
            raise

    async def run(self, link: Link) -> None:
        """Find what is wanted, until cancelled."""
        while True:
            self._new_wish.clear()
            wish = self._wish
            if wish is None:
                await self._new_wish.wait()
                continue
            try:
                choice = await self._find(wish, link)
            except FetchError as exc:
                if self._wish is wish:
                    await self._fail(wish, exc)
                continue
            if choice is not None and self._wish is wish:
                self.want(None)
                self._on_found(choice)
            self._on_change()

    async def _find(self, wish: Assignment, link: Link) -> Choice | None:
        """Return the model, None when something else is wanted meanwhile.

        Raises:
            FetchError: it cannot be had now.
        """
        shipped = await asyncio.to_thread(shipped_choice, wish.model)
        if shipped is not None:
            return shipped
        manifest = describe_pack(wish)
        if await asyncio.to_thread(self._store.has, wish.model):
            logger.info("variant %s of pack %s was fetched earlier", wish.variant, wish.pack)
            return stored_choice(manifest, self._store.folder)
        if not self._settings.fetch:
            raise FetchError("this node may not fetch models (`models.fetch`)", again=False)
        model = await self._fetch(wish, link)
        if model is None:
            return None
        logger.info(
            "variant %s of pack %s was fetched, %d bytes", wish.variant, wish.pack, len(model)
        )
        if await asyncio.to_thread(self._store.keep, wish.model, model):
            return stored_choice(manifest, self._store.folder)
        return held_choice(manifest, model)

    async def _fetch(self, wish: Assignment, link: Link) -> bytes | None:
        """Return the file that the parts on the broker make, None when it is no longer wanted.

        Raises:
            FetchError: the parts are missing or wrong.
        """
        topic_filter = self._topics.model_parts(wish.model)
        assembly = self._assembly = ModelAssembly(wish.model)
        self._fault = None
        self._on_change()
        logger.info("fetching variant %s of pack %s", wish.variant, wish.pack)
        await link.subscribe(topic_filter, 1)  # also after a reconnect: then all parts come again
        problem = await self._collect(wish, assembly)
        self._assembly = None
        await link.unsubscribe(topic_filter)
        if problem is not None:
            raise FetchError(problem)
        if not assembly.complete:
            return None
        try:
            return await asyncio.to_thread(assembly.model)
        except PayloadError as exc:
            raise FetchError(exc.reason) from exc

    async def _collect(self, wish: Assignment, assembly: ModelAssembly) -> str | None:
        """Wait for all parts; return what is wrong with them, if something is."""
        while not assembly.complete and self._wish is wish and self._fault is None:
            self._news.clear()
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    await self._news.wait()
            except TimeoutError:
                have, count = assembly.progress
                of = "" if count is None else f" of {count}"
                return f"{have}{of} parts came, and none for {self._settings.timeout_s:g} s"
        return None if self._fault is None else self._fault.reason

    async def _fail(self, wish: Assignment, exc: FetchError) -> None:
        """Say why, and rest until the next try or another wish."""
        self._failures += 1
        self._problem = (
            f"assigned variant {wish.variant} of pack {wish.pack} (model {wish.model[:12]}…) is in "
            f"no pack of this node and cannot be fetched: {exc}"
        )
        self._lacks = wish.model if exc.again else None
        logger.warning("%s", self._problem)
        self._on_change()
        delay_s = retry_delay_s(self._failures, self._rng) if exc.again else None
        self._resting = True
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._new_wish.wait()
        self._resting = False


def _is_same(one: Assignment, other: Assignment) -> bool:
    return (one.model, one.description) == (other.model, other.description)


def retry_delay_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait after so many failures in a row: doubling, capped, jittered."""
    ceiling_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16))
    return ceiling_s * rng.uniform(0.5, 1.0)
