"""The variant family: MobileNetV2 cut down along resolution, head width and width factor.

A specification is enough to build the network, count its parameters and count its
multiply-accumulates; nothing here needs a framework (paper III-B, Tables I and II).
"""

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

HEAD_CHANNEL_UNIT: Final = 64
"""The last 1x1 convolution has 64·j filters (Table I)."""

STEM_CHANNELS: Final = 32

RESOLUTIONS: Final = (96, 128, 160, 192, 224, 256, 320)
"""ρ of variant 1…7 in pixels, the same in both families (Table II)."""

_SEEDED_NAME: Final = re.compile(r"(?P<variant>\w+)(-s(?P<seed>[1-9]\d?))?")

CHANNEL_DIVISOR: Final = 8
"""MobileNetV2 rounds every width to a multiple of 8 (arXiv 1801.04381, reference code)."""


@dataclass(frozen=True, slots=True)
class BottleneckRow:
    """One row of Table I: `repeats` inverted residuals, the first of them with `stride`."""

    expansion: int
    channels: int
    repeats: int
    stride: int


ROWS: Final = (
    BottleneckRow(1, 16, 1, 1),
    BottleneckRow(6, 24, 2, 2),
    BottleneckRow(6, 32, 3, 2),
    BottleneckRow(6, 64, 4, 2),
    BottleneckRow(6, 96, 3, 1),
    BottleneckRow(6, 160, 3, 2),
    BottleneckRow(6, 320, 1, 1),
)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """One inverted residual: 1x1 expand, 3x3 depthwise with `stride`, 1x1 project."""

    input_channels: int
    expanded_channels: int
    output_channels: int
    stride: int

    @property
    def expands(self) -> bool:
        """Whether there is an expanding convolution (the first block has none)."""
        return self.expanded_channels != self.input_channels

    @property
    def residual(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.input_channels == self.output_channels


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """What tells one variant from another.

    Attributes:
        name: the paper's name, such as `V1` or `Vim3`.
        resolution: side ρ of the square input in pixels; a multiple of 32.
        width: MobileNetV2's width factor d.
        head_channels: filters of the last 1x1 convolution before the pool, 64·j.
    """

    name: str
    resolution: int
    width: float
    head_channels: int

    @property
    def stem_channels(self) -> int:
        """Filters of the first 3x3 convolution."""
        return round_channels(STEM_CHANNELS * self.width)

    @property
    def feature_channels(self) -> int:
        """Channels of the trunk's last feature map, which is ρ/32 on a side."""
        return self.bottlenecks[-1].output_channels

    @property
    def bottlenecks(self) -> tuple[Bottleneck, ...]:
        """The 17 inverted residuals of Table I, in order."""
        blocks: list[Bottleneck] = []
        channels = self.stem_channels
        for row in ROWS:
            output = round_channels(row.channels * self.width)
            for index in range(row.repeats):
                stride = row.stride if index == 0 else 1
                blocks.append(Bottleneck(channels, channels * row.expansion, output, stride))
                channels = output
        return tuple(blocks)


def spec_of(name: str) -> VariantSpec:
    """Return the specification of a variant by its name, such as `V3` or `V3-s2`.

    `-s2` names the same network trained from another seed: for more devices than variants.

    Raises:
        KeyError: there is no such variant.
    """
    match = _SEEDED_NAME.fullmatch(name)
    if match is None:
        raise KeyError(name)
    return replace(VARIANTS[match["variant"]], name=name)


def seed_of(name: str) -> int:
    """Return which of its seeds a variant is trained from: 2 for `V3-s2`, 0 for `V3`."""
    match = _SEEDED_NAME.fullmatch(name)
    return int(match["seed"] or 0) if match else 0


def round_channels(channels: float) -> int:
    """Return `channels` rounded to a multiple of 8 that loses at most 10 % of it."""
    rounded = max(
        CHANNEL_DIVISOR,
        int(channels + CHANNEL_DIVISOR / 2) // CHANNEL_DIVISOR * CHANNEL_DIVISOR,
    )
    return rounded + CHANNEL_DIVISOR if rounded < 0.9 * channels else rounded


def parameters(spec: VariantSpec, class_count: int) -> int:
    """Return how many numbers the network stores for `class_count` classes.

    Batch normalisation counts four a channel (scale, shift, mean, variance), as Keras does.
    Table II's width-0.35 rows count so: with 101 classes V1 comes out as 317,381.
    """
    return sum(inputs * filters + 4 * filters for inputs, filters in _batch_normed(spec)) + (
        spec.head_channels * class_count + class_count
    )


def trainable_parameters(spec: VariantSpec, class_count: int) -> int:
    """Return how many of `parameters` training changes: all but the moving mean and variance.

    Table II's width-0.5 rows count so: with 1000 classes Vim1 comes out as 1,150,632.
    """
    moving_statistics = sum(2 * filters for _, filters in _batch_normed(spec))
    return parameters(spec, class_count) - moving_statistics


def macs(spec: VariantSpec, class_count: int) -> int:
    """Return the multiply-accumulates of one inference (convolutions only, as in Table II)."""
    side = spec.resolution // 2
    total = side * side * 3 * 3 * 3 * spec.stem_channels
    for block in spec.bottlenecks:
        if block.expands:
            total += side * side * block.input_channels * block.expanded_channels
        side //= block.stride
        total += side * side * 3 * 3 * block.expanded_channels
        total += side * side * block.expanded_channels * block.output_channels
    total += side * side * spec.feature_channels * spec.head_channels
    return total + spec.head_channels * class_count


def _batch_normed(spec: VariantSpec) -> list[tuple[int, int]]:
    """Return (weights per filter, filters) of every convolution that batch norm follows."""
    convolutions = [(3 * 3 * 3, spec.stem_channels)]
    for block in spec.bottlenecks:
        if block.expands:
            convolutions.append((block.input_channels, block.expanded_channels))
        convolutions.append((3 * 3, block.expanded_channels))
        convolutions.append((block.expanded_channels, block.output_channels))
    convolutions.append((spec.feature_channels, spec.head_channels))
    return convolutions


def _family() -> dict[str, VariantSpec]:
    """V1…V7 with j = 3 + i, then Vim1…Vim7, the ImageNet family, with j = min(7 + 2i, 20)."""
    numbered = list(enumerate(RESOLUTIONS, start=1))
    small = [VariantSpec(f"V{i}", rho, 0.35, HEAD_CHANNEL_UNIT * (3 + i)) for i, rho in numbered]
    large = [
        VariantSpec(f"Vim{i}", rho, 0.5, HEAD_CHANNEL_UNIT * min(7 + 2 * i, 20))
        for i, rho in numbered
    ]
    return {spec.name: spec for spec in small + large}


VARIANTS: Final = MappingProxyType(_family())
"""Every variant of the paper by name."""

BASELINE: Final = VariantSpec("MobileNetV2", 224, 1.0, 1280)
"""MobileNetV2 1.0 at 224 px, which the paper compares with; its head ends in an average pool."""
