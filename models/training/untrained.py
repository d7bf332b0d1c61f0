"""Networks with random weights as `.tflite` files: enough to time them, and nothing else.

How long a network takes depends on its shape alone, as long as its numbers have a usual size: a
network whose activations fade to denormal numbers is slower than any trained one.
"""

import torch
from torch import Tensor, nn

from models.specs import BASELINE, VariantSpec
from models.training.export import convert
from models.training.network import ConvBatchNorm, DeployedVariant, Variant

SETTLING_PICTURES = 8


class AveragingHead(nn.Module):
    """MobileNetV2's own head: 1x1 convolution, global average pool, fully connected."""

    def __init__(self, spec: VariantSpec, class_count: int) -> None:
        super().__init__()
        self.features = ConvBatchNorm(spec.feature_channels, spec.head_channels)
        self.classifier = nn.Linear(spec.head_channels, class_count)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of trunk features (B, feature_channels, ρ/32, ρ/32)."""
        x = self.features(x).mean((2, 3))  # (B, head_channels)
        logits: Tensor = self.classifier(x)
        return logits  # (B, C)


class MobileNetV2(Variant):
    """MobileNetV2 1.0 as published (arXiv 1801.04381), on the trunk that the variants have too."""

    def __init__(self, class_count: int) -> None:
        super().__init__(BASELINE, class_count)
        self.head = AveragingHead(BASELINE, class_count)  # type: ignore[assignment]


def random_network(spec: VariantSpec, class_count: int, seed: int = 0) -> Variant:
    """Return the network with random weights and activations of the usual size, to be run only."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    network = MobileNetV2(class_count) if spec == BASELINE else Variant(spec, class_count)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain mean: one batch sets the statistics
    with torch.no_grad():
        network.train()(torch.randn(SETTLING_PICTURES, 3, spec.resolution, spec.resolution))
    torch.set_rng_state(generator_state)
    return network.eval()


def random_model(spec: VariantSpec, class_count: int) -> bytes:
    """Return such a network as a `.tflite` file, made as a trained one is."""
    deployed = DeployedVariant(random_network(spec, class_count)).eval()
    return convert(deployed, spec.resolution)
