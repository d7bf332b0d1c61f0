"""What of our discovery stands on the broker, what is to stand there, and the steps between.

Pure: what was heard comes in, messages to publish come out. What stands is read from the broker's
own retained messages at each connect, so that no file has to remember it and what an earlier run
announced is found again, whatever has become of its settings. Nothing is decided before all of
that was heard.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from broker.topics import Topics
from gateway.discovery import MIGRATE, Announcement, Standing, read_standing, without


@dataclass(frozen=True, slots=True)
class Step:
    """One message to publish, after those before it."""

    topic: str
    payload: bytes
    retain: bool = True


class Upkeep:
    """Brings the broker's discovery messages to what is wanted.

    Attributes:
        settled: whether all that stands on the broker was heard since the last connect.
    """

    def __init__(self, topics: Topics) -> None:
        """Want nothing yet."""
        self._topics = topics
        self._wanted: dict[str, Standing] = {}
        self._standing: dict[str, Standing] = {}
        self._migrating: set[str] = set()
        self._repeat: set[str] = set()
        self.settled = False

    def want(self, announcements: Iterable[Announcement]) -> None:
        """Let these messages stand, in this order, and no other of this gateway's."""
        wanted = {}
        for one in announcements:
            standing = read_standing(self._topics, one.payload)
            assert standing is not None  # it is our own
            wanted[one.topic] = standing
        self._wanted = wanted

    def begin(self) -> None:
        """Hear anew what stands: a connection was made."""
        self._standing.clear()
        self._migrating.clear()
        self.settled = False

    def hear(self, topic: str, payload: bytes) -> None:
        """Note a retained message, whoever's it is."""
        if (standing := read_standing(self._topics, payload)) is not None:
            self._standing[topic] = standing

    def settle(self) -> None:
        """Note that all that stands was heard."""
        self.settled = True

    def repeat(self) -> None:
        """Publish everything again: somebody may have missed it."""
        self._repeat = set(self._wanted)

    def steps(self) -> list[Step]:
        """Return what to publish, in order; nothing before all that stands was heard.

        First what moves to the other form is told so, then comes what is wanted, and at last what
        is neither wanted nor needed any more is cleared.
        """
        if not self.settled:
            return []
        old = [topic for topic in self._standing if topic not in self._wanted]
        return [
            *(
                Step(topic, MIGRATE, retain=False)
                for topic in old
                if topic not in self._migrating and self._moves(self._standing[topic])
            ),
            *(step for topic in self._wanted for step in self._updates(topic)),
            *(Step(topic, b"") for topic in old),
        ]

    def sent(self, step: Step) -> None:
        """Note that the broker has taken a step's message."""
        if not step.retain:
            self._migrating.add(step.topic)
        elif not step.payload:
            self._standing.pop(step.topic, None)
            self._migrating.discard(step.topic)
        elif (standing := read_standing(self._topics, step.payload)) is not None:
            self._standing[step.topic] = standing
            self._repeat.discard(step.topic)

    def _moves(self, old: Standing) -> bool:
        """Return whether what an unwanted message announced is wanted in the other form."""
        return any(
            new.form != old.form
            and new.device == old.device
            and (
                new.components is None
                or old.unique_id is None
                # A device's keys are the last parts of its entities' unique ids.
                or old.unique_id.rpartition(".")[2] in new.components
            )
            for new in self._wanted.values()
        )

    def _updates(self, topic: str) -> Iterable[Step]:
        wanted, standing = self._wanted[topic], self._standing.get(topic)
        if standing is not None and standing.payload != wanted.payload:
            # Home Assistant takes a component away only when it is told so by its key.
            gone = {
                key: platform
                for key, platform in (standing.components or {}).items()
                if key not in (wanted.components or {})
            }
            if gone:
                yield Step(topic, without(wanted.payload, gone))
        if standing is None or standing.payload != wanted.payload or topic in self._repeat:
            yield Step(topic, wanted.payload)
