import contextlib
import importlib
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models.errors import ModelFormatError, ModelShapeError, RuntimeMissingError
from models.runtime import BACKENDS, Classifier, Floats, load_backend

DATA = Path(__file__).parent / "data"
TINY = (DATA / "tiny.tflite").read_bytes()  # 32 pixels, 10 classes


def picture(seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)


def test_classifier_says_what_it_takes_and_returns() -> None:
    classifier = Classifier(TINY)
    assert (classifier.resolution, classifier.class_count) == (32, 10)


def test_classifier_returns_probabilities() -> None:
    scores = Classifier(TINY).classify(picture())
    assert scores.shape == (10,)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert_allclose(scores.sum(), 1, rtol=1e-6)


def test_tiny_model_sees_the_mean_colour() -> None:
    # It averages the picture, so a picture and the flat one of its mean look the same to it.
    classifier = Classifier(TINY)
    flat = np.broadcast_to(picture().mean((1, 2), keepdims=True), (1, 32, 32, 3))
    assert_allclose(
        classifier.classify(picture()), classifier.classify(np.ascontiguousarray(flat)), rtol=1e-4
    )
    assert not np.allclose(classifier.classify(picture()), classifier.classify(picture() * 0))


def test_one_picture_may_lack_the_batch_axis() -> None:
    classifier = Classifier(TINY)
    assert_array_equal(classifier.classify(picture()[0]), classifier.classify(picture()))


def test_scores_are_the_callers_own() -> None:
    classifier = Classifier(TINY)
    first = classifier.classify(picture(1))
    kept = first.copy()
    classifier.classify(picture(2) * 0)
    assert_array_equal(first, kept)
    first[:] = 0
    assert_array_equal(classifier.classify(picture(1)), kept)


def test_several_threads_compute_the_same() -> None:
    one, two = Classifier(TINY), Classifier(TINY, threads=2)
    assert_allclose(one.classify(picture()), two.classify(picture()), rtol=1e-5)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(threads: int) -> None:
    with pytest.raises(ValueError, match="threads"):
        Classifier(TINY, threads=threads)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 3, 32, 32), np.float32),
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((31, 32, 3), np.float32),
        np.zeros((32, 32), np.float32),
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3), np.float64),
    ],
    ids=lambda pixels: f"{pixels.shape} {pixels.dtype}",
)
def test_pixels_of_another_shape_or_type_are_refused(pixels: Floats) -> None:
    with pytest.raises(ValueError, match="pixels are"):
        Classifier(TINY).classify(pixels)


def test_views_of_pixels_are_accepted() -> None:
    mirrored = picture()[:, :, ::-1]
    classifier = Classifier(TINY)
    assert_array_equal(
        classifier.classify(mirrored), classifier.classify(np.ascontiguousarray(mirrored))
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wide", r"takes \(1, 32, 48, 3\)"),
        ("score_map", r"returns \(1, 32, 32, 10\)"),
        ("two_heads", "2 outputs"),
    ],
)
def test_model_of_another_shape_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ModelShapeError, match=reason):
        Classifier((DATA / f"{name}.tflite").read_bytes())


@pytest.mark.parametrize(
    "garbage",
    [b"", b"TFL3", b"\0\0\0\0TFL3", b"\x1c\0\0\0TFL3", b"PK\3\4" + bytes(100), bytes(10_000)],
    ids=repr,
)
def test_what_is_no_model_is_refused_in_one_line(garbage: bytes) -> None:
    with pytest.raises(ModelFormatError) as caught:
        Classifier(garbage[:5000])
    assert "\n" not in str(caught.value)


def test_truncated_model_is_refused() -> None:
    for length in range(0, len(TINY), 97):
        with pytest.raises(ModelFormatError):
            Classifier(TINY[:length])


def test_damaged_model_runs_or_is_refused() -> None:
    rng = random.Random(0)
    for _ in range(200):
        damaged = bytearray(TINY)
        for _ in range(rng.choice((1, 2, 8))):
            damaged[rng.randrange(8, len(TINY))] = rng.randrange(256)
        with contextlib.suppress(ModelFormatError, ModelShapeError):
            Classifier(bytes(damaged))


def test_second_runtime_serves_where_the_first_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = BACKENDS
    fallback = ModuleType(second)
    fallback.Interpreter = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, first, None)
    monkeypatch.setitem(sys.modules, second, fallback)
    assert load_backend() is fallback.Interpreter


def test_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BACKENDS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissingError, match="pip install ai-edge-litert"):
        Classifier(TINY)


def test_first_runtime_is_preferred() -> None:
    assert load_backend() is importlib.import_module(BACKENDS[0]).Interpreter


def test_importing_the_module_loads_no_runtime() -> None:
    code = "import sys, models.runtime; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"ai_edge_litert", "tflite_runtime", "torch"} & set(run.stdout.split())
