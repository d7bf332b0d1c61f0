"""How long one inference takes, measured so that files can be compared with each other.

Figures of one call belong together: every round asks each classifier once, in an order that
turns from round to round, so that a busy neighbour or a throttling processor meets all of them
alike. What stands in a manifest is right as a ratio, not as what another device will need.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.runtime import Classifier

ROUNDS = 100
WARM_UP_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of one classifier, pixels to probabilities.

    Attributes:
        median_ms: half of its inferences took no longer.
        quartiles_ms: a quarter took no longer than the first, a quarter longer than the second.
        rounds: how many inferences that is of.
    """

    median_ms: float
    quartiles_ms: tuple[float, float]
    rounds: int


def measure(
    classifiers: Mapping[str, Classifier],
    rounds: int = ROUNDS,
    *,
    warm_up_rounds: int = WARM_UP_ROUNDS,
) -> dict[str, Latency]:
    """Return the latency of each classifier, all measured in turns.

    Args:
        classifiers: by name; on one thread each if the figures are to be one-thread latencies.
        rounds: inferences of each that count, at least 1.
        warm_up_rounds: inferences of each before those, while caches and clocks settle.

    Raises:
        ValueError: rounds is below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    names = list(classifiers)
    rng = np.random.default_rng(0)
    pictures = {
        name: rng.uniform(0, 255, (one.resolution, one.resolution, 3)).astype(np.float32)
        for name, one in classifiers.items()
    }
    times_ms: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up_rounds + rounds):
        turn = number % max(1, len(names))
        for name in names[turn:] + names[:turn]:
            started_s = time.perf_counter()
            classifiers[name].classify(pictures[name])
            elapsed_ms = (time.perf_counter() - started_s) * 1000
            if number >= warm_up_rounds:
                times_ms[name].append(elapsed_ms)
    return {name: _latency(times) for name, times in times_ms.items()}


def _latency(times_ms: list[float]) -> Latency:
    first, median, third = np.percentile(times_ms, (25, 50, 75)).tolist()
    return Latency(median, (first, third), len(times_ms))
