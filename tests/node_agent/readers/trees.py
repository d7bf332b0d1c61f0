"""Trees of small files as the kernel shows them below /sys and /proc."""

from collections.abc import Mapping
from pathlib import Path


def plant(folder: Path, files: Mapping[str, str | int]) -> Path:
    """Write files, each a value with the line end that the kernel adds."""
    for name, value in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return folder
