from pathlib import Path

import numpy as np
import pytest

from models.dataset import Dataset
from models.datasets import TRAIN, read_dataset
from models.errors import InterfaceError, ModelShapeError
from models.interface import OURS, Interface
from models.packing.detection import (
    RANGES,
    detect,
    information_bits,
    made_pictures,
    scores,
    weights_precision,
)

DATA = Path(__file__).parents[1] / "data"


def model(name: str) -> bytes:
    return (DATA / f"{name}.tflite").read_bytes()


@pytest.fixture
def stripes(striped_folders: Path) -> Dataset:
    return read_dataset(striped_folders, TRAIN, 32)


def test_labelled_samples_tell_the_input_range(stripes: Dataset) -> None:
    found = detect(model("ranged"), list(stripes.pixels), stripes.targets)
    assert found.interface == Interface((-1.0, 1.0), "logits")
    assert (found.range_from, found.output_from) == ("accuracy", "samples")
    top_1 = {trial.input_range: trial.top_1 for trial in found.trials}
    assert list(top_1) == list(RANGES)
    assert top_1[-1.0, 1.0] == 1.0
    assert max(top_1[0.0, 255.0] or 0, top_1[0.0, 1.0] or 0) < 0.5


def test_unlabelled_samples_tell_it_by_what_the_answers_say() -> None:
    # Flat colours of all kinds. Our own range in [0, 1] or [−1, 1] looks the same to this model,
    # as if every picture were black; so its answers say nothing of them.
    rng = np.random.default_rng(0)
    flat = [np.broadcast_to(c, (3, 8, 8)) for c in rng.integers(0, 256, (40, 3, 1, 1), np.uint8)]
    found = detect(model("tiny"), flat, None)
    assert found.interface == OURS
    assert found.range_from == "information"
    assert all(trial.top_1 is None for trial in found.trials)


def test_a_quantised_input_says_its_range_itself() -> None:
    found = detect(model("ranged_int8"), [], None)
    assert (found.range_from, found.output_from) == ("file", "made")
    assert found.interface.input_range == pytest.approx((-1.0, 1.0), abs=2 / 255)
    assert found.interface.output == "logits"
    assert found.trials == ()


def test_quantised_pixels_without_a_scale_are_pixels() -> None:
    found = detect(model("plain_uint8"), [], None)
    assert found.interface == OURS


def test_made_pictures_tell_the_output() -> None:
    found = detect(model("tiny"), [], None, input_range=(0.0, 255.0))
    assert found.interface == OURS
    assert (found.range_from, found.output_from) == ("given", "made")


def test_what_a_person_says_wins(stripes: Dataset) -> None:
    found = detect(
        model("ranged"),
        list(stripes.pixels),
        stripes.targets,
        input_range=(0.0, 1.0),
        output="logits",
    )
    assert found.interface == Interface((0.0, 1.0), "logits")
    assert (found.range_from, found.output_from) == ("given", "given")
    quantised = detect(model("tiny_int8"), [], None, input_range=(0.0, 1.0))
    assert quantised.interface.input_range == (0.0, 1.0)


def test_the_range_of_a_float_input_needs_pictures() -> None:
    with pytest.raises(InterfaceError, match="give --samples FOLDER, or --input-range"):
        detect(model("tiny"), [], None)


def test_several_right_classes_at_once_are_no_classifier(stripes: Dataset) -> None:
    with pytest.raises(InterfaceError, match=r"do not add to 1.*--output logits"):
        detect(model("sigmoid"), list(stripes.pixels), stripes.targets)
    said = detect(model("sigmoid"), list(stripes.pixels), stripes.targets, output="logits")
    assert said.interface.output == "logits"


def test_logits_are_not_taken_for_probabilities() -> None:
    with pytest.raises(InterfaceError, match="are no probabilities"):
        detect(model("ranged_int8"), [], None, output="probabilities")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("channels_first", "channels come first"),
        ("wide", "no square, 48 × 32 pixels"),
        ("two_heads", "2 outputs"),
        ("score_map", "returns"),
    ],
)
def test_what_is_no_classifier_of_square_pictures_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ModelShapeError, match=reason):
        detect(model(name), [], None)


def test_scores_are_what_the_model_itself_says() -> None:
    white = [np.full((3, 32, 32), 255, np.uint8)]
    said = scores(model("ranged"), white, Interface((-1.0, 1.0), "logits"))
    np.testing.assert_allclose(said, [[-7.2, -7.2, -7.2]], rtol=1e-4)  # −20 · (1 − 0.4)²


def test_information_is_none_where_all_answers_agree_or_are_flat() -> None:
    sure = np.eye(4, dtype=np.float32)
    assert information_bits(sure) == pytest.approx(2.0)
    assert information_bits(sure[[0, 0, 0]]) == pytest.approx(0.0)
    assert information_bits(np.full((5, 4), 0.25, np.float32)) == pytest.approx(0.0)


def test_made_pictures_are_the_same_every_time_and_differ_among_themselves() -> None:
    first, second = made_pictures(), made_pictures()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({picture.tobytes() for picture in first}) == len(first)


@pytest.mark.parametrize(
    ("name", "precision"), [("tiny", "float32"), ("tiny_int8", "int8"), ("ranged_int8", "int8")]
)
def test_the_narrowest_tensors_name_the_precision(name: str, precision: str) -> None:
    assert weights_precision(model(name)) == precision
