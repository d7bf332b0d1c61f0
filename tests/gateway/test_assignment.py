import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.assignment import Seat, assign

VARIANTS = ("V1", "V2", "V3")


def free(node: str, holds: str | None = None, offers: tuple[str, ...] = ()) -> Seat:
    return Seat(node, holds, fixed=False, offers=offers)


def fixed(node: str, holds: str | None) -> Seat:
    return Seat(node, holds, fixed=True)


@pytest.mark.parametrize(
    ("seats", "expected"),
    [
        ([], {}),
        ([free("a")], {"a": "V1"}),
        ([free("c"), free("b"), free("a")], {"a": "V1", "b": "V2", "c": "V3"}),
        ([free(name) for name in "abcd"], {"a": "V1", "b": "V2", "c": "V3", "d": "V1"}),
        ([free("a", "V3"), free("b")], {"a": "V3", "b": "V1"}),
        # stable, even where it is uneven
        ([free("a", "V1"), free("b", "V1"), free("c")], {"a": "V1", "b": "V1", "c": "V2"}),
        # the owner's choice stands, and counts
        ([fixed("a", "V1"), fixed("b", "V2"), free("c")], {"a": "V1", "b": "V2", "c": "V3"}),
        # it holds none of this pack's
        ([fixed("a", "X9"), fixed("b", None)], {}),
        ([free("a", "X9")], {"a": "V1"}),
        # only what its pack offers
        ([free("a", offers=("V2", "X9"))], {"a": "V2"}),
        ([free("a", offers=("X9",))], {}),
    ],
)
def test_assignment(seats: list[Seat], expected: dict[str, str]) -> None:
    assert assign(seats, VARIANTS) == expected


seat_lists = st.lists(
    st.builds(
        Seat,
        node=st.text("abcdefgh", min_size=1, max_size=3),
        holds=st.sampled_from([None, *VARIANTS, "X9"]),
        fixed=st.booleans(),
        offers=st.sampled_from([(), VARIANTS, ("V2",), ("X9",)]),
    ),
    unique_by=lambda seat: seat.node,
)


@given(seat_lists, st.randoms())
def test_assignment_is_stable_and_does_not_depend_on_the_order(
    seats: list[Seat], rng: random.Random
) -> None:
    given_once = assign(seats, VARIANTS)
    shuffled = seats.copy()
    rng.shuffle(shuffled)
    assert assign(shuffled, VARIANTS) == given_once
    again = [Seat(s.node, given_once.get(s.node), s.fixed, s.offers) for s in seats]
    assert assign(again, VARIANTS) == given_once
    for seat in seats:
        if seat.fixed:
            assert given_once.get(seat.node) in (seat.holds, None)
