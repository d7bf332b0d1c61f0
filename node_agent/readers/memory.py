"""How much memory programs could still get without paging, from /proc/meminfo or psutil."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KIB_PER_MIB: Final = 1024
_LINE: Final = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """The device's memory in MiB."""

    available_mib: float
    total_mib: float


def read_memory(proc: Path) -> Memory | None:
    """Return the memory that a /proc tells of, or what psutil tells where there is none."""
    try:
        text = (proc / "meminfo").read_text()
    except FileNotFoundError:
        return None if proc.is_dir() else _read_psutil()
    except OSError:
        return None
    found = {name: int(kib) / _KIB_PER_MIB for name, kib in _LINE.findall(text)}
    if len(found) < 2:  # MemAvailable came with Linux 3.14
        return None
    return Memory(found["MemAvailable"], found["MemTotal"])


def _read_psutil() -> Memory | None:
    import psutil

    try:
        memory = psutil.virtual_memory()
    except (OSError, psutil.Error):
        return None
    return Memory(memory.available / 2**20, memory.total / 2**20)
