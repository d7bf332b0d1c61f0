from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.camera_settings import StateSettings
from gateway.debounce import UNKNOWN, Change, Debouncer, State

CAT, DOG, NOTHING = State("answered", "cat"), State("answered", "dog"), State("answered", "nothing")
UNSURE, NO_ANSWER = State("unsure"), State("no_answer")
LETTERS = {"c": CAT, "d": DOG, "n": NOTHING, "?": UNSURE, "-": NO_ANSWER}
SHOWN = {state: letter for letter, state in LETTERS.items()} | {UNKNOWN: "."}


def debouncer(**changes: Any) -> Debouncer:
    return Debouncer(StateSettings.model_validate({"hold_s": 0} | changes))


def states(one: Debouncer, outcomes: str, step_s: float = 1.0, begin_s: float = 0.0) -> str:
    """Return the state after each outcome, one letter each."""
    shown = ""
    for number, letter in enumerate(outcomes):
        one.receive(LETTERS[letter], begin_s + number * step_s)
        shown += SHOWN[one.state]
    return shown


@pytest.mark.parametrize(
    ("k", "n", "outcomes", "expected"),
    [
        (1, 1, "ccd?-c", "ccd?-c"),
        (2, 2, "ccdcdd", ".ccccd"),
        (3, 5, "ccc", "..c"),
        (3, 5, "cdcdc", "....c"),
        (3, 5, "cccddd", "..cccd"),
        (3, 5, "cccdcdd", "..ccccd"),
        (3, 5, "ccc???", "..ccc?"),
        (3, 5, "ccc---", "..ccc-"),
        (3, 5, "ccc-?-?-?-?", "..ccccc-?-?"),
        (3, 5, "c?c-c", "....c"),
        (3, 5, "nnn?-?-", "..nnnnn"),
    ],
)
def test_state_takes_k_equal_results_of_n(k: int, n: int, outcomes: str, expected: str) -> None:
    assert states(debouncer(k=k, n=n), outcomes) == expected


def test_change_names_the_state_before() -> None:
    one = debouncer(k=1, n=1)
    assert one.receive(CAT, 0) == Change(CAT, UNKNOWN)
    assert one.receive(CAT, 1) is None
    assert one.receive(NO_ANSWER, 2) == Change(NO_ANSWER, CAT)


def test_state_stands_for_its_hold_time_after_it_was_last_confirmed() -> None:
    one = debouncer(k=1, n=1, hold_s=10)
    one.receive(CAT, 0)
    one.receive(CAT, 5)
    assert one.receive(DOG, 14) is None
    assert one.next_s == 15
    assert one.tick(14.9) is None
    assert one.tick(15) == Change(DOG, CAT)
    assert one.next_s is None


def test_what_is_confirmed_again_in_time_never_changed() -> None:
    one = debouncer(k=2, n=3, hold_s=10)
    assert states(one, "ccddcc") == ".ccccc"
    assert one.next_s is None


def test_first_state_waits_for_nothing() -> None:
    assert debouncer(k=1, n=1, hold_s=1000).receive(CAT, 0) == Change(CAT, UNKNOWN)


def test_labels_have_their_own_evidence_and_hold_time() -> None:
    one = debouncer(k=3, n=5, hold_s=0, labels={"cat": {"k": 1, "n": 1, "hold_s": 4}})
    assert states(one, "dddcddd") == "..dcccc"
    assert one.next_s == 7  # 4 s after the cat
    assert one.tick(7) == Change(DOG, CAT)


def test_old_results_are_no_evidence() -> None:
    one = debouncer(k=3, n=5, within_s=10)
    states(one, "cc")
    assert one.receive(CAT, 12) is None
    assert one.receive(CAT, 13) is None
    assert one.receive(CAT, 14) == Change(CAT, UNKNOWN)


def test_evidence_that_grows_old_during_the_hold_time_changes_nothing() -> None:
    one = debouncer(k=1, n=1, hold_s=50, within_s=10)
    one.receive(CAT, 0)
    one.receive(DOG, 1)
    assert one.next_s == 50
    assert one.tick(50) is None
    assert one.state == CAT
    assert one.next_s is None


def test_unknown_is_no_outcome() -> None:
    with pytest.raises(ValueError, match="no result is unknown"):
        debouncer().receive(UNKNOWN, 0)


@pytest.mark.parametrize(
    ("status", "label"), [("unsure", "cat"), ("no_answer", "cat"), ("answered", None)]
)
def test_only_an_answer_has_a_label(status: Any, label: str | None) -> None:
    with pytest.raises(ValueError, match="state"):
        State(status, label)


outcome = st.sampled_from(list(LETTERS.values()))
steps = st.lists(st.tuples(outcome, st.floats(0, 30), st.booleans()), max_size=60)


@st.composite
def settings(draw: st.DrawFn) -> StateSettings:
    def needs() -> dict[str, Any]:
        n = draw(st.integers(1, 6))
        return {
            "n": n,
            "k": draw(st.integers(n // 2 + 1, n)),
            "hold_s": draw(st.floats(0, 40)),
        }

    labels = {"cat": needs()} if draw(st.booleans()) else {}
    return StateSettings.model_validate(
        needs() | {"within_s": draw(st.floats(1, 100)), "labels": labels}
    )


@given(settings(), steps)
def test_it_never_flaps_nor_claims_without_evidence(
    chosen: StateSettings, taken: list[tuple[State, float, bool]]
) -> None:
    one = Debouncer(chosen)
    now_s = 0.0
    changed_s: float | None = None
    history: list[tuple[State, float]] = []

    def check(change: Change | None, at_s: float) -> None:
        nonlocal changed_s
        if change is None:
            return
        # never faster than the hold time of what it left
        if changed_s is not None:
            assert at_s >= changed_s + chosen.of(change.previous.label).hold_s
        changed_s = at_s
        assert change.state not in (UNKNOWN, change.previous)
        # only on k equal results among the last n, none too old; silence and doubt are none
        needs = chosen.of(change.state.label)
        recent = [state for state, when_s in history if when_s >= at_s - chosen.within_s]
        assert Counter(recent[-needs.n :])[change.state] >= needs.k

    for result, pause_s, by_timer in taken:
        due_s = one.next_s
        if by_timer and due_s is not None and now_s < due_s <= now_s + pause_s:
            check(one.tick(due_s), due_s)
        now_s += pause_s
        history.append((result, now_s))
        check(one.receive(result, now_s), now_s)


@given(settings(), st.lists(st.tuples(st.sampled_from([UNSURE, NO_ANSWER]), st.floats(0, 30))))
def test_silence_and_doubt_never_lead_to_a_label(
    chosen: StateSettings, taken: list[tuple[State, float]]
) -> None:
    one = Debouncer(chosen)
    now_s = 0.0
    for result, pause_s in taken:
        now_s += pause_s
        one.receive(result, now_s)
        assert one.state.label is None
