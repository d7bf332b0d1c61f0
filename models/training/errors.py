"""Errors of training and export.

ModelsError
└── TrainingError
    ├── CheckpointError   a run cannot be resumed from what its folder holds
    ├── WeightsError      the pretrained weights are not those of this network
    ├── ExportError       the exported graph does not do what the network does
    └── QuantizeError     a file cannot be made in another precision
"""

from models.errors import ModelsError


class TrainingError(ModelsError):
    """Root of what goes wrong while training and exporting."""


class CheckpointError(TrainingError):
    """A run cannot be resumed from what its folder holds."""


class WeightsError(TrainingError):
    """The pretrained weights are not those of this network."""


class ExportError(TrainingError):
    """The exported graph does not do what the network does."""


class QuantizeError(TrainingError):
    """A file cannot be made in another precision."""
