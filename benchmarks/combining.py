"""How long combining takes, from answers to one probability a class."""

import time
from typing import get_args

import numpy as np

from benchmarks.rows import Row
from broker.codecs import PredictionMessage, body_bytes, encode_prediction
from models.ensemble import Answer, combine, top_k
from models.rules import Rule

CALLS = 2000
REPEATS = 7
TARGET_US = 50.0
TARGET_BYTES = 32


def combining(variants: int = 7, class_count: int = 1000, k: int = 2) -> list[Row]:
    """Measure `combine` at the paper's size, best of several repeats, one row a rule."""
    rng = np.random.default_rng(0)
    answers = []
    for index in range(variants):
        scores = rng.dirichlet(np.full(class_count, 0.01)).astype(np.float32)
        values, indices = top_k(scores, k)
        answers.append(Answer(values, indices, 1.0 + index))
    rows = []
    for rule in get_args(Rule):
        best_s = float("inf")
        for _ in range(REPEATS):
            began_s = time.perf_counter()
            for _ in range(CALLS):
                combine(answers, class_count, rule)
            best_s = min(best_s, time.perf_counter() - began_s)
        microseconds = best_s / CALLS * 1e6
        rows.append(
            Row(
                f"combine V={variants}, C={class_count}, k={k}, rule {rule}",
                f"{microseconds:.1f} µs",
                f"≤ {TARGET_US:g} µs",
                microseconds <= TARGET_US,
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
