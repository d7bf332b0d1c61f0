"""The variant as a PyTorch network, built from its specification (paper Table I, Fig. 3)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.specs import Bottleneck, VariantSpec

BATCH_NORM_EPSILON = 1e-3
"""Keras' value for MobileNetV2, which the pretrained weights were made with."""

BATCH_NORM_MOMENTUM = 0.01
"""Weight of the newest batch in the moving statistics (Keras' 0.99 the other way round)."""


class ConvBatchNorm(nn.Module):
    """Convolution, batch normalisation and, unless linear, ReLU6.

    A stride of 2 pads the bottom and the right by one pixel, as TensorFlow does for even inputs;
    with symmetric padding the pretrained kernels would look half a pixel off.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.pads_bottom_right = stride == 2
        padding = 0 if self.pads_bottom_right else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM)
        self.activation = nn.Identity() if linear else nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations of `x` (B, inputs, H, W)."""
        if self.pads_bottom_right:
            x = functional.pad(x, (0, 1, 0, 1))  # (B, C, H + 1, W + 1)
        activations: Tensor = self.activation(self.norm(self.conv(x)))
        return activations


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; add the input where the shapes agree."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        inner = block.expanded_channels
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if block.expands:
            layers["expand"] = ConvBatchNorm(block.input_channels, inner)
        layers["depthwise"] = ConvBatchNorm(
            inner, inner, kernel=3, stride=block.stride, groups=inner
        )
        layers["project"] = ConvBatchNorm(inner, block.output_channels, linear=True)
        self.layers = nn.Sequential(layers)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for `x` (B, input_channels, H, W)."""
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class Head(nn.Module):
    """1x1 convolution to 64·j channels, global max pool, 1x1 convolution to C logits."""

    def __init__(self, spec: VariantSpec, class_count: int) -> None:
        super().__init__()
        self.features = ConvBatchNorm(spec.feature_channels, spec.head_channels)
        self.classifier = nn.Conv2d(spec.head_channels, class_count, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of trunk features (B, feature_channels, ρ/32, ρ/32)."""
        x = self.features(x)  # (B, 64j, ρ/32, ρ/32)
        x = x.amax((2, 3), keepdim=True)  # (B, 64j, 1, 1); AdaptiveMaxPool2d has no TFLite lowering
        logits: Tensor = self.classifier(x).flatten(1)
        return logits  # (B, C)


class Variant(nn.Module):
    """One variant: the trunk, which every variant of a width shares in shape, and its own head.

    Args:
        spec: what tells it from others.
        class_count: C.
        detail: the side, in pixels, of the pictures it learns from where they are much smaller
            than its input; see `limit_detail`. 0 for no limit.
    """

    def __init__(self, spec: VariantSpec, class_count: int, detail: int = 0) -> None:
        super().__init__()
        self.detail = detail
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        blocks["stem"] = ConvBatchNorm(3, spec.stem_channels, kernel=3, stride=2)
        for index, block in enumerate(spec.bottlenecks):
            blocks[f"block_{index}"] = InvertedResidual(block)
        self.spec = spec
        self.trunk = nn.Sequential(blocks)
        self.head = Head(spec, class_count)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of pictures (B, 3, ρ, ρ) scaled to [-1, 1]."""
        logits: Tensor = self.head(self.trunk(x))
        return logits

    def see(self, pixels: Tensor) -> Tensor:
        """Return RGB values 0–255 (B, 3, ρ, ρ) as the network wants them, in [-1, 1]."""
        return normalise(limit_detail(pixels, self.detail))


def limit_detail(pictures: Tensor, detail: int) -> Tensor:
    """Return pictures (B, 3, ρ, ρ) with no more detail than ones of `detail` pixels a side have.

    A network that learned from small pictures, enlarged, has never seen a sharp edge, and what a
    camera shows is full of them: sharpness itself becomes a sign of whichever class had the
    larger pictures. So both see the same: whole blocks of pixels are averaged, then enlarged.
    """
    factor = pictures.shape[-1] // detail if detail else 1
    if factor < 2:
        return pictures
    size = pictures.shape[-2:]
    averaged = functional.avg_pool2d(pictures, factor)  # (B, 3, ρ // factor, ρ // factor)
    return functional.interpolate(averaged, size=size, mode="bilinear", align_corners=False)


def normalise(pixels: Tensor) -> Tensor:
    """Return RGB values 0–255 scaled to [-1, 1], the range the pretrained trunk expects."""
    return pixels / 127.5 - 1.0


class DeployedVariant(nn.Module):
    """What goes into the `.tflite` file: pixels in, probabilities out.

    Args:
        variant: the trained network.
        temperature: divides the logits; found on validation data so that a probability of 0.8 is
            right eight times in ten (Guo et al., arXiv 1706.04599).
    """

    def __init__(self, variant: Variant, temperature: float = 1.0) -> None:
        super().__init__()
        self.variant = variant
        self.temperature = temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """Return probabilities (B, C) of RGB pixels 0–255 (B, ρ, ρ, 3)."""
        x = self.variant.see(pixels.permute(0, 3, 1, 2))  # (B, 3, ρ, ρ)
        return torch.softmax(self.variant(x) / self.temperature, dim=-1)
