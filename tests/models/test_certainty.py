import math
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.certainty import MARGIN, Outlook, outlook, reach
from models.ensemble import MAX_SCORE, Answer, Floats, combine, compress, softmax
from models.rules import CONFIDENCE_RULE, Rule

RULES: tuple[Rule, ...] = get_args(Rule)
every_rule = pytest.mark.parametrize("rule", RULES)

weights = st.floats(0.05, 5)


def answer(scores: dict[int, float], weight: float = 1.0) -> Answer:
    return Answer(np.array(list(scores.values())), np.array(list(scores)), weight)


def only(label: int, weight: float, k: int, class_count: int) -> Answer:
    """All on one class, as an answer of k scores says it."""
    scores = np.zeros(class_count)
    scores[label] = 1.0
    return Answer(*compress(scores, k), weight)


@st.composite
def answered(draw: st.DrawFn, class_count: int) -> Answer:
    """What a variant may send: from sure to even, any k, float or in 8-bit steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    favoured = draw(st.integers(0, min(2, class_count - 1)))  # few, so that answers agree
    logits = rng.normal(0, draw(st.sampled_from([0.1, 1, 5])), class_count)
    logits[favoured] += draw(st.sampled_from([0, 2, 8, 30]))
    scores = softmax(logits.astype(np.float32))
    if draw(st.booleans()):
        scores = np.round(scores * 256) / 256
    k = draw(st.integers(1, class_count))
    return Answer(*compress(scores, k), draw(weights))


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Answer], list[float], int]:
    """What came, what is missing, and C."""
    class_count = draw(st.integers(2, 12))
    came = draw(st.lists(answered(class_count), min_size=1, max_size=5))
    missing = draw(st.lists(weights, max_size=3))
    return came, missing, class_count


def subsets(missing: Sequence[float]) -> Iterator[tuple[float, ...]]:
    return chain.from_iterable(combinations(missing, n) for n in range(len(missing) + 1))


def completions(
    came: list[Answer], missing: list[float], class_count: int, rule: Rule, seed: int
) -> Iterator[list[Answer]]:
    """Every subset of the missing, saying the worst, anything, and what a search finds worse."""
    rng = np.random.default_rng(seed)
    now = combine(came, class_count, rule)
    others = now.copy()
    others[now.argmax()] = 0
    in_proportion = others / others.sum() if others.sum() else others
    for some in subsets(missing):
        for label in range(class_count):
            for k in (1, 2, class_count):
                yield [*came, *(only(label, weight, k, class_count) for weight in some)]
            whole = {one: float(one == label) * MAX_SCORE for one in range(class_count)}
            yield [*came, *(answer(whole, weight) for weight in some)]
        yield [*came, *(Answer(in_proportion, np.arange(class_count), w) for w in some)]
        yield [*came, *(answer({0: 0.0}, weight) for weight in some)]
        yield [*came, *(answer({0: 1.0, 1: 1.0}, weight) for weight in some)]  # no softmax
        for _ in range(5):
            mixed = [rng.dirichlet(np.full(class_count, rng.choice([0.05, 1]))) for _ in some]
            sizes = rng.integers(1, class_count + 1, len(some))
            yield [
                *came,
                *(
                    Answer(*compress(scores, int(k)), weight)
                    for scores, k, weight in zip(mixed, sizes, some, strict=True)
                ),
            ]
        if some:
            yield [*came, *search(came, some, class_count, rule, rng)]


def search(
    came: list[Answer],
    some: Sequence[float],
    class_count: int,
    rule: Rule,
    rng: np.random.Generator,
) -> list[Answer]:
    """Climb towards the dense answers that hurt the present winner's confidence most."""
    winner = int(combine(came, class_count, rule).argmax())
    logits = rng.normal(0, 1, (len(some), class_count))

    def answers(at: Floats) -> list[Answer]:
        dense = softmax(at)
        return [
            Answer(np.minimum(one, 1), np.arange(class_count), weight)
            for one, weight in zip(dense, some, strict=True)
        ]

    def harm(at: Floats) -> float:
        return -float(combine([*came, *answers(at)], class_count, rule)[winner])

    best = harm(logits)
    for _ in range(25):
        step = logits + rng.normal(0, 4, logits.shape)
        if (found := harm(step)) > best:
            logits, best = step, found
    return answers(logits)


@every_rule
@settings(deadline=None, max_examples=60)
@given(situation=situations(), seed=st.integers(0, 2**32))
def test_what_is_certain_holds_in_every_completion(
    rule: Rule, situation: tuple[list[Answer], list[float], int], seed: int
) -> None:
    came, missing, class_count = situation
    found = outlook(came, missing, class_count, rule)
    if found is None:
        return
    for completed in completions(came, missing, class_count, rule, seed):
        assert combine(completed, class_count, rule).argmax() == found.winner
        sure = combine(completed, class_count, CONFIDENCE_RULE[rule])[found.winner]
        assert found.least_confidence <= sure <= found.most_confidence


@every_rule
@settings(deadline=None, max_examples=200)
@given(situation=situations(), k=st.integers(1, 12))
def test_what_is_not_certain_some_completion_overturns(
    rule: Rule, situation: tuple[list[Answer], list[float], int], k: int
) -> None:
    came, missing, class_count = situation
    if outlook(came, missing, class_count, rule) is not None:
        return
    assert missing
    winner = int(combine(came, class_count, rule).argmax())
    leads = []
    for rival in range(class_count):
        if rival != winner:
            # Under "paper" a score may be MAX_SCORE, by which the bound is wider than k = 1 shows.
            score = MAX_SCORE if k == 1 else 1.0
            said = {rival: score} if 2 * k <= class_count or k == 1 else None
            worst = [
                answer(said, one) if said else only(rival, one, k, class_count) for one in missing
            ]
            result = combine([*came, *worst], class_count, rule)
            leads.append(float(np.log(result[winner]) - np.log(result[rival])))
    slack = (MAX_SCORE - 1) * sum(missing) * 3
    assert min(leads) <= (slack if k > 1 else 1e-6)


def lead_for(rule: Rule, class_count: int, missing: float) -> float:
    """The weight at which one sure answer's lead equals what is missing, for k = 1."""
    one = reach(class_count, rule)
    return missing * one / (one if rule != "paper" else math.expm1(1) / (class_count + math.e - 1))


@every_rule
@pytest.mark.parametrize("class_count", [2, 10, 1000, 65_535])
def test_a_lead_just_above_the_bound_is_certain_and_one_just_below_is_not(
    rule: Rule, class_count: int
) -> None:
    missing = [0.6, 0.8]
    bound = lead_for(rule, class_count, sum(missing))
    inside = [answer({1: 1.0}, bound * (1 + 1e-6))]
    outside = [answer({1: 1.0}, bound * (1 - 1e-6))]
    found = outlook(inside, missing, class_count, rule)
    assert found is not None
    assert found.winner == 1
    assert outlook(outside, missing, class_count, rule) is None


@every_rule
def test_a_tie_that_may_come_is_open(rule: Rule) -> None:
    # Class 0 would win the tie by being the lower one, class 1 would lose it.
    assert outlook([answer({0: 1.0})], [1.0], 10, rule) is None
    assert outlook([answer({1: 1.0})], [1.0], 10, rule) is None


@every_rule
def test_a_tie_that_came_is_open_until_nothing_is_missing(rule: Rule) -> None:
    tied = [answer({4: 1.0}), answer({2: 1.0})]
    assert outlook(tied, [1e-6], 10, rule) is None
    found = outlook(tied, [], 10, rule)
    assert found is not None
    assert found.winner == combine(tied, 10, rule).argmax() == 2


@every_rule
def test_bounds_of_confidence_are_reached(rule: Rule) -> None:
    came = [answer({3: 0.97, 1: 0.02}, 2.0), answer({3: 0.99, 2: 0.004}, 1.0)]
    missing = [0.2, 0.3]
    found = outlook(came, missing, 10, rule)
    assert found is not None
    by = CONFIDENCE_RULE[rule]
    most = combine([*came, *(only(3, one, 2, 10) for one in missing)], 10, by)[3]
    assert found.most_confidence == pytest.approx(most, abs=2 * MARGIN)
    if by == "residual":
        least = combine([*came, *(only(1, one, 2, 10) for one in missing)], 10, by)[3]
        assert found.least_confidence == pytest.approx(least, abs=2 * MARGIN)
        return
    others = combine(came, 10, by)
    others[3] = 0
    dense = others / others.sum()
    least = combine([*came, *(Answer(dense, np.arange(10), one) for one in missing)], 10, by)[3]
    assert found.least_confidence <= least
    assert found.least_confidence == pytest.approx(least, abs=5e-4)


@every_rule
def test_nothing_missing_leaves_nothing_open(rule: Rule) -> None:
    came = [answer({3: 0.4, 1: 0.3}), answer({1: 0.5, 3: 0.45})]
    found = outlook(came, [], 10, rule)
    by = combine(came, 10, CONFIDENCE_RULE[rule])
    assert found is not None
    assert found.winner == combine(came, 10, rule).argmax()
    assert found.least_confidence == pytest.approx(by[found.winner], abs=2 * MARGIN)
    assert found.most_confidence == pytest.approx(by[found.winner], abs=2 * MARGIN)


@pytest.mark.parametrize("missing", [[], [1.0]])
def test_answers_that_all_rounded_to_0_settle_nothing(missing: list[float]) -> None:
    nothing = [answer({2: 0.0, 3: 0.0})]
    found = outlook(nothing, missing, 4, "residual")
    if missing:
        assert found is None
    else:
        assert found == Outlook(0, pytest.approx(0.25), pytest.approx(0.25))  # type: ignore[arg-type]


@every_rule
def test_no_answer_has_no_outlook(rule: Rule) -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        outlook([], [1.0], 10, rule)
