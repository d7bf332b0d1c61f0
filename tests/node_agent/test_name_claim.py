"""Two claims of one name and the broker between them, all in values."""

import random
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.payloads import NodeState
from node_agent.name_claim import REPLY_INTERVAL_S, NameClaim

LOW, HIGH = "00000001", "ffffffff"


def state(session: str | None, up_s: float = 0.0) -> NodeState:
    return NodeState(node="kitchen", state="working", session=session, up_s=up_s, version="9")


def at_work(session: str, since_s: float) -> NameClaim:
    claim = NameClaim(session)
    claim.ask()
    claim.hear_question()
    assert claim.look(since_s)
    return claim


def test_nobody_there_is_soon_known() -> None:
    claim = NameClaim(LOW)
    claim.ask()
    assert not claim.look(0.0)  # its own question has not come back yet
    claim.hear_question()
    assert claim.look(0.1)
    assert claim.up_s(10.1) == 10.0


@pytest.mark.parametrize(("online", "session"), [(False, HIGH), (True, LOW), (True, None)])
def test_what_is_left_over_of_a_node_that_went_is_no_doubt(
    online: bool, session: str | None
) -> None:
    claim = NameClaim(LOW)
    claim.ask()
    claim.hear_status(online=online)
    claim.hear_state(state(session), 0.0, retained=True)
    claim.hear_question()
    assert claim.look(0.1)


def test_somebody_who_seems_to_be_there_is_waited_for() -> None:
    claim = NameClaim(LOW)
    claim.ask()
    claim.hear_status(online=True)
    claim.hear_state(state(HIGH, 500.0), 0.0, retained=True)
    claim.hear_question()
    assert not claim.look(0.1)
    assert claim.rival is None
    claim.grant(2.0)  # nobody answered
    assert claim.granted


def test_a_newcomer_gives_way_whatever_its_token() -> None:
    newcomer = NameClaim(LOW)
    newcomer.ask()
    assert not newcomer.hear_state(state(HIGH, 0.0), 0.0, retained=False)
    assert newcomer.rival is not None
    newcomer.hear_question()
    assert not newcomer.look(1.0)


def test_the_elder_stays_and_says_so_once_a_second() -> None:
    elder = at_work(HIGH, since_s=0.0)
    assert elder.hear_state(state(LOW, 10.0), 100.0, retained=False)
    assert not elder.hear_state(state(LOW, 10.1), 100.1, retained=False)
    assert elder.hear_state(state(LOW, 11.0), 100.0 + REPLY_INTERVAL_S, retained=False)
    assert elder.rival is None


def test_the_elder_that_was_cut_off_takes_its_name_back() -> None:
    elder = at_work(HIGH, since_s=0.0)
    elder.ask()
    elder.hear_status(online=True)
    elder.hear_state(state(LOW, 10.0), 100.0, retained=True)
    elder.hear_question()
    assert not elder.look(100.0)
    assert elder.hear_state(state(LOW, 10.0), 100.1, retained=False)
    assert elder.granted
    assert elder.up_s(100.0) == 100.0


def test_its_own_state_is_no_rival() -> None:
    claim = at_work(LOW, since_s=0.0)
    assert not claim.hear_state(state(LOW, 1e6), 1.0, retained=False)
    assert not claim.hear_state(state(None, 1e6), 1.0, retained=False)  # an older program
    assert claim.rival is None


@given(
    ages_s=st.tuples(st.floats(0, 10), st.floats(0, 10)),
    latencies_s=st.lists(st.floats(0, 0.05), min_size=200, max_size=200),
    seed=st.integers(0, 99),
)
def test_of_two_at_work_exactly_one_stays(
    ages_s: tuple[float, float], latencies_s: list[float], seed: int
) -> None:
    claims = [at_work(LOW, since_s=-ages_s[0]), at_work(HIGH, since_s=-ages_s[1])]
    speaker = random.Random(seed).randrange(2)
    now_s = 0.0
    for turn in count():
        said = state(claims[speaker].session, round(claims[speaker].up_s(now_s), 1))
        now_s += latencies_s[turn % 200]
        speaker = 1 - speaker
        if not claims[speaker].hear_state(said, now_s, retained=False):
            if claims[speaker].rival is not None:
                break
            now_s += REPLY_INTERVAL_S  # it speaks again with the next state
        assert turn < 190, "they never agree"
    assert [claim.rival is None for claim in claims].count(True) == 1
