"""Whether this process may work under its node's name: two of one name would answer twice.

Each process draws a session token and has a client id of its own, so that no broker throws one
out for the other. After each connect it asks whoever has the name to announce itself. Whoever hears
a living state of its own name from another session decides by the same rule: the one that has
been at work longer stays. Durations are compared, never clocks.
"""

from dataclasses import dataclass
from typing import Final

from broker.payloads import NodeState

# A living node answers in a round trip; a state that is left over from a power cut does not.
WAIT_S: Final = 2.0
# Within this difference neither is the older one: what a message takes to arrive would decide.
SAME_AGE_S: Final = 1.0
# Two that contradict each other do so once a second, not as fast as the broker carries it.
REPLY_INTERVAL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Rival:
    """Another process at work under this name."""

    version: str
    up_s: float


class NameClaim:
    """What is known of this name; all times are the monotonic clock's."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.granted = False
        self.rival: Rival | None = None
        self._since_s: float | None = None  # when the name was first granted
        self._asked_back = False
        self._somebody_online = False
        self._left_over: NodeState | None = None
        self._replied_s: float | None = None

    def ask(self) -> None:
        """Begin anew: the link was made, and others may have come while it was not."""
        self.granted = False
        self._asked_back = self._somebody_online = False
        self._left_over = None

    def up_s(self, now_s: float) -> float:
        """Return how long this process has been at work under the name."""
        return 0.0 if self._since_s is None else now_s - self._since_s

    def hear_question(self) -> None:
        """Note that a question for the name came by, perhaps this process's own.

        A broker hands over what it retained before it hands over what is published afterwards, so
        by now the retained status and state are known.
        """
        self._asked_back = True

    def hear_status(self, *, online: bool) -> None:
        """Note what is retained as the name's status."""
        self._somebody_online = online

    def hear_state(self, state: NodeState, now_s: float, *, retained: bool) -> bool:
        """Note a state of this name; return whether to answer with one's own.

        `rival` is set where the other one stays.
        """
        if state.session is None or state.session == self.session:
            return False
        if retained:
            self._left_over = state
            return False
        if self._is_older(state, now_s):
            self.rival = Rival(state.version, state.up_s or 0.0)
            return False
        self.grant(now_s)
        if self._replied_s is not None and now_s - self._replied_s < REPLY_INTERVAL_S:
            return False
        self._replied_s = now_s
        return True

    def look(self, now_s: float) -> bool:
        """Return whether the name is this process's, which it is now if nobody else seems there."""
        doubted = self._somebody_online and self._left_over is not None
        if self._asked_back and not doubted and self.rival is None:
            self.grant(now_s)
        return self.granted

    def grant(self, now_s: float) -> None:
        """Take the name: nobody answered for `WAIT_S`, or the other is younger."""
        self.granted = True
        if self._since_s is None:
            self._since_s = now_s

    def _is_older(self, state: NodeState, now_s: float) -> bool:
        if self._since_s is None:
            return True
        difference_s = (state.up_s or 0.0) - self.up_s(now_s)
        if abs(difference_s) <= SAME_AGE_S:
            return str(state.session) < self.session
        return difference_s > 0
