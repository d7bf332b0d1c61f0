"""Chooses the model that is served: the owner's, or the assigned one wherever it comes from."""

import logging
import random
from collections.abc import Callable

from broker.payloads import Assignment
from broker.topics import Topics
from models.pack import Pack
from node_agent.fetched_model import choice_in
from node_agent.model_finder import ModelFinder
from node_agent.model_keeper import Choice, ModelKeeper
from node_agent.model_store import ModelStore
from node_agent.settings import NodeSettings

logger = logging.getLogger(__name__)


class ModelChooser:
    """Tells the keeper what to serve; where that has to be found first, the old one answers on.

    Attributes:
        finder: finds what no pack of the node holds.
        chosen: the model that is served or to be served.
    """

    def __init__(
        self,
        settings: NodeSettings,
        pack: Pack,
        topics: Topics,
        keeper: ModelKeeper,
        rng: random.Random,
        on_change: Callable[[], None],
    ) -> None:
        """Serve the owner's variant, if there is one.

        Args:
            settings: what the owner decided.
            pack: the node's own.
            topics: the gateway's.
            keeper: what serves.
            rng: for the jitter of retries.
            on_change: called when there is something new to say or to subscribe to.

        Raises:
            VariantNotFoundError: the pack lacks the variant that the settings name.
        """
        self._pack = pack
        self._keeper = keeper
        self._on_change = on_change
        self._assignment: Assignment | None = None
        self._store = ModelStore(settings.cache_folder, settings.models.cache_bytes)
        self.finder = ModelFinder(
            topics, self._store, settings.models, rng, on_found=self._found, on_change=on_change
        )
        self.chosen: Choice | None = None
        self._fixed = settings.variant is not None
        if settings.variant is not None:
            self._serve(Choice(pack, pack.variant(settings.variant)))

    def obey(self, assignment: Assignment | None) -> None:
        """Serve the assigned model, unless the owner chose one; None ends the service."""
        if self._fixed:
            return
        self._assignment = assignment
        if assignment is None:
            self.finder.want(None)
            self._serve(None)
            return
        choice = self.chosen
        if choice is None or choice.file.sha256 != assignment.model:
            choice = choice_in(self._pack, assignment.model)
        if choice is None:
            self.finder.want(assignment)
            return
        logger.info("assigned variant %s of pack %s", choice.entry.name, choice.pack.name)
        self.finder.want(None)
        self._serve(choice)

    def replace_lost_file(self) -> None:
        """Find the assigned model anew where its kept file was removed or damaged meanwhile."""
        choice = self.chosen
        if choice is None or not self._keeper.situation.refused or self.finder.busy:
            return
        if choice.pack.path == self._store.folder and not self._store.has(choice.file.sha256):
            self.finder.want(self._assignment)

    def _found(self, choice: Choice) -> None:
        """Serve what was found; the keeper may have refused it before, when its file was lost."""
        self._keeper.want(choice, anew=choice.same_model(self.chosen))
        self._serve(choice)

    def _serve(self, choice: Choice | None) -> None:
        self.chosen = choice
        self._keeper.want(choice)
        self._on_change()
