"""Temperature scaling: probabilities that mean what they say (Guo et al., arXiv 1706.04599)."""

import torch
from torch import Tensor
from torch.nn import functional

GRID = torch.logspace(-1.0, 1.0, 201)
"""Temperatures tried, 0.1 to 10 in steps of 2.3 %: finer than validation data can tell apart."""


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Return the temperature T for which softmax(logits / T) has the least cross-entropy.

    Args:
        logits: shape (N, C), of pictures that were not trained on.
        targets: shape (N,), their classes.
    """
    losses = torch.stack([functional.cross_entropy(logits / t, targets) for t in GRID])
    return float(GRID[losses.argmin()])
