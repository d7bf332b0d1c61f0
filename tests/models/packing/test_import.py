"""`idlesight-models import`, from the command line to a pack that nodes can serve."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.cli import main
from models.interface import OURS, Interface
from models.pack import load_pack
from models.runtime import Classifier

DATA = Path(__file__).parents[1] / "data"
COLOURS = ("blue", "green", "red")


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    file = tmp_path / "colours.txt"
    file.write_text("\n".join(COLOURS))
    return file


def imported(model: str, labels: Path, out: Path, *options: str) -> int:
    file = str(DATA / f"{model}.tflite")
    named = ["--labels", str(labels), "--name", "foreign", "--out", str(out)]
    return main(["import", file, *named, *options])


@pytest.mark.parametrize("model", ["ranged", "ranged_int8"])
def test_a_foreign_model_becomes_a_pack_that_evaluates(
    model: str,
    striped_folders: Path,
    colours: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "pack"
    assert imported(model, colours, out, "--samples", str(striped_folders)) == 0
    said = capsys.readouterr().out
    assert "60 samples: top-1 100.00%" in said
    assert "output   logits, as the answers to 60 samples show" in said
    pack = load_pack(out)
    (entry,) = pack.manifest.variants
    assert entry.interface.output == "logits"
    assert entry.precision == ("float32" if model == "ranged" else "int8")
    assert (entry.name, entry.resolution) == (model, 32)
    assert entry.validation_accuracy == 1.0
    assert entry.size_bytes == (DATA / f"{model}.tflite").stat().st_size
    assert entry.latency_ms is not None
    assert entry.latency_ms > 0
    scores = Classifier(pack.model(model), interface=entry.interface).classify(
        np.full((32, 32, 3), (178, 20, 20), np.float32)  # strong red is 0.4 of −1 to 1
    )
    assert scores.sum() == pytest.approx(1.0)
    assert pack.labels[scores.argmax()] == "red"
    assert main(["evaluate", str(striped_folders), "--pack", str(out), "--json"]) == 0
    assert '"top_1": 1.0' in capsys.readouterr().out
    assert main(["pack", str(out)]) == 0
    assert "returns logits" in capsys.readouterr().out


def test_unlabelled_samples_are_samples_too(
    striped_folders: Path, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(striped_folders.rglob("*.png"))):
        shutil.copy(file, flat / f"{number}.png")
    assert imported("ranged", colours, tmp_path / "pack", "--samples", str(flat)) == 0
    said = capsys.readouterr().out
    assert "a guess: label the samples to be sure" in said
    assert "tried -1 to 1: " in said
    assert "top-1" not in said
    assert load_pack(tmp_path / "pack").manifest.variants[0].validation_accuracy is None


def test_options_name_the_variant_and_the_range(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--input-range", "-1,1", "--variant", "mine", "--version", "7", "--k", "9")
    assert imported("ranged", colours, tmp_path / "pack", *options) == 0
    assert "-1 to 1, as given" in capsys.readouterr().out
    manifest = load_pack(tmp_path / "pack").manifest
    assert manifest.variants[0].name == "mine"
    assert manifest.variants[0].interface == Interface((-1.0, 1.0), "logits")
    assert (manifest.version, manifest.k, manifest.labels) == ("7", 3, COLOURS)


def test_a_model_of_our_own_convention_says_so(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {number}" for number in range(10)))
    assert imported("tiny", labels, tmp_path / "pack", "--input-range", "0,255") == 0
    assert load_pack(tmp_path / "pack").manifest.variants[0].interface == OURS


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("ranged", (), "give --samples FOLDER, or --input-range"),
        ("ranged", ("--samples", "nowhere"), "nowhere is not a folder"),
        ("ranged", ("--input-range", "1,-1"), "from a lower number to a higher"),
        ("tiny", (), "returns 10 classes, .* has 3 labels"),
        ("channels_first", (), "its channels come first"),
        ("wide", (), "its picture is no square, 48 × 32 pixels"),
        ("two_heads", (), "2 outputs"),
        ("sigmoid", ("--input-range", "0,255"), "do not add to 1"),
        ("absent", (), "absent.tflite cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_sentence_and_no_pack(
    model: str,
    options: tuple[str, ...],
    sentence: str,
    colours: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert imported(model, colours, tmp_path / "pack", *options) == 2
    (said,) = [
        line for line in capfd.readouterr().err.splitlines() if line.startswith("idlesight-models")
    ]
    assert re.search(sentence, said)
    assert not (tmp_path / "pack").exists()


def test_what_is_no_model_is_refused(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    file = tmp_path / "model.tflite"
    file.write_bytes(stream.getvalue())
    arguments = ["import", str(file), "--labels", str(colours), "--name", "x"]
    assert main([*arguments, "--out", str(tmp_path / "pack")]) == 2
    assert "this is not a TFLite model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--name", "a b"], ["--input-range", "-1"], ["--input-range", "a,b"], ["--k", "0"]]
)
def test_impossible_options_are_refused(
    options: list[str], colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        imported("tiny", colours, tmp_path / "pack", *options)
    assert stopped.value.code == 2
    assert "is no" in capsys.readouterr().err


@pytest.mark.shared
def test_a_third_partys_imagenet_classifier_is_right_about_photographs(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for file in sorted((shared / "data" / "imagenet-samples").iterdir())[::10]:
        shutil.copy(file, photographs)
    weights = shared / "weights"
    out = tmp_path / "pack"
    model = weights / "mobilenet_v2_1.0_224_quant.tflite"
    labels = weights / "imagenet_labels_1001.txt"
    arguments = ["import", str(model), "--labels", str(labels), "--name", "imagenet"]
    assert main([*arguments, "--samples", str(photographs), "--out", str(out)]) == 0
    assert "100 samples: top-1" in capsys.readouterr().out
    pack = load_pack(out)
    (entry,) = pack.manifest.variants
    assert len(pack.labels) == len(set(pack.labels)) == 1001
    assert entry.precision == "int8"
    assert entry.interface == Interface((-1.0, 0.9921875), "probabilities")
    assert entry.validation_accuracy is not None
    assert entry.validation_accuracy > 0.7  # its makers say 0.708 of all of ImageNet
    assert main(["evaluate", str(photographs), "--pack", str(out), "--json"]) == 0
    assert f'"top_1": {entry.validation_accuracy}' in capsys.readouterr().out
