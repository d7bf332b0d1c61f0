from broker.payloads import NodeState
from gateway.roster import MAX_NODES, Roster


def state(node: str, phase: str = "working") -> NodeState:
    return NodeState.model_validate({"node": node, "state": phase, "version": "1"})


def test_a_node_works_when_it_is_there_and_says_so() -> None:
    roster = Roster()
    roster.set_state(state("a"))
    assert roster.working == frozenset()
    roster.set_online("a", True)
    assert roster.working == {"a"}
    roster.set_state(state("a", "paused"))
    assert roster.working == frozenset()
    roster.set_state(state("a"))
    roster.set_online("a", False)
    assert roster.working == frozenset()
    assert "a" in roster


def test_a_node_whose_state_was_cleared_is_known_but_not_expected() -> None:
    roster = Roster()
    roster.set_online("a", True)
    roster.set_state(state("a"))
    roster.forget_state("a")
    roster.forget_state("b")
    assert roster.working == frozenset()
    assert "a" in roster
    assert "b" not in roster


def test_a_removed_node_is_unknown() -> None:
    roster = Roster()
    roster.set_online("a", True)
    roster.remove("a")
    roster.remove("a")
    assert "a" not in roster


def test_strangers_cannot_fill_the_memory() -> None:
    roster = Roster()
    assert all(roster.set_online(f"n{number}", True) for number in range(MAX_NODES))
    assert not roster.set_online("one-more", True)
    assert not roster.set_state(state("one-more"))
    assert roster.set_online("n0", False)
    assert len(list(roster)) == MAX_NODES


def test_a_node_is_found_by_its_name() -> None:
    roster = Roster()
    roster.set_state(state("a"))
    member = roster.get("a")
    assert member is not None
    assert (member.name, member.online) == ("a", False)
    assert roster.get("b") is None
