from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from models.ensemble import Answer, combine, compress, scatter, softmax, top_k
from models.evaluation.ballots import CHUNK_SCORES, Scores, Sent, ballots_of, chunks
from models.rules import Rule

every_rule = pytest.mark.parametrize("rule", get_args(Rule))


@st.composite
def scored(draw: st.DrawFn) -> Scores:
    """Scores (V, n, C) as networks give them, as float or in the steps of an INT8 softmax."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 8)), draw(st.integers(2, 12)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = softmax(rng.normal(0, draw(st.sampled_from([0.1, 2, 10])), shape).astype(np.float32))
    return np.round(scores * 256) / 256 if draw(st.booleans()) else scores


@every_rule
@settings(deadline=None)
@given(scores=scored(), k=st.integers(1, 14), data=st.data())
def test_sums_of_many_pictures_are_what_combine_returns_of_each(
    rule: Rule, scores: Scores, k: int, data: st.DataObject
) -> None:
    variants, count, class_count = scores.shape
    weights = data.draw(
        st.lists(st.sampled_from([0.3, 0.5, 1.0, 1.7]), min_size=variants, max_size=variants)
    )
    found = dict(ballots_of(Sent.of(scores, k), rule).subsets(weights))
    assert set(found) == {
        subset for size in range(variants) for subset in combinations(range(variants), size + 1)
    }
    for subset, sums in found.items():
        for picture in range(count):
            answers = [Answer(*compress(scores[one, picture], k), weights[one]) for one in subset]
            combined = combine(answers, class_count, rule)
            for label in range(class_count):
                probability = sums.probability(np.full(count, label))[picture]
                assert probability == pytest.approx(combined[label], rel=1e-9, abs=1e-12)
            # Of classes that differ by no more than rounding either may win.
            winner = int(sums.winners()[picture])
            assert combined[winner] == pytest.approx(combined.max(), rel=1e-9)


@every_rule
def test_ties_go_to_the_lower_class_as_everywhere(rule: Rule) -> None:
    scores = np.array([[[0.1, 0.2, 0.7]], [[0.1, 0.7, 0.2]]], np.float32)
    assert ballots_of(Sent.of(scores, 1), rule).together([1.0, 1.0]).winners().tolist() == [1]


@settings(deadline=None)
@given(scores=scored(), k=st.integers(1, 14))
def test_what_is_sent_is_what_compress_returns(scores: Scores, k: int) -> None:
    sent = Sent.of(scores, k)
    for one in range(scores.shape[0]):
        for picture in range(scores.shape[1]):
            values, indices = compress(scores[one, picture], k)
            named = np.flatnonzero(sent.named[one, picture])
            assert_array_equal(named, np.sort(indices))
            assert_array_equal(sent.values[one, picture, indices], values)


def test_logits_are_scattered_with_0_for_the_absent_and_averaged() -> None:
    scores = np.array([[[0.7, 0.2, 0.07, 0.03]], [[0.25, 0.6, 0.1, 0.05]]])
    expected = np.zeros(4)
    for (row,), weight in zip(scores, (1.0, 3.0), strict=True):
        logits = np.log(row) - np.log(row).mean()
        _, indices = top_k(row, 2)
        expected += weight / 4 * softmax(scatter(logits[[indices]], indices[np.newaxis], 4)[0])
    sums = ballots_of(Sent.of(scores, 2), "logits").together([1.0, 3.0])
    assert_allclose([sums.probability(np.array([label]))[0] for label in range(4)], expected)


def test_logits_against_an_even_share_of_the_absent_are_the_residual_vector() -> None:
    # Why "logits" is no rule of its own for probabilities: ln (p / share), 0 elsewhere, softmax.
    values, indices = np.array([0.7, 0.2]), np.array([2, 0])
    logits = np.log(values / (0.1 / 3))
    dense = softmax(scatter(logits[np.newaxis], indices[np.newaxis], 5)[0])
    assert_allclose(dense, combine([Answer(values, indices, 1.0)], 5, "residual"))


@pytest.mark.parametrize(("count", "class_count"), [(0, 10), (1, 10), (20_000, 10), (3, 10**6)])
def test_chunks_are_all_pictures_once_and_never_too_many(count: int, class_count: int) -> None:
    parts = list(chunks(count, class_count))
    pictures = [index for part in parts for index in range(part.start, part.stop)]
    assert pictures == list(range(count))
    largest = max((part.stop - part.start for part in parts), default=0)
    assert largest <= max(1, CHUNK_SCORES // class_count)
