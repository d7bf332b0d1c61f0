from typing import get_args

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.ensemble import Answer, combine, compress
from models.evaluation.batched import rises
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
def test_many_pictures_are_decided_as_each_is_alone(
    family: list[np.ndarray], k: int, rule: Rule, data: st.DataObject
) -> None:
    pictures, class_count = family[0].shape
    k = min(k, class_count)
    weights = np.array([data.draw(st.floats(0.1, 4)) for _ in family])
    together = np.tensordot(weights, rises(np.stack(family), k, rule), 1)  # (N, C)
    for row in range(pictures):
        answers = [
            Answer(*compress(one[row], k), weight)
            for one, weight in zip(family, weights, strict=True)
        ]
        combined = combine(answers, class_count, rule)
        # Under "paper" a softmax is taken last: its logarithm is the sum but for a constant.
        expected = np.log(combined) if rule == "paper" else combined
        np.testing.assert_allclose(_scaled(together[row], rule), _scaled(expected, rule), atol=1e-7)


def _scaled(row: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the row without its level and, where only shares are known, in parts of its range."""
    risen: np.ndarray = row - row.min()
    if rule == "paper" or risen.max() < 1e-9:
        return risen
    shares: np.ndarray = risen / risen.max()
    return shares


@given(families(), st.integers(1, 9))
def test_only_what_is_sent_rises(family: list[np.ndarray], k: int) -> None:
    scores = np.stack(family)
    k = min(k, scores.shape[-1])
    risen = rises(scores, k, "residual") > 0
    for variant, picture in np.ndindex(*scores.shape[:2]):
        _, indices = compress(scores[variant, picture], k)
        assert set(np.flatnonzero(risen[variant, picture])) <= set(indices.tolist())
