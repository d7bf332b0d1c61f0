"""Write the small TFLite models beside this file; needs the dev extra, run it from this folder.

The committed files are what the tests read, so that no test has to convert anything.
"""

from itertools import product
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import TFLOperationName
from torch import nn

CLASSES = 10
HERE = Path(__file__).parent


class Tiny(nn.Module):
    """The smallest classifier: the picture's mean colour, one linear layer, softmax."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:  # (1, ρ, ρ, 3), 0 to 255
        return torch.softmax(self.linear(pixels.mean((1, 2)) / 127.5 - 1), -1)  # (1, classes)


class ScoreMap(nn.Module):
    """No classifier: it returns a map of scores, (1, ρ, ρ, CLASSES)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.linear(pixels / 127.5 - 1), -1)


class TwoHeads(nn.Module):
    """No classifier: it returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.tiny = Tiny()

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.tiny(pixels), pixels.amax((1, 2))


class Ranged(nn.Module):
    """Somebody else's classifier of strong blue, green and red: it wants −1 to 1, returns logits.

    A class is as likely as its channel is close to 0.4, so other input ranges lead it astray.
    """

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:  # (1, ρ, ρ, 3), −1 to 1
        distance = pixels.mean((1, 2)) - 0.4
        return (distance * distance * -20.0).flip(1)  # (1, 3), blue first


class Sigmoid(nn.Module):
    """A classifier of which several classes may be right at once."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(pixels.mean((1, 2)) / 127.5 - 1)


class ChannelsFirst(nn.Module):
    """A classifier of (1, 3, ρ, ρ)."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.softmax(pixels.mean((2, 3)) / 127.5 - 1, -1)


class Plain(nn.Module):
    """A classifier of uint8 pixels without a scale."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.softmax((pixels.to(torch.float32).mean((1, 2)) / 25.5).flip(1), -1)


def main() -> None:
    square, wide = (1, 32, 32, 3), (1, 32, 48, 3)
    for name, network, shape, dtype in (
        ("tiny", Tiny(), square, torch.float32),
        ("wide", Tiny(), wide, torch.float32),
        ("score_map", ScoreMap(), square, torch.float32),
        ("two_heads", TwoHeads(), square, torch.float32),
        ("many", Tiny(1001), square, torch.float32),
        ("ranged", Ranged(), square, torch.float32),
        ("sigmoid", Sigmoid(), square, torch.float32),
        ("channels_first", ChannelsFirst(), (1, 3, 32, 32), torch.float32),
        ("plain_uint8", Plain(), square, torch.uint8),
    ):
        sample = (torch.zeros(shape, dtype=dtype),)
        litert_torch.convert(network.eval(), sample).export(str(HERE / f"{name}.tflite"))
    for name, low in (("tiny", 0.0), ("ranged", -1.0)):
        (HERE / f"{name}_int8.tflite").write_bytes(fully_int8(HERE / f"{name}.tflite", low))


def fully_int8(file: Path, low: float) -> bytes:
    """Return the model with int8 input and output as well, calibrated on pure colours."""
    high = 255.0 if low == 0.0 else 1.0
    tool = quantizer.Quantizer(str(file))
    tool.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
    # Each picture reaches both ends: the tool averages their extremes.
    colours = [colour for colour in product((low, high), repeat=3) if len(set(colour)) == 2]
    pictures = [{"args_0": np.full((1, 32, 32, 3), colour, np.float32)} for colour in colours]
    return bytes(tool.quantize(tool.calibrate({"serving_default": pictures})).quantized_model)


if __name__ == "__main__":
    main()
