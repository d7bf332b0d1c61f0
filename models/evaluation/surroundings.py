"""What something was measured on: processor, system and versions, in general terms."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = ("idlesight", "numpy", "pillow", "litert-torch", "torch")


def surroundings() -> list[tuple[str, str]]:
    """Return (what, which) for the report's preface; what is not known is left out."""
    found = [
        ("date", datetime.now(UTC).date().isoformat()),
        ("processor", f"{processor()}, {os.cpu_count()} cores"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("TFLite runtime", runtime_version()),
    ]
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return [*found, ("packages", ", ".join(versions))]


def runtime_version() -> str:
    """Return the TFLite runtime's name and version."""
    for name in ("ai-edge-litert", "tflite-runtime"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "no TFLite runtime"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model as the kernel names it; its architecture where it does not."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        # ARM kernels name the board ("Model") and no processor.
        if name.strip().lower() in ("model name", "model") and not value.strip().isdigit():
            return value.strip()
    return platform.machine()
