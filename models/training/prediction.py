"""What a network makes of pictures outside training: nothing is augmented."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from models.training.augment import resize
from models.training.machine import Machine
from models.training.network import Variant

EVALUATION_BATCH_SIZE = 250

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


def prepare(pictures: Tensor, network: Variant, machine: Machine) -> Tensor:
    """Return pictures (B, 3, S, S), RGB 0–255, as the network's input (B, 3, ρ, ρ) in [-1, 1]."""
    on_device = pictures.to(machine.device).float()
    return machine.place(network.see(resize(on_device, network.spec.resolution)))


@torch.no_grad()
def predict(network: Variant, pixels: Bytes, machine: Machine | None = None) -> Tensor:
    """Return logits (N, C), on the CPU, of pictures (N, 3, S, S).

    All in float32, as in the exported file.
    """
    machine = machine or Machine()
    network.eval()
    chunks = torch.split(torch.from_numpy(pixels), EVALUATION_BATCH_SIZE)
    return torch.cat([network(prepare(chunk, network, machine)).cpu() for chunk in chunks])


@torch.no_grad()
def trunk_features(
    network: Variant,
    pixels: Bytes,
    machine: Machine,
    on_progress: Callable[[int, int], None],
) -> Tensor:
    """Return the trunk's features (N, F, ρ/32, ρ/32) of pictures (N, 3, S, S) in half precision.

    Half, because V7's of 50,000 pictures are 1 GB.
    """
    parts = []
    chunks = torch.split(torch.from_numpy(pixels), EVALUATION_BATCH_SIZE)
    for done, chunk in enumerate(chunks, start=1):
        with machine.autocast():
            features: Tensor = network.trunk(prepare(chunk, network, machine))
        parts.append(features.half())
        on_progress(done, len(chunks))
    return torch.cat(parts)
