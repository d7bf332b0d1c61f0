from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.ensemble import Answer, combine, compress
from models.evaluation.batched import RankedScores, combine_votes, vote
from models.rules import Rule


@st.composite
def families(draw: st.DrawFn) -> list[np.ndarray]:
    """Return scores (N, C) of some variants, with ties and zeros among them."""
    variants = draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 5)), draw(st.integers(2, 9)))
    eighths = arrays.arrays(np.int8, shape, elements=st.integers(0, 8))
    drawn = [draw(eighths).astype(np.float32) for _ in range(variants)]
    return [one / np.maximum(one.sum(1, keepdims=True), 1) for one in drawn]


@given(families(), st.integers(1, 9), st.sampled_from(get_args(Rule)), st.data())
def test_many_pictures_combine_as_each_does_alone(
    family: list[np.ndarray], k: int, rule: Rule, data: st.DataObject
) -> None:
    pictures, class_count = family[0].shape
    k = min(k, class_count)
    weights = [data.draw(st.floats(0.1, 4)) for _ in family]
    votes = [
        vote(RankedScores.of(one), weight, k, rule)
        for one, weight in zip(family, weights, strict=True)
    ]
    batched = combine_votes(votes, rule)
    for row in range(pictures):
        answers = [
            Answer(*compress(one[row], k), weight)
            for one, weight in zip(family, weights, strict=True)
        ]
        np.testing.assert_allclose(
            batched[row], combine(answers, class_count, rule), rtol=1e-9, atol=1e-12
        )


@given(families(), st.integers(1, 9))
def test_compressed_rows_are_what_a_variant_sends(family: list[np.ndarray], k: int) -> None:
    scores = family[0]
    k = min(k, scores.shape[1])
    values, indices = RankedScores.of(scores).compress(k)
    for row, one in enumerate(scores):
        sent_values, sent_indices = compress(one, k)
        np.testing.assert_array_equal(indices[row], sent_indices)
        np.testing.assert_array_equal(values[row], sent_values)


def test_scores_that_say_nothing_combine_to_an_even_choice() -> None:
    nothing = vote(RankedScores.of(np.zeros((2, 4), np.float32)), 1.0, 2, "residual")
    assert combine_votes([nothing], "residual").tolist() == [[0.25] * 4] * 2


def test_no_votes_and_no_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one vote"):
        combine_votes([], "paper")
    with pytest.raises(ValueError, match="k must be at least 1"):
        RankedScores.of(np.ones((1, 3), np.float32)).compress(0)
