"""A pack of two tiny models and pictures of its ten classes, for what reads packs and data."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.manifest import PackManifest, VariantEntry
from models.pack import Pack, write_pack

TINY = Path(__file__).resolve().parents[1] / "data" / "tiny.tflite"
LABELS = tuple(f"class-{index}" for index in range(10))


def tiny_entry(name: str, model: bytes, **changes: object) -> VariantEntry:
    """Return a tiny model as a pack describes it."""
    fields: dict[str, object] = {
        "name": name,
        "file": f"{name}.tflite",
        "sha256": hashlib.sha256(model).hexdigest(),
        "precision": "float32",
        "resolution": 32,
        "width": 0.35,
        "weight": 1.0,
        "parameters": 40,
        "macs": 30,
        "provenance": "5 epochs of the head and 4 of all layers",
    }
    return VariantEntry.model_validate(fields | changes)


@pytest.fixture
def tiny_pack(tmp_path: Path) -> Pack:
    """Two variants of the same network, which see the picture shifted to either side."""
    model = TINY.read_bytes()
    other = model + b"\0"  # another file, another hash, the same graph
    manifest = PackManifest(
        name="cifar10",
        version="3",
        labels=LABELS,
        rule="residual",
        k=2,
        alpha=1.0,
        variants=(
            tiny_entry("V1", model, input_offset=(-0.2, 0.0), weight=0.6),
            tiny_entry("V2", other, input_offset=(0.2, 0.0), macs=90),
        ),
    )
    return write_pack(tmp_path / "tiny-pack", manifest, {"V1": model, "V2": other})


@pytest.fixture
def labelled_pictures(tmp_path: Path) -> Path:
    """Four noisy pictures a class, `<data>/cifar10/test`."""
    rng = np.random.default_rng(11)
    folder = tmp_path / "data" / "cifar10" / "test"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for index in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            pixels[:, :16] //= 1 + index
            Image.fromarray(pixels).save(folder / label / f"{index}.png")
    return folder
