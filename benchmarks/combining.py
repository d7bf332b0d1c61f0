"""How long combining takes, from answers to one probability a class, and how long being sure."""

import time
from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np

from benchmarks.rows import Row
from broker.codecs import PredictionMessage, body_bytes, encode_prediction
from models.certainty import outlook
from models.ensemble import Answer, combine, top_k
from models.rules import Rule

CALLS = 2000
REPEATS = 7
TARGET_US = 50.0
TARGET_BYTES = 32


def combining(variants: int = 7, class_count: int = 1000, k: int = 2) -> list[Row]:
    """Measure `combine` at the paper's size, one row a rule."""
    rng = np.random.default_rng(0)
    answers = []
    for index in range(variants):
        scores = rng.dirichlet(np.full(class_count, 0.01)).astype(np.float32)
        values, indices = top_k(scores, k)
        answers.append(Answer(values, indices, 1.0 + index))
    size = f"V={variants}, C={class_count}, k={k}"
    return [
        _row(f"combine {size}, rule {rule}", partial(combine, answers, class_count, rule))
        for rule in get_args(Rule)
    ]


def certainty(variants: int = 7, class_count: int = 1000, k: int = 2) -> list[Row]:
    """Measure `outlook` where one answer is missing and the winner certain, its longest way."""
    values = np.array([0.97, *[0.01] * (k - 1)])
    # Agreed on the first class, each with others in the second place.
    answers = [
        Answer(values, np.array([0, *range(1 + index, k + index)]), 1.0)
        for index in range(variants - 1)
    ]
    rows = []
    for rule in get_args(Rule):
        if outlook(answers, [1.0], class_count, rule) is None:
            raise AssertionError("these answers agree: they must be certain")
        rows.append(
            _row(
                f"certain after {variants - 1} of V={variants}, C={class_count}, k={k}, {rule}",
                partial(outlook, answers, [1.0], class_count, rule),
            )
        )
    return rows


def message_size(class_count: int = 256, k: int = 2) -> list[Row]:
    """Count the bytes of a prediction and of its body."""
    message = PredictionMessage(
        session=1, frame=1, model=1, inference_us=1, class_count=class_count,
        indices=tuple(range(k)), values=tuple(0.5 / (1 + index) for index in range(k)),
    )  # fmt: skip
    size = len(encode_prediction(message))
    return [
        Row(
            f"prediction message, C={class_count}, k={k}",
            f"{size} B, body {body_bytes(k, class_count)} B",
            f"≤ {TARGET_BYTES} B",
            size <= TARGET_BYTES,
        )
    ]


def _row(what: str, call: Callable[[], object]) -> Row:
    """Time a call, best of several repeats."""
    best_s = float("inf")
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        for _ in range(CALLS):
            call()
        best_s = min(best_s, time.perf_counter() - began_s)
    microseconds = best_s / CALLS * 1e6
    target = f"≤ {TARGET_US:g} µs"
    return Row(what, f"{microseconds:.1f} µs", target, microseconds <= TARGET_US)
