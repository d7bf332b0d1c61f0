"""Write the small TFLite models beside this file; needs the dev extra, run it from this folder.

The committed files are what the tests read, so that no test has to convert anything.
"""

from pathlib import Path

import litert_torch
import torch
from torch import nn

CLASSES = 10
HERE = Path(__file__).parent


class Tiny(nn.Module):
    """The smallest classifier: the picture's mean colour, one linear layer, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:  # (1, ρ, ρ, 3), 0 to 255
        return torch.softmax(self.linear(pixels.mean((1, 2)) / 127.5 - 1), -1)  # (1, CLASSES)


class ScoreMap(nn.Module):
    """No classifier: it returns a map of scores, (1, ρ, ρ, CLASSES)."""

    def __init__(self) -> None:
        super().__init__()
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


def main() -> None:
    square, wide = (1, 32, 32, 3), (1, 32, 48, 3)
    for name, network, shape in (
        ("tiny", Tiny, square),
        ("wide", Tiny, wide),
        ("score_map", ScoreMap, square),
        ("two_heads", TwoHeads, square),
    ):
        torch.manual_seed(0)
        sample = (torch.zeros(shape),)
        litert_torch.convert(network().eval(), sample).export(str(HERE / f"{name}.tflite"))


if __name__ == "__main__":
    main()
