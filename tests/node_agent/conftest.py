import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from models.pack import FileEntry, Pack, PackManifest, VariantEntry, write_pack

TINY = Path(__file__).parents[1] / "models" / "data" / "tiny.tflite"


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    """A real classifier: 32 × 32 pixels in, 10 probabilities out."""
    return TINY.read_bytes()


@pytest.fixture(scope="session")
def pack(tiny_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """V1 and V2 are the same network in files that differ; V9 is of another shape than it says."""
    models = {"V1": tiny_model, "V2": tiny_model + bytes(16), "V9": tiny_model + bytes(32)}
    variants = tuple(
        VariantEntry(
            name=name,
            file=f"{name}.tflite",
            sha256=hashlib.sha256(model).hexdigest(),
            precision="float32",
            resolution=64 if name == "V9" else 32,
            width=0.35,
            weight=1.0,
            parameters=40,
            macs=1000,
        )
        for name, model in models.items()
    )
    manifest = PackManifest(
        format=1,
        name="tiny",
        version="1",
        labels=tuple(f"class {index}" for index in range(10)),
        rule="residual",
        k=2,
        alpha=1.0,
        variants=variants,
    )
    return write_pack(tmp_path_factory.mktemp("packs") / "tiny", manifest, models)


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def two_precisions(pack: Pack, tmp_path: Path) -> Pack:
    """V1 in float32 and, as a file that differs, int8."""
    other = pack.model("V1") + bytes(64)
    entry = pack.variant("V1").model_copy(
        update={
            "alternatives": (
                FileEntry(
                    file="V1-int8.tflite",
                    sha256=hashlib.sha256(other).hexdigest(),
                    precision="int8",
                ),
            )
        }
    )
    manifest = pack.manifest.model_copy(update={"format": 2, "variants": (entry,)})
    models = {"V1": pack.model("V1")}
    return write_pack(
        tmp_path / "several", manifest, models, alternatives={"V1-int8.tflite": other}
    )


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where agents keep their state: a new folder for each test."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    return folder
