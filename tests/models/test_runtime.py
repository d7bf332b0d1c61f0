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
from models.interface import OURS, Interface
from models.runtime import BACKENDS, Classifier, Floats, are_probabilities, load_backend

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
        ("wide", r"takes \(1, 32, 48, 3\).*its picture is no square, 48 × 32 pixels"),
        ("channels_first", r"takes \(1, 3, 32, 32\).*its channels come first"),
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


# Other people's models


def load(name: str, interface: Interface = OURS) -> Classifier:
    return Classifier((DATA / f"{name}.tflite").read_bytes(), interface=interface)


def test_pixels_are_mapped_to_the_models_range_and_logits_to_probabilities() -> None:
    classifier = load("ranged", Interface((-1.0, 1.0), "logits"))
    pixels = picture()
    mean = (pixels / 127.5 - 1).mean((1, 2))[0, ::-1]
    logits = -20 * (mean - 0.4) ** 2
    expected = np.exp(logits) / np.exp(logits).sum()
    assert_allclose(classifier.scores(pixels), logits, rtol=1e-4)
    assert_allclose(classifier.classify(pixels), expected, rtol=1e-4)
    assert classifier.classify(pixels).dtype == np.float32


def test_the_mapping_leaves_the_callers_pixels_alone() -> None:
    pixels = picture()
    kept = pixels.copy()
    for name in ("ranged", "ranged_int8", "tiny", "tiny_int8"):
        load(name, Interface((-1.0, 1.0))).classify(pixels)
    assert_array_equal(pixels, kept)


@pytest.mark.parametrize("name", ["tiny", "ranged"])
def test_a_quantised_model_says_nearly_what_the_float_one_says(name: str) -> None:
    interface = OURS if name == "tiny" else Interface((-1.0, 1.0), "logits")
    exact, rounded = load(name, interface), load(f"{name}_int8", interface)
    for level in (0, 40, 90, 120, 150, 180, 255):
        flat = np.full((32, 32, 3), level, np.float32) * np.array([1.0, 0.9, 0.95], np.float32)
        assert_allclose(rounded.classify(flat), exact.classify(flat), atol=0.05)


def test_a_quantised_inputs_own_range_loses_nothing() -> None:
    own = load("ranged_int8").quantised_range
    assert own is not None
    low, high = own
    # Calibrated on −1 and 1, which 255 steps of 2/255 reach; so each pixel value is one integer.
    assert (low, high) == pytest.approx((-1.0, 1.0), abs=2 / 255)
    classifier = load("ranged_int8", Interface(own))
    levels = {
        float(classifier.scores(np.full((32, 32, 3), level, np.float32))[0])
        for level in range(0, 256, 5)
    }
    assert len(levels) > 10


def test_a_quantised_output_is_in_real_numbers() -> None:
    scores = load("tiny_int8").classify(picture())
    assert scores.dtype == np.float32
    assert_array_equal(scores * 256, np.rint(scores * 256))
    assert scores.sum() == pytest.approx(1, abs=10 / 512)


def test_pixels_beyond_a_quantised_range_are_cut_off() -> None:
    classifier = load("ranged_int8", Interface((-100.0, 100.0)))
    bright = classifier.scores(np.full((32, 32, 3), 255, np.float32))
    assert_array_equal(bright, load("ranged_int8").scores(np.full((32, 32, 3), 255, np.float32)))


def test_uint8_without_a_scale_is_the_pixel_itself() -> None:
    classifier = load("plain_uint8")
    assert classifier.quantised_range == (0.0, 255.0)
    red = classifier.classify(np.full((32, 32, 3), (200, 100, 0), np.float32))
    ratio = np.exp(-100 / 25.5)  # blue, green, red
    assert_allclose(red, np.array([0, ratio, 1]) / (1 + ratio), atol=1e-3)


def test_a_float_input_says_nothing_of_its_range() -> None:
    assert load("tiny").quantised_range is None


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([0.25, 0.25, 0.5], True),
        ([0.25, 0.25, 0.45], True),  # within a float16's rounding and more
        ([0.25, 0.25, 0.1], False),
        ([0.7, 0.7, 0.6], False),
        ([1.5, -0.5, 0.0], False),
        ([3.0, 2.0, 1.0], False),
        ([np.nan, 0.5, 0.5], False),
        ([1 / 256] * 120 + [0.0] * 400, True),  # an 8-bit softmax that rounded most away
        ([1 / 256 + 0.0004] * 120 + [0.0] * 400, False),  # not in steps of 1/256
        ([128 / 256] * 3, False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_probabilities_are_told_from_other_scores(scores: list[float], verdict: bool) -> None:
    assert are_probabilities(np.array(scores, np.float32)) is verdict
    assert are_probabilities(np.array([scores, scores], np.float32)) is verdict
