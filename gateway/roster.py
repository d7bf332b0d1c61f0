"""The nodes a gateway knows: who is there, what they run, and whose answer to expect."""

from collections.abc import Iterator
from dataclasses import dataclass

from broker.payloads import NodeState

# A home has a dozen; the bound keeps a stranger on the broker from filling the memory.
MAX_NODES = 256


@dataclass(slots=True)
class Member:
    """One node as it last described itself."""

    name: str
    online: bool = False
    state: NodeState | None = None

    @property
    def working(self) -> bool:
        """Whether it is there and says that it answers frames."""
        return self.online and self.state is not None and self.state.state == "working"


class Roster:
    """All nodes that ever announced themselves."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def __contains__(self, node: str) -> bool:
        return node in self._members

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, node: str) -> Member | None:
        """Return a node, None where it is unknown."""
        return self._members.get(node)

    @property
    def working(self) -> frozenset[str]:
        """The nodes that are there and answer frames."""
        return frozenset(member.name for member in self if member.working)

    @property
    def models(self) -> dict[str, str | None]:
        """The nodes that are there and answer frames; each one's model by its SHA-256, if said."""
        return {
            member.name: member.state.model
            for member in self
            if member.working and member.state is not None
        }

    def set_online(self, node: str, online: bool) -> bool:
        """Note whether a node is there; return False if there is no room for another node."""
        member = self._member(node)
        if member is None:
            return False
        member.online = online
        return True

    def set_state(self, state: NodeState) -> bool:
        """Note what a node says of itself; return False if there is no room for another node."""
        member = self._member(state.node)
        if member is None:
            return False
        member.state = state
        return True

    def forget_state(self, node: str) -> None:
        """Drop what a node said of itself: its retained state was cleared."""
        if node in self._members:
            self._members[node].state = None

    def remove(self, node: str) -> None:
        """Forget a node whose retained status was cleared: it is gone for good."""
        self._members.pop(node, None)

    def _member(self, node: str) -> Member | None:
        if node not in self._members and len(self._members) >= MAX_NODES:
            return None
        return self._members.setdefault(node, Member(node))
