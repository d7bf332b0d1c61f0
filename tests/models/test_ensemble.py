import json
import math
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from models.ensemble import (
    Answer,
    Floats,
    combine,
    compress,
    product_floor,
    scatter,
    softmax,
    top_k,
    variant_weights,
)
from models.rules import Rule

RULES: tuple[Rule, ...] = get_args(Rule)
every_rule = pytest.mark.parametrize("rule", RULES)


def answer(scores: dict[int, float], weight: float = 1.0) -> Answer:
    return Answer(np.array(list(scores.values())), np.array(list(scores)), weight)


def literally(answers: list[Answer], class_count: int, rule: Rule) -> Floats:
    """Every step as the paper and the docstring state it, on the whole (V, C) tensor."""
    total = np.zeros(class_count)
    for one in answers:
        dense = scatter(one.values[np.newaxis], one.indices[np.newaxis], class_count)[0]
        dense = dense.astype(np.float64)
        if rule == "paper":
            total += one.weight * softmax(dense)
        else:
            absent = np.setdiff1d(np.arange(class_count), one.indices)
            if absent.size:
                share = max(0.0, 1.0 - dense.sum()) / absent.size
                dense[absent] = min(share, one.values.min())
            dense /= max(1.0, dense.sum())
            if rule == "product":
                dense = np.log(np.maximum(dense, product_floor(class_count)))
            total += one.weight * dense
    if rule == "residual":
        return np.asarray(total / total.sum())
    return softmax(total if rule == "paper" else total / sum(one.weight for one in answers))


@st.composite
def ensembles(draw: st.DrawFn) -> tuple[list[Answer], int]:
    """1 to 7 answers, each with its own k and weight, of what softmaxes can return."""
    class_count = draw(st.integers(2, 30))
    logits = st.lists(st.floats(-30, 30, width=32), min_size=class_count, max_size=class_count)
    answers = []
    for _ in range(draw(st.integers(1, 7))):
        scores = softmax(np.array(draw(logits), dtype=np.float32))
        values, indices = top_k(scores, draw(st.integers(1, class_count)))
        answers.append(Answer(values, indices, draw(st.floats(0.01, 10))))
    return answers, class_count


def test_paper_rule_gives_the_hand_computed_figures_of_fig_4() -> None:
    # Two variants, ρ = 160 and ρ = 96 of one width: Eq. 1 weighs them 160/160 = 1 and 96/160 = 0.6.
    # Four classes, k = 2. Scores are ln 2 and ln 1.25, so that e^score is 2 and 1.25:
    #
    #   scattered         A  ln 2     ln 1.25  0      0        B  ln 1.25  0      ln 2   0
    #   e^                   2        1.25     1      1           1.25     1      2      1
    #   ÷ sum (21/4)         8/21     5/21     4/21   4/21        5/21     4/21   8/21   4/21
    #   × weight             8/21     5/21     4/21   4/21        3/21   2.4/21 4.8/21 2.4/21
    #   A + B               11/21   7.4/21   8.8/21 6.4/21
    #   e^                   1.6884   1.4225   1.5205 1.3563      together 5.9877
    #   ÷ sum                0.2820   0.2376   0.2539 0.2265
    weights = variant_weights([160, 96], [0.35, 0.35], alpha=1.0)
    answers = [
        answer({0: math.log(2), 1: math.log(1.25)}, weights[0]),
        answer({2: math.log(2), 0: math.log(1.25)}, weights[1]),
    ]

    result = combine(answers, 4, "paper")

    assert_allclose(result, [0.2820, 0.2376, 0.2539, 0.2265], atol=5e-5)
    exact = [math.exp(sum_ / 21) for sum_ in (11, 7.4, 8.8, 6.4)]
    assert_allclose(result, np.array(exact) / sum(exact), rtol=1e-12)


def test_residual_rule_gives_the_hand_computed_figures() -> None:
    #   answered          A  0.7    0.2    –      –         B  0.2    –      0.6    –
    #   lack, spread         –      –      0.05   0.05         –      0.1    –      0.1
    #   × weight 1, 0.6      0.7    0.2    0.05   0.05         0.12   0.06   0.36   0.06
    #   A + B                0.82   0.26   0.41   0.11
    #   ÷ 1.6                0.5125 0.1625 0.25625 0.06875
    answers = [answer({0: 0.7, 1: 0.2}), answer({2: 0.6, 0: 0.2}, weight=0.6)]

    result = combine(answers, 4, "residual")

    assert_allclose(result, [0.5125, 0.1625, 0.25625, 0.06875], rtol=1e-12)


@every_rule
@settings(deadline=None)
@given(ensemble=ensembles())
def test_sparse_arithmetic_equals_the_literal_one(
    rule: Rule, ensemble: tuple[list[Answer], int]
) -> None:
    answers, class_count = ensemble
    expected = literally(answers, class_count, rule)
    assert_allclose(combine(answers, class_count, rule), expected, rtol=1e-6, atol=1e-9)


def test_product_rule_gives_the_hand_computed_figures() -> None:
    # Weights 1 and 3, so √√ of the product a · b³ of:
    #   A  0.8    0.1    0.05   0.05         B  0.1    0.8    0.05   0.05
    #   a · b³   0.0008  0.0512 0.00000625
    answers = [answer({0: 0.8, 1: 0.1}), answer({1: 0.8, 0: 0.1}, weight=3.0)]

    result = combine(answers, 4, "product")

    means = np.array([0.0008, 0.0512, 6.25e-6, 6.25e-6]) ** 0.25
    assert_allclose(result, means / means.sum(), rtol=1e-12)


def test_product_rule_lets_no_variant_forbid_a_class() -> None:
    # Four agree on a likely class that the fifth, whose k is 1, does not name.
    answers = [answer({2: 0.9, 1: 0.05})] * 4 + [answer({1: 1.0})]
    assert combine(answers, 10, "product").argmax() == 2
    assert product_floor(10) == pytest.approx(1e-4)


def test_scores_that_add_to_more_than_1_weigh_no_more_than_others() -> None:
    # What a broken or lying node may send; 8-bit rounding of many classes does it too.
    loud = answer({0: 1.0, 1: 1.0})
    assert_allclose(
        combine([loud, answer({2: 0.6, 3: 0.4})], 4, "residual"), [0.25, 0.25, 0.3, 0.2]
    )


@every_rule
@settings(deadline=None)
@given(ensemble=ensembles())
def test_result_is_one_probability_per_class(
    rule: Rule, ensemble: tuple[list[Answer], int]
) -> None:
    answers, class_count = ensemble
    result = combine(answers, class_count, rule)
    assert result.shape == (class_count,)
    assert result.min() >= 0
    assert math.isclose(result.sum(), 1, rel_tol=1e-12)


@every_rule
@settings(deadline=None)
@given(ensemble=ensembles(), data=st.data())
def test_order_of_answers_does_not_matter(
    rule: Rule, ensemble: tuple[list[Answer], int], data: st.DataObject
) -> None:
    answers, class_count = ensemble
    shuffled = data.draw(st.permutations(answers))
    assert_allclose(
        combine(answers, class_count, rule),
        combine(shuffled, class_count, rule),
        rtol=1e-12,
        atol=1e-15,
    )


@every_rule
@settings(deadline=None)
@given(ensemble=ensembles())
def test_a_single_answer_decides_alone(rule: Rule, ensemble: tuple[list[Answer], int]) -> None:
    (only, *_), class_count = ensemble
    result = combine([only], class_count, rule)
    assert result[only.indices[0]] == result.max()


@every_rule
@settings(deadline=None)
@given(ensemble=ensembles())
def test_the_same_answer_many_times_decides_as_once(
    rule: Rule, ensemble: tuple[list[Answer], int]
) -> None:
    (only, *_), class_count = ensemble
    result = combine([only] * 5, class_count, rule)
    assert result[only.indices[0]] == result.max()


@pytest.mark.parametrize("rule", ["residual", "product"])
@settings(deadline=None)
@given(ensemble=ensembles(), factor=st.floats(0.1, 10))
def test_scaling_all_weights_leaves_a_rule_of_probabilities_its_result(
    rule: Rule, ensemble: tuple[list[Answer], int], factor: float
) -> None:
    answers, class_count = ensemble
    scaled = [Answer(one.values, one.indices, one.weight * factor) for one in answers]
    assert_allclose(
        combine(answers, class_count, rule),
        combine(scaled, class_count, rule),
        rtol=1e-9,
        atol=1e-15,
    )


@settings(deadline=None)
@given(ensemble=ensembles(), factor=st.floats(0.1, 10))
def test_scaling_all_weights_sharpens_the_paper_result_but_keeps_its_order(
    ensemble: tuple[list[Answer], int], factor: float
) -> None:
    answers, class_count = ensemble
    scaled = [Answer(one.values, one.indices, one.weight * factor) for one in answers]
    # Before the last softmax the sums scale: ln p differs from them by a constant.
    sums = np.log(combine(answers, class_count, "paper"))
    scaled_sums = np.log(combine(scaled, class_count, "paper"))
    assert_allclose(scaled_sums - scaled_sums[0], factor * (sums - sums[0]), atol=1e-9)


@every_rule
def test_heavier_variant_prevails(rule: Rule) -> None:
    cat, dog = {0: 0.8, 1: 0.1}, {1: 0.8, 0: 0.1}
    assert combine([answer(cat, 1.0), answer(dog, 0.6)], 5, rule).argmax() == 0
    assert combine([answer(cat, 0.6), answer(dog, 1.0)], 5, rule).argmax() == 1


@every_rule
def test_two_variants_outvote_a_third_of_equal_weight(rule: Rule) -> None:
    answers = [answer({3: 0.9}), answer({1: 0.6, 3: 0.1}), answer({1: 0.6, 2: 0.2})]
    assert combine(answers, 5, rule).argmax() == 1


@settings(deadline=None)
@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=20).filter(lambda x: sum(x) > 0))
def test_one_dense_answer_passes_the_residual_rule_unchanged(scores: list[float]) -> None:
    dense = np.array(scores) / sum(scores)
    only = Answer(dense, np.arange(dense.size), 0.4)
    assert_allclose(combine([only], dense.size, "residual"), dense, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_answer_whose_scores_all_rounded_to_0_says_nothing(k: int) -> None:
    # An INT8 softmax over many even classes: every score is below 1/512 and becomes 0.
    nothing = Answer(np.zeros(k), np.arange(k), 1.0)
    something = answer({2: 0.5, 0: 0.2})
    assert_allclose(combine([nothing], 4, "residual"), 0.25)
    assert_allclose(
        combine([nothing, something], 4, "residual"), combine([something], 4, "residual")
    )


def test_rounded_scores_do_not_lift_an_absent_class_above_a_named_one() -> None:
    # 25/256 twice leaves 0.1006 for each of eight others, which cannot have beaten 0.0977.
    even = answer({3: 25 / 256, 7: 25 / 256})
    assert_allclose(combine([even], 10, "residual"), 0.1)


def test_index_alone_is_a_certain_vote_for_its_class() -> None:
    assert_array_equal(combine([answer({2: 1.0})], 3, "residual"), [0, 0, 1])


@every_rule
def test_no_answers_cannot_be_combined(rule: Rule) -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        combine([], 10, rule)


@every_rule
@pytest.mark.parametrize("index", [-1, 10, 2**40])
def test_index_of_another_label_set_is_refused(rule: Rule, index: int) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 10\)"):
        combine([answer({1: 0.5}), answer({index: 0.9})], 10, rule)


def test_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'mean'.*paper, residual, product"):
        combine([answer({1: 0.5})], 10, "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "indices", "weight", "reason"),
    [
        ([], [], 1.0, "at least one"),
        ([0.5], [1, 2], 1.0, r"\(k,\)"),
        ([[0.5]], [[1]], 1.0, r"\(k,\)"),
        ([0.5, 0.2], [1, 1], 1.0, "at most once"),
        ([math.nan], [1], 1.0, "probabilities"),
        ([math.inf], [1], 1.0, "probabilities"),
        ([-0.1], [1], 1.0, "probabilities"),
        ([1.5], [1], 1.0, "probabilities"),
        ([0.5], [1], 0.0, "weight"),
        ([0.5], [1], -1.0, "weight"),
        ([0.5], [1], math.nan, "weight"),
        ([0.5], [1], math.inf, "weight"),
    ],
)
def test_invalid_answer_cannot_exist(
    values: list[float], indices: list[int], weight: float, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Answer(np.array(values, dtype=np.float32), np.array(indices, dtype=np.int64), weight)


def test_softmax_of_large_logits_does_not_overflow() -> None:
    assert_allclose(softmax(np.array([1000.0, 1000.0, -1000.0])), [0.5, 0.5, 0.0])


def test_softmax_runs_along_the_axis_asked_for() -> None:
    x = np.array([[0.0, 0.0], [math.log(3), 0.0]])
    assert_allclose(softmax(x), [[0.5, 0.5], [0.75, 0.25]])
    assert_allclose(softmax(x, axis=0), [[0.25, 0.5], [0.75, 0.5]])


def test_top_k_is_descending_and_equal_scores_go_to_the_lower_class() -> None:
    values, indices = top_k(np.array([0.1, 0.3, 0.2, 0.3, 0.1], dtype=np.float32), 4)
    assert indices.tolist() == [1, 3, 2, 0]
    assert_array_equal(values, np.array([0.3, 0.3, 0.2, 0.1], dtype=np.float32))
    assert values.dtype == np.float32
    assert indices.dtype == np.int64


@settings(deadline=None)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=20),
    data=st.data(),
)
def test_top_k_equals_a_stable_sort(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    _, indices = top_k(np.array(scores), k)
    assert indices.tolist() == sorted(range(len(scores)), key=lambda i: -scores[i])[:k]


def test_compressing_sends_the_top_k_the_index_alone_or_everything() -> None:
    scores = np.array([0.1, 0.2, 0.0, 0.3, 0.4], np.float32)
    values, indices = compress(scores, 2)
    assert_allclose(values, [0.4, 0.3])
    assert_array_equal(indices, [4, 3])
    values, indices = compress(scores, 1)
    assert_array_equal(values, [1.0])
    assert_array_equal(indices, [4])
    for k in (3, 5, 9):
        values, indices = compress(scores, k)
        assert_array_equal(values, scores)
        assert_array_equal(indices, range(5))


@pytest.mark.parametrize("k", [0, 4, -1])
def test_top_k_refuses_a_k_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=r"k must be in \[1, 3\]"):
        top_k(np.zeros(3), k)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_refuses_nan(k: int) -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([0.5, math.nan, 0.2]), k)


def test_scatter_rebuilds_dense_vectors_with_zeros() -> None:
    dense = scatter(np.array([[0.7, 0.2], [0.6, 0.1]]), np.array([[2, 0], [1, 2]]), 4)
    assert_array_equal(dense, [[0.2, 0, 0.7, 0], [0, 0.6, 0.1, 0]])


def test_scatter_of_no_vectors_is_no_rows() -> None:
    assert scatter(np.empty((0, 2)), np.empty((0, 2), dtype=np.int64), 4).shape == (0, 4)


@settings(deadline=None)
@given(ensemble=ensembles())
def test_scatter_undoes_top_k_of_all(ensemble: tuple[list[Answer], int]) -> None:
    (only, *_), class_count = ensemble
    scores = scatter(only.values[np.newaxis], only.indices[np.newaxis], class_count)[0]
    values, indices = top_k(scores, class_count)
    assert_array_equal(scatter(values[np.newaxis], indices[np.newaxis], class_count)[0], scores)


@pytest.mark.parametrize(
    ("indices", "reason"),
    [([[0, 4]], "outside"), ([[-1, 0]], "outside"), ([[3, 3]], "repeats"), ([[1]], r"\(V, k\)")],
)
def test_scatter_refuses_bad_indices(indices: list[list[int]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        scatter(np.array([[0.5, 0.2]]), np.array(indices), 4)


def test_variant_weights_are_eq_1() -> None:
    # ρ 96, 160, 320 of max 320; d 0.35, 0.5, 0.7 of min 0.35, squared.
    weights = variant_weights([96, 160, 320], [0.35, 0.5, 0.7], alpha=2.0)
    assert_allclose(weights, [0.3, 0.5 * (0.5 / 0.35) ** 2, 4.0])


def test_part_of_a_family_is_weighed_by_the_whole_family() -> None:
    weights = variant_weights([96, 128], [0.5, 0.5], 1.0, max_resolution=320, min_width=0.35)
    assert_allclose(weights, [0.3 / 0.7, 0.4 / 0.7])


IMPORT_CPU_LIMIT_S = 0.150

IMPORT_PROBE = """
import json, sys, time
before_s = time.process_time()
import models.ensemble
cpu_s = time.process_time() - before_s
print(json.dumps({"cpu_s": cpu_s, "modules": sorted(sys.modules)}))
"""


def test_import_is_light() -> None:
    # CPU time, not wall time, and the best of five: another job on the machine must not decide.
    best_s = math.inf
    for _ in range(5):
        child = [sys.executable, "-c", IMPORT_PROBE]
        probe = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)
        assert not {"torch", "tensorflow", "pydantic", "PIL", "scipy"} & set(probe["modules"])
        best_s = min(best_s, probe["cpu_s"])
        if best_s <= IMPORT_CPU_LIMIT_S:
            break
    assert best_s <= IMPORT_CPU_LIMIT_S
