"""The ensemble's rules over many pictures at once, as fast as evaluation needs them.

`models.ensemble.combine` serves one frame. Both its rules add one term a variant, and the order of
the classes is that of the sum: so each variant's term is worked out once for all pictures, and
every subset of variants is a sum of such terms.
"""

from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from models.rules import Rule

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]


def rises(scores: Floats, k: int, rule: Rule) -> Doubles:
    """Return by how much each variant lifts each class above those it does not name.

    Args:
        scores: shape (V, n, C), probabilities of V variants on n pictures.
        k: scores an answer keeps, see `models.ensemble.compress`.
        rule: how answers combine, see `models.ensemble.combine`.

    Returns:
        Shape (V, n, C), per unit of a variant's weight. The weighted sum over any of the variants
        orders the classes as `combine` does.
    """
    class_count = scores.shape[-1]
    k = class_count if k > 1 and 2 * k > class_count else k
    named = _top(scores, k)
    values = np.where(named, 1.0 if k == 1 else scores.astype(np.float64), 0.0)
    if rule == "paper":
        lifted = np.expm1(values)
        lifted /= class_count + lifted.sum(-1, keepdims=True)
    elif rule == "residual":
        lack = np.maximum(1.0 - values.sum(-1), 0.0)  # (V, n)
        least = np.where(named, values, np.inf).min(-1)  # (V, n)
        level = np.minimum(lack / max(class_count - k, 1), least)
        lifted = np.where(named, values - level[..., np.newaxis], 0.0)
    else:
        assert_never(rule)
    return lifted


def _top(scores: Floats, k: int) -> npt.NDArray[np.bool_]:
    """Return where the k highest scores are; of equal ones those of the lower classes."""
    class_count = scores.shape[-1]
    if k == class_count:
        return np.ones(scores.shape, bool)
    kth = np.partition(scores, class_count - k, axis=-1)[..., class_count - k, np.newaxis]
    above, equal = scores > kth, scores == kth
    places = k - above.sum(-1, keepdims=True)  # what those equal to the k-th share
    named: npt.NDArray[np.bool_] = above | (equal & (equal.cumsum(-1) <= places))
    return named
