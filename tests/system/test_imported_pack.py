"""A third party's classifier of 1,001 classes, from `import` to results of a real house."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.cli import main
from models.ensemble import Answer, combine, compress
from models.pack import Pack, load_pack
from models.preprocess import decode_jpeg
from models.runtime import Classifier
from tests.system.conftest import House

pytestmark = [pytest.mark.system, pytest.mark.shared, pytest.mark.mosquitto]

SYNSETS = ("n01614925", "n02124075", "n02391049", "n03100240", "n04285008", "n07753592")


@pytest.fixture(scope="module")
def photographs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An eagle, a cat, a zebra, two cars and a banana."""
    folder = tmp_path_factory.mktemp("photographs")
    for synset in SYNSETS:
        (file,) = (shared / "data" / "imagenet-samples").glob(f"{synset}_*.jpg")
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def imagenet(shared: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    weights, out = shared / "weights", tmp_path_factory.mktemp("packs") / "imagenet"
    model, labels = "mobilenet_v2_1.0_224_quant.tflite", "imagenet_labels_1001.txt"
    arguments = ["import", str(weights / model), "--labels", str(weights / labels)]
    options = ["--name", "imagenet", "--variant", "M1", "--samples", str(photographs)]
    assert main([*arguments, *options, "--out", str(out)]) == 0
    return load_pack(out)


async def test_a_foreign_pack_serves_a_house(
    house: House, imagenet: Pack, photographs: Path
) -> None:
    manifest, entry = imagenet.manifest, imagenet.variant("M1")
    classifier = Classifier(imagenet.model("M1"), interface=entry.interface)
    async with house.listening():
        house.pack = imagenet.path
        await house.start_node("attic")
        await house.start_gateway(
            "--wait-for-nodes", "1",
            source=str(photographs), loop=True, fps=4, deadline_ms=5_000,
        )  # fmt: skip
        results = await house.next_results(len(SYNSETS))
        assert all(len(result.contributors) == 1 for result in results)
        for result in results:
            assert result.contributors[0].variant == "M1"
            jpeg = house.frames[result.frame].jpeg
            scores = classifier.classify(decode_jpeg(jpeg, entry.resolution, entry.input_offset))
            answer = Answer(*compress(scores, manifest.k), entry.weight)
            combined = combine([answer], len(manifest.labels), manifest.rule)
            assert result.label == manifest.labels[int(combined.argmax())]
            assert result.confidence == pytest.approx(float(combined.max()), abs=1e-4)
        right = {result.label for result in results}
        assert {"zebra", "banana"} <= right
        assert max(manifest.labels.index(label or "") for label in right) > 255
        assert await house.end("attic") == 0
        assert await house.end("gateway") == 0
    assert "Traceback" not in house.log("attic") + house.log("gateway")
    assert np.isfinite([result.latency_ms for result in results]).all()
