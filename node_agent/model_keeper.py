"""Keeps one worker serving the wanted model: starts it, replaces it, brings it back.

A new model is tried in a process of its own while the old one goes on answering, and takes over
between two frames. If it is refused, the old one stays. Where no model is wanted any more, the
worker ends at once, whatever it does.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from models.errors import ModelsError
from models.pack import FileEntry, Pack, Precision, VariantEntry
from node_agent.errors import ModelRefusedError, WorkerDiedError, WorkerError
from node_agent.settings import WorkerSettings
from node_agent.worker import Worker
from node_agent.worker_protocol import LoadRequest, WorkerAnswer

logger = logging.getLogger(__name__)

FIRST_RESTART_S = 0.5
LAST_RESTART_S = 60.0
# A model on which the worker crashes so often is refused while another one answers.
LOAD_TRIES = 3
# What a frame in hand may take when a successor is ready: the largest variant's inference on a
# slow device is a second. A worker that is stuck or gets no processor time is not waited for.
HAND_OVER_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One variant of one pack in one precision; None is its default one.

    Raises:
        PrecisionNotFoundError: the variant does not come in that precision.
    """

    pack: Pack
    entry: VariantEntry
    precision: Precision | None = None

    def __post_init__(self) -> None:
        self.pack.file(self.entry.name, self.precision)

    @property
    def file(self) -> FileEntry:
        """The file that computes."""
        return self.pack.file(self.entry.name, self.precision)

    def same_model(self, other: "Choice | None") -> bool:
        """Return whether both are the same file."""
        return other is not None and self.file.sha256 == other.file.sha256


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A model and the worker that has it loaded."""

    choice: Choice
    worker: Worker


@dataclass(frozen=True, slots=True)
class Situation:
    """What the keeper can say about itself.

    Attributes:
        serving: the variant that answers, if any.
        loading: the variant that is being loaded, if any.
        problem: why the wanted variant does not answer, one sentence.
        refused: the wanted variant will not answer, however often it is tried.
    """

    serving: str | None
    loading: str | None
    problem: str | None
    refused: bool


class ModelKeeper:
    """Serves what is wanted; `run` must run beside `classify`."""

    def __init__(
        self,
        settings: WorkerSettings,
        rng: random.Random,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._wanted: Choice | None = None
        self._refused: Choice | None = None
        self._last_good: Choice | None = None
        self._serving: Serving | None = None
        self._loading: Serving | None = None
        self._problem: str | None = None
        self._failures = 0
        self._load_failures = 0  # in a row, of the wanted model
        self._new_wish = asyncio.Event()
        self._news = asyncio.Event()  # a new wish, or a worker that ended
        self._turn = asyncio.Lock()  # held for a frame; whoever takes over waits for it
        self._workers: set[Worker] = set()  # all that were started and are not reaped

    @property
    def situation(self) -> Situation:
        """What serves, what loads and what is wrong now."""
        wanted = self._wanted
        return Situation(
            serving=self._serving.choice.entry.name if self._serving else None,
            loading=self._loading.choice.entry.name if self._loading else None,
            problem=self._problem,
            refused=wanted is not None and wanted.same_model(self._refused),
        )

    @property
    def serving(self) -> Choice | None:
        """The model that answers now."""
        return self._serving.choice if self._serving else None

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes whose processor time is the agent's own: also those that are ending."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    def want(self, choice: Choice | None, *, anew: bool = False) -> None:
        """Serve this model from now on; None ends the worker, also one that is stuck.

        Args:
            choice: the model.
            anew: try it also where it was refused: its file is another one.
        """
        if choice is not None and (anew or not choice.same_model(self._wanted)):
            self._refused = None
            self._failures = 0
            self._load_failures = 0
            self._problem = None
        self._wanted = choice
        self._let_go()
        self._new_wish.set()
        self._news.set()

    async def classify(self, jpeg: bytes) -> tuple[WorkerAnswer, Choice]:
        """Return the answer to one picture and the model that gave it.

        Raises:
            BadFrameError: the picture gets no answer.
            WorkerError: the worker is gone; it comes back by itself.
        """
        async with self._turn:
            if self._serving is None:
                raise WorkerDiedError("no worker serves a model now")
            serving = self._serving
            answer = await serving.worker.classify(jpeg)
            self._failures = 0
            return answer, serving.choice

    async def run(self) -> None:
        """Keep the wanted model served, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._news.clear()
                    target = self._target()
                    if target is None or target.same_model(self.serving):
                        await self._news.wait()
                    else:
                        await self._bring(target, group)
        finally:
            for worker in self._workers:
                worker.kill()
            for worker in self._workers:
                await worker.stop()

    def _target(self) -> Choice | None:
        """Return what to serve: the wanted model, or the last good one if that was refused."""
        if self._wanted is not None and self._wanted.same_model(self._refused):
            return self._last_good
        return self._wanted

    def _let_go(self) -> None:
        """Kill the workers that nobody wants any more; a frame in hand is lost."""
        target = self._target()
        if self._loading is not None and not self._loading.choice.same_model(target):
            self._loading.worker.kill()
            self._loading = None
            self._on_change()
        if self._serving is not None and target is None:
            self._serving.worker.kill()
            self._serving = None
            self._on_change()

    async def _bring(self, target: Choice, group: asyncio.TaskGroup) -> None:
        """Load a model and let it take over, after a rest if the last try failed."""
        if (self._failures or self._load_failures) and await self._rest():
            return
        worker = Worker(self._settings)
        mine = self._loading = Serving(target, worker)
        self._on_change()
        try:
            request = load_request(target, self._settings.threads)
            await worker.spawn()
            self._workers.add(worker)
            group.create_task(self._watch(worker), name=f"worker {worker.pid}")
            if self._loading is mine:
                ready = await worker.load(request)
                for note in ready.notes:
                    logger.warning("%s", note)
                await self._hand_over(mine)
        except (ModelsError, WorkerError) as exc:
            if self._loading is mine:  # else it was killed because nobody wants it any more
                self._not_loaded(target, exc)
        finally:
            if self._serving is not mine:
                await worker.stop()
            if self._loading is mine:
                self._loading = None
            self._on_change()

    def _not_loaded(self, target: Choice, exc: ModelsError | WorkerError) -> None:
        if isinstance(exc, ModelsError | ModelRefusedError):
            self._refuse(target, str(exc))
            return
        self._load_failures += 1
        self._problem = str(exc)
        logger.warning("variant %s does not load: %s", target.entry.name, exc)
        if self._load_failures >= LOAD_TRIES and self._serving is not None:
            self._refuse(target, f"{exc}, {self._load_failures} times while it loaded")

    def _refuse(self, target: Choice, reason: str) -> None:
        logger.error("variant %s cannot be served: %s", target.entry.name, reason)
        self._refused = target
        self._problem = f"variant {target.entry.name} cannot be served: {reason}"
        if target.same_model(self._last_good):
            self._last_good = None

    async def _hand_over(self, successor: Serving) -> None:
        """Let the successor take over between two frames, and end the old worker."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_S), self._turn:
                pass  # the frame in hand is answered, and the next one not begun
        if self._loading is not successor:
            return  # nobody wants it any more
        old, self._serving, self._loading = self._serving, successor, None
        self._last_good = successor.choice
        self._load_failures = 0
        if successor.choice.same_model(self._wanted):
            self._problem = None
        logger.info("variant %s serves", successor.choice.entry.name)
        if not successor.worker.alive:  # it ended before it took over: nobody watches it
            self._lost(successor.worker, "the worker ended as soon as it was ready")
        self._on_change()
        if old is not None:
            await old.worker.stop()

    async def _watch(self, worker: Worker) -> None:
        """Wait for a worker's end; if it was serving, see that it comes back."""
        how = await worker.watch()
        self._workers.discard(worker)
        self._lost(worker, how)

    def _lost(self, worker: Worker, how: str) -> None:
        if self._serving is None or self._serving.worker is not worker:
            return  # it was replaced, or its loading already failed
        self._serving = None
        self._failures += 1
        self._problem = how
        logger.warning("%s; it is started again", how)
        self._news.set()
        self._on_change()

    async def _rest(self) -> bool:
        """Wait before the next try; return True at once where something else is wanted."""
        self._new_wish.clear()
        with suppress(TimeoutError):
            failures = max(self._failures, self._load_failures)
            async with asyncio.timeout(restart_delay_s(failures, self._rng)):
                await self._new_wish.wait()
        return self._new_wish.is_set()


def restart_delay_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait after so many failures in a row: doubling, capped, jittered."""
    ceiling = min(LAST_RESTART_S, FIRST_RESTART_S * 2.0 ** min(failures - 1, 16))
    return ceiling * rng.uniform(0.5, 1.0)


def load_request(choice: Choice, threads: int) -> LoadRequest:
    """Return what a worker is told about a model.

    Raises:
        PackError: the pack's file is gone or was altered.
    """
    manifest, entry = choice.pack.manifest, choice.entry
    return LoadRequest(
        model=choice.pack.model(entry.name, choice.precision),
        resolution=entry.resolution,
        class_count=len(manifest.labels),
        k=manifest.k,
        input_offset=entry.input_offset,
        threads=threads,
        interface=entry.interface,
    )
