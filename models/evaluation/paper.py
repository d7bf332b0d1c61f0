"""What the paper reports, as data: the figures that ours stand beside.

Source: "Variant Parallelism: Lightweight Deep Convolutional Models for Distributed Inference on
IoT Devices", arXiv 2210.08376; table numbers are the paper's. Accuracies are top-1 in percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

SOURCE: Final = "[arXiv 2210.08376](https://arxiv.org/abs/2210.08376)"

BASELINE_NAME: Final = "MobileNetV2"
HEAD_EPOCHS: Final = 30
"""Of training with all but the last two convolutions frozen (IV-B)."""

ALL_LAYERS_EPOCHS: Final = 105
"""Of training all layers: 135 in all (IV-B)."""

DEFAULT_K: Final = 2
LARGEST_COST_OF_K_POINTS: Final = 0.5
"""k = 2 costs less than that against whole vectors."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A row of Table II.

    Attributes:
        parameters: as printed, so rounded.
        million_macs: as printed.
        class_count: C, which parameters depend on; 101 reproduces the width-0.35 rows.
    """

    parameters: float
    million_macs: float
    class_count: int


@dataclass(frozen=True, slots=True)
class TabletLatency:
    """A row of Table VII, measured on a tablet."""

    latency_ms: float
    speed_up: float


@dataclass(frozen=True, slots=True)
class EnsembleClaim:
    """What the paper says of an ensemble, in words: it prints no figure.

    Attributes:
        variants: whose answers are combined.
        claim: what is said of them.
        reference_percent: the baseline's accuracy, which the claim refers to.
    """

    variants: tuple[str, ...]
    claim: str
    reference_percent: float


TABLE_II: Final[Mapping[str, Cost]] = MappingProxyType(
    {
        "V1": Cost(320e3, 10, 101),
        "V2": Cost(330e3, 17, 101),
        "V3": Cost(340e3, 27, 101),
        "V4": Cost(360e3, 40, 101),
        "V5": Cost(370e3, 54, 101),
        "V6": Cost(390e3, 71, 101),
        "V7": Cost(410e3, 112, 101),
        "Vim1": Cost(1.15e6, 17, 1000),
        "Vim2": Cost(1.3e6, 30, 1000),
        "Vim3": Cost(1.45e6, 47, 1000),
        "Vim4": Cost(1.59e6, 69, 1000),
        "Vim5": Cost(1.75e6, 95, 1000),
        "Vim6": Cost(1.9e6, 125, 1000),
        "Vim7": Cost(1.97e6, 196, 1000),
        BASELINE_NAME: Cost(2.27e6, 300, 10),
    }
)
"""Parameters and multiply-accumulates."""


def _family(*percents: float, prefix: str = "V") -> Mapping[str, float]:
    """Return a row of Table VI: the baseline's accuracy, then the variants' in their order."""
    baseline, *variants = percents
    named = {f"{prefix}{index}": percent for index, percent in enumerate(variants, start=1)}
    return MappingProxyType({BASELINE_NAME: baseline} | named)


TABLE_VI: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "cifar10": _family(95.16, 91.76, 93.07, 93.81, 94.43, 94.62),
        "cifar100": _family(80.51, 69.62, 73.57, 74.46, 74.67, 75.20),
        "mnist": _family(99.37, 99.38, 99.41, 99.41, 99.42, 99.46),
        "fashion-mnist": _family(94.41, 93.38, 94.16, 94.60, 94.67, 94.55),
        "svhn": _family(95.52, 93.81, 95.16, 95.34, 95.89, 95.91),
        "food101": _family(79.68, 58.78, 65.35, 70.13, 71.43, 74.23, 74.64, 75.79),
        "imagenet": _family(67.5, 48.8, 54.7, 57.9, 61.0, 62.25, 63.2, 64.9, prefix="Vim"),
    }
)
"""Top-1 of each variant alone, by data set; a pack's name is looked up here."""

TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cifar10": "CIFAR-10",
        "cifar100": "CIFAR-100",
        "mnist": "MNIST",
        "fashion-mnist": "Fashion-MNIST",
        "svhn": "SVHN",
        "food101": "Food-101",
        "imagenet": "ImageNet",
    }
)
"""The data sets' own names."""

ENSEMBLE_CLAIMS: Final[Mapping[str, tuple[EnsembleClaim, ...]]] = MappingProxyType(
    {
        "cifar10": (
            EnsembleClaim(("V1", "V2", "V3"), "about equals MobileNetV2", 95.16),
            EnsembleClaim(("V1", "V2", "V3", "V4", "V5"), "exceeds MobileNetV2", 95.16),
        ),
        "cifar100": (
            EnsembleClaim(("V1", "V2", "V3", "V4", "V5"), "about equals MobileNetV2", 80.51),
        ),
        "food101": (
            EnsembleClaim(("V1", "V2", "V3", "V4", "V5", "V6"), "about equals MobileNetV2", 79.68),
        ),
        "imagenet": (
            EnsembleClaim(
                ("Vim1", "Vim2", "Vim3", "Vim4", "Vim5", "Vim6"), "about equals MobileNetV2", 67.5
            ),
        ),
    }
)

TABLE_VII: Final[Mapping[str, TabletLatency]] = MappingProxyType(
    {
        "V1": TabletLatency(17, 13.2),
        "V2": TabletLatency(26.5, 8.6),
        "V3": TabletLatency(38, 5.9),
        "V4": TabletLatency(53, 4.2),
        "V5": TabletLatency(71, 3.2),
        "V6": TabletLatency(91, 2.5),
        BASELINE_NAME: TabletLatency(226, 1.0),
    }
)
"""Latency on a tablet; V7 was not measured there."""

TARGET_SPEED_UPS: Final[Mapping[str, float]] = MappingProxyType(
    {"V1": 14.0, "V2": 9.5, "V3": 6.5, "V4": 4.6, "V5": 3.5, "V6": 2.7, "V7": 1.8}
)
"""This project's own goals against MobileNetV2 1.0 at 224 px, one thread: above the paper's."""
