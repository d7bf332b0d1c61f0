from pathlib import Path

import numpy as np
import pytest

from models.latency import measure
from models.runtime import Classifier, Floats

TINY = (Path(__file__).parent / "data" / "tiny.tflite").read_bytes()


class Counting(Classifier):
    """A classifier that notes when it was asked."""

    def __init__(self, name: str, calls: list[str]) -> None:
        super().__init__(TINY)
        self.name, self.calls = name, calls

    def classify(self, pixels: Floats) -> Floats:
        self.calls.append(self.name)
        return super().classify(pixels)


def test_each_classifier_is_measured_in_turns_after_warming_up() -> None:
    calls: list[str] = []
    found = measure({name: Counting(name, calls) for name in "abc"}, rounds=4, warm_up_rounds=2)
    rounds = ["".join(calls[start : start + 3]) for start in range(0, len(calls), 3)]
    assert rounds == ["abc", "bca", "cab", "abc", "bca", "cab"]
    assert set(found) == set("abc")
    for latency in found.values():
        first, third = latency.quartiles_ms
        assert 0 < first <= latency.median_ms <= third
        assert latency.rounds == 4


def test_one_round_is_its_own_median() -> None:
    (latency,) = measure({"tiny": Classifier(TINY)}, rounds=1, warm_up_rounds=0).values()
    assert latency.quartiles_ms == (latency.median_ms, latency.median_ms)


def test_nothing_to_measure_is_nothing() -> None:
    assert measure({}) == {}


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds"):
        measure({"tiny": Classifier(TINY)}, rounds=0)


def test_pictures_are_the_same_at_every_call() -> None:
    shown: list[Floats] = []

    class Watching(Classifier):
        def classify(self, pixels: Floats) -> Floats:
            shown.append(pixels)
            return super().classify(pixels)

    for _ in range(2):
        measure({"tiny": Watching(TINY)}, rounds=1, warm_up_rounds=0)
    np.testing.assert_array_equal(shown[0], shown[1])
