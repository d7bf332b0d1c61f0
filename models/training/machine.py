"""What a run computes with: device, number format and memory layout, chosen by measurement.

None of it belongs to a run's recipe: a run that began on one machine goes on on another.
"""

import contextlib
import ctypes
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.specs import VariantSpec
from models.training.errors import TrainingError
from models.training.network import Variant

STEPS_A_ROUND = 2
ROUNDS = 3
"""Each candidate takes turns in this many rounds, so that a busy moment hits all alike."""

# mallopt(3): what is freed stays with the process. Every step frees and takes the same hundreds
# of megabytes; handed back to the kernel, they come back as page faults, which took a third of
# the time of a step on two cores (measured: 109 pictures a second with, 178 without, V3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEPT_BYTES = 2**31 - 1
TOP_PAD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """How to compute.

    Attributes:
        device: `cpu` or `cuda`.
        dtype: of convolutions and matrix products; weights stay float32 (torch.autocast).
        channels_last: whether activations lie pixel by pixel.
        compiled: whether networks go through torch.compile.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    channels_last: bool = True
    compiled: bool = False

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "channels first"
        name = str(self.dtype).removeprefix("torch.")
        return f"{self.device}, {name}, {layout}" + (", compiled" if self.compiled else "")

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of weights and activations."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, x: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) where and as the networks want them."""
        return x.to(self.device).contiguous(memory_format=self.memory_format)

    def host(self, network: Variant) -> Variant:
        """Move the network's weights to the device, in its layout, and return it."""
        network.to(self.device)
        network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        return network

    def prepared(self, network: nn.Module) -> nn.Module:
        """Return what to call in place of the network: itself, or its compiled form."""
        return torch.compile(network) if self.compiled else network  # type: ignore[return-value]

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Return the context in which networks are called."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one way of computing trains."""

    machine: Machine
    pictures_per_s: float


def pick_device(name: str) -> str:
    """Return `cuda` where there is one and `auto` or it was asked for, else `cpu`.

    Raises:
        TrainingError: `cuda` was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise TrainingError("there is no CUDA device that PyTorch can use: train with --device cpu")
    return "cuda" if available and name != "cpu" else "cpu"


def candidates(device: str, dtypes: Sequence[torch.dtype]) -> list[Machine]:
    """Return the ways to compute that are worth measuring on a device."""
    layouts = (True,) if device == "cuda" else (True, False)
    return [Machine(device, dtype, channels_last=layout) for dtype in dtypes for layout in layouts]


def measure(
    machines: Sequence[Machine], spec: VariantSpec, class_count: int, batch_size: int
) -> list[Speed]:
    """Return how fast each way trains the variant, the fastest first.

    Every way does the same steps on the same made pictures, in turns; its best round counts.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(batch_size, 3, spec.resolution, spec.resolution, generator=generator)
    targets = torch.randint(0, class_count, (batch_size,), generator=generator)
    best_s = dict.fromkeys(machines, float("inf"))
    with torch.random.fork_rng(devices=[]):
        networks = {one: one.host(Variant(spec, class_count)).train() for one in machines}
    prepared = {one: one.prepared(network) for one, network in networks.items()}
    for round_ in range(ROUNDS + 1):  # the first is to warm up
        for one in machines:
            x, y = one.place(pictures), targets.to(one.device)
            began_s = time.perf_counter()
            for _ in range(STEPS_A_ROUND):
                with one.autocast():
                    loss = functional.cross_entropy(prepared[one](x), y)
                loss.backward()  # type: ignore[no-untyped-call]
            if one.device == "cuda":
                torch.cuda.synchronize()
            if round_:
                best_s[one] = min(best_s[one], time.perf_counter() - began_s)
    speeds = [Speed(one, STEPS_A_ROUND * batch_size / seconds) for one, seconds in best_s.items()]
    return sorted(speeds, key=lambda speed: speed.pictures_per_s, reverse=True)


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed for the next step; return whether it does.

    Only glibc has this; elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held at once."""
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many CPU threads within the context; None leaves PyTorch's choice."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
