"""Pictures to train on: coloured stripes that any network tells apart, and CIFAR-10's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHEET_COLUMNS = 50
TILE = 32


@pytest.fixture
def striped_folders(tmp_path: Path) -> Path:
    """Three classes of 20 pictures each: noisy red, green and blue ones, 32 px a side."""
    rng = np.random.default_rng(7)
    root = tmp_path / "pictures"
    for channel, label in enumerate(("blue", "green", "red")):
        (root / label).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 120, (TILE, TILE, 3), dtype=np.uint8)
            pixels[:, :, 2 - channel] += 120
            Image.fromarray(pixels).save(root / label / f"{index:02d}.png")
    return root


@pytest.fixture(scope="session")
def cifar10(
    shared: Path,
) -> Callable[[str, int], tuple[np.ndarray, np.ndarray]]:
    """Read (pixels (N, 3, 32, 32), targets (N,)): the first pictures of each CIFAR-10 class."""

    def read(split: str, per_class: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = []
        for sheet in sorted((shared / "data" / "cifar10" / split).iterdir()):
            with Image.open(sheet) as image:
                rgb = np.asarray(image.convert("RGB"))
            for index in range(per_class):
                row, column = divmod(index, SHEET_COLUMNS)
                tile = rgb[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                pixels.append(tile.transpose(2, 0, 1))
        return np.stack(pixels), np.repeat(np.arange(10), per_class)

    return read
