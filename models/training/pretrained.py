"""ImageNet weights of MobileNetV2's trunk, from an `.npz` named as in Keras Applications."""

import hashlib
import importlib.resources
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.training.errors import WeightsError
from models.training.network import ConvBatchNorm, InvertedResidual, Variant

Arrays = Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]


def shipped_trunk(width: float) -> Path | None:
    """Return the weights that come with idlesight for that width factor, if there are any."""
    file = Path(str(importlib.resources.files("models"))) / "training" / f"trunk_{width:g}.npz"
    return file if file.is_file() else None


def describe(weights: Path) -> str:
    """Return the file's name and the start of its SHA-256, for a run's records.

    Raises:
        WeightsError: it can't be read.
    """
    try:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as exc:
        raise WeightsError(
            f"{weights} can't be read ({exc.strerror}): give the path of an .npz file"
        ) from exc
    return f"{weights.name} (SHA-256 {digest[:16]}…)"


def load_trunk(variant: Variant, weights: Path) -> None:
    """Fill the variant's trunk with pretrained weights; its head keeps its random start.

    Args:
        variant: a network whose width factor is that of the weights.
        weights: an `.npz` with arrays named `layer/weight`: kernels HWIO, depthwise ones HWC1.

    Raises:
        WeightsError: the file is missing, is no `.npz`, lacks an array or has another shape.
    """
    try:
        with np.load(weights) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as exc:
        raise WeightsError(
            f"{weights} can't be read as pretrained weights ({exc}): "
            "give the path of an .npz file, or train from random weights"
        ) from exc
    for layer, norm, module in _named_layers(variant):
        try:
            _fill(module, arrays, layer, norm)
        except KeyError as exc:
            raise WeightsError(f"{weights} has no array {exc.args[0]!r}") from exc
        except RuntimeError as exc:
            raise WeightsError(
                f"{weights} does not fit width {variant.spec.width:g}: {layer} has another shape"
            ) from exc


def save_trunk(variant: Variant, weights: Path) -> None:
    """Write the variant's trunk as an `.npz` that `load_trunk` reads, in half precision.

    Half is enough to start from and halves what a download or a repository carries.

    Raises:
        WeightsError: the file can't be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for layer, norm, module in _named_layers(variant):
        # The inverse of `_fill`: OIHW -> HWIO, C1HW -> HWC1.
        axes = (2, 3, 0, 1) if layer.endswith("depthwise_kernel") else (2, 3, 1, 0)
        arrays[layer] = module.conv.weight.detach().numpy().transpose(axes)
        arrays[f"{norm}/gamma"] = module.norm.weight.detach().numpy()
        arrays[f"{norm}/beta"] = module.norm.bias.detach().numpy()
        arrays[f"{norm}/moving_mean"] = module.norm.get_buffer("running_mean").numpy()
        arrays[f"{norm}/moving_variance"] = module.norm.get_buffer("running_var").numpy()
    beside = weights.with_suffix(".partial")
    try:
        with beside.open("wb") as stream:
            halves: dict[str, Any] = {k: v.astype(np.float16) for k, v in arrays.items()}
            np.savez_compressed(stream, **halves)
        os.replace(beside, weights)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise WeightsError(f"{weights} can't be written: {exc.strerror}") from exc


def _named_layers(variant: Variant) -> Iterator[tuple[str, str, ConvBatchNorm]]:
    """Yield (Keras' convolution name, its batch norm's name, our module) in order."""
    blocks = list(variant.trunk.children())
    stem = blocks[0]
    assert isinstance(stem, ConvBatchNorm)
    yield "Conv1/kernel", "bn_Conv1", stem
    for index, block in enumerate(blocks[1:]):
        assert isinstance(block, InvertedResidual)
        prefix = "expanded_conv" if index == 0 else f"block_{index}"
        for part, module in block.layers.named_children():
            assert isinstance(module, ConvBatchNorm)
            kernel = "depthwise_kernel" if part == "depthwise" else "kernel"
            yield f"{prefix}_{part}/{kernel}", f"{prefix}_{part}_BN", module


def _fill(module: ConvBatchNorm, arrays: Arrays, layer: str, norm: str) -> None:
    kernel = arrays[layer]
    # HWIO -> OIHW; a depthwise kernel is HWC1, which becomes C1HW.
    axes = (2, 3, 0, 1) if layer.endswith("depthwise_kernel") else (3, 2, 0, 1)
    with torch.no_grad():
        _copy(module.conv.weight, kernel.transpose(axes))
        _copy(module.norm.weight, arrays[f"{norm}/gamma"])
        _copy(module.norm.bias, arrays[f"{norm}/beta"])
        for buffer, name in (("running_mean", "moving_mean"), ("running_var", "moving_variance")):
            _copy(module.norm.get_buffer(buffer), arrays[f"{norm}/{name}"])


def _copy(target: torch.Tensor, source: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    if target.shape != source.shape:
        raise RuntimeError(f"{tuple(source.shape)} for {tuple(target.shape)}")
    target.copy_(torch.from_numpy(np.ascontiguousarray(source)))
