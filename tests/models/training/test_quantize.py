import sys
from pathlib import Path

import numpy as np
import pytest

from models.dataset import Dataset
from models.datasets import TRAIN, read_dataset
from models.errors import ModelFormatError
from models.interface import Interface
from models.pack import load_pack
from models.packing.detection import weights_precision
from models.preprocess import resize
from models.runtime import Classifier, Floats, load_interpreter
from models.training.errors import QuantizeError
from models.training.quantize import quantize, with_short_names

DATA = Path(__file__).parents[1] / "data"
V1 = load_pack().model("V1")


@pytest.fixture(scope="module")
def calibration() -> list[Floats]:
    """Pictures with structure, black and white among them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    patches[:, 0, :2] = np.array([[0], [255]])
    return [resize(Image.fromarray(picture), 96) for picture in patches]


def agreement(model: bytes, pictures: list[Floats]) -> tuple[float, float]:
    """Return the share of equal winners and the largest difference from V1."""
    exact, other = Classifier(V1), Classifier(model)
    answers = [(exact.classify(one), other.classify(one)) for one in pictures]
    same = np.mean([a.argmax() == b.argmax() for a, b in answers])
    return float(same), float(max(np.abs(a - b).max() for a, b in answers))


def test_float16_is_half_as_large_and_says_the_same(calibration: list[Floats]) -> None:
    model = quantize(V1, "float16", [])
    assert weights_precision(model) == "float16"
    assert len(model) < 0.55 * len(V1)
    same, largest = agreement(model, calibration)
    assert same == 1.0
    assert largest < 0.05


def test_int8_computes_in_integers_between_float_pixels_and_float_probabilities(
    calibration: list[Floats],
) -> None:
    model = quantize(V1, "int8", calibration)
    assert weights_precision(model) == "int8"
    assert len(model) < 0.4 * len(V1)
    interpreter = load_interpreter(model)
    for tensor in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        assert tensor["dtype"] is np.float32
    activations = [
        tensor
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] is np.int8 and tuple(tensor["shape"][:3]) == (1, 48, 48)
    ]
    assert activations, "what passes between layers is int8 too"
    same, _ = agreement(model, calibration)
    assert same >= 0.75
    scores = Classifier(model).classify(calibration[0])
    assert scores.sum() == pytest.approx(1, abs=1e-5), "the softmax stays in float32"


def test_white_is_not_cut_off_at_the_input(calibration: list[Floats]) -> None:
    model = quantize(V1, "int8", calibration)
    scales = [
        tensor["quantization"]
        for tensor in load_interpreter(model).get_tensor_details()
        if tensor["dtype"] is np.int8 and tuple(tensor["shape"]) == (1, 96, 96, 3)
    ]
    assert scales
    highest = max((127 - zero) * scale for scale, zero in scales)
    assert highest == pytest.approx(255, rel=0.01)


def test_the_same_input_makes_the_same_file(calibration: list[Floats]) -> None:
    assert quantize(V1, "int8", calibration) == quantize(V1, "int8", calibration)


def test_names_are_short_and_change_no_answer(calibration: list[Floats]) -> None:
    short = with_short_names(V1)
    assert len(short) < len(V1) - 100_000
    np.testing.assert_array_equal(
        Classifier(short).classify(calibration[0]), Classifier(V1).classify(calibration[0])
    )
    assert with_short_names(short) == short
    assert agreement(quantize(short, "int8", calibration), calibration)[0] >= 0.75


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("tiny_int8", "its input is int8: only float32 files are quantised"),
        ("plain_uint8", "its input is uint8"),
    ],
)
def test_what_is_not_float32_is_refused(model: str, reason: str) -> None:
    with pytest.raises(QuantizeError, match=reason):
        quantize((DATA / f"{model}.tflite").read_bytes(), "float16", [])


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelFormatError):
        quantize(b"no model", "float16", [])


def test_a_missing_quantiser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(QuantizeError, match=r"needs ai_edge_quantizer: pip install 'idlesight"):
        quantize(V1, "float16", [])


def test_int8_without_pictures_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one calibration picture"):
        quantize(V1, "int8", [])
    with pytest.raises(ValueError, match="float16 and int8, not float32"):
        quantize(V1, "float32", [])


def test_the_tiny_models_own_colours_survive(striped_folders: Path) -> None:
    stripes: Dataset = read_dataset(striped_folders, TRAIN, 32)
    interface = Interface((-1.0, 1.0), "logits")
    pictures = [
        np.ascontiguousarray(one.transpose(1, 2, 0)[None] / np.float32(127.5) - 1, np.float32)
        for one in stripes.pixels
    ]
    model = quantize((DATA / "ranged.tflite").read_bytes(), "int8", pictures)
    classifier = Classifier(model, interface=interface)
    said = [
        classifier.classify(one.transpose(1, 2, 0).astype(np.float32)).argmax()
        for one in stripes.pixels
    ]
    assert said == stripes.targets.tolist()
