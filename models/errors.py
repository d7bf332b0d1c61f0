"""Errors of the models package, one for each situation a caller can meet.

ModelsError
├── PackError                  a pack cannot be used
│   ├── PackNotFoundError      there is no pack at that path
│   ├── PackFormatError        its pack.json is not a valid manifest
│   ├── PackFileError          one of its files is missing, unsafe, too large or altered
│   ├── PackWriteError         it cannot be written there
│   ├── VariantNotFoundError   it has no variant of that name
│   └── PrecisionNotFoundError  its variant does not come in that precision
├── RuntimeMissingError        no TFLite runtime is installed
├── ModelFormatError           the bytes are not a TFLite model that the runtime can load
├── ModelShapeError            the model takes or returns another shape than a variant does
├── DecodeError                the bytes are not a JPEG that can be decoded
├── PictureError               a picture of a data set cannot be decoded; it is left out
├── DatasetError               the labelled pictures cannot be used
│   └── DataMapError           the file that says which classes make up which labels is not valid
├── LabelsError                the file of labels cannot be used, or not for this model
├── InterfaceError             what a model takes or returns cannot be told
└── YamlFileError              a YAML file that somebody wrote cannot be used

Every message is one sentence fit for a person: what is wrong, and what to do where that is known.
"""

from collections.abc import Sequence
from pathlib import Path


class ModelsError(Exception):
    """Root of everything that models raises on purpose."""


class PackError(ModelsError):
    """A pack cannot be used.

    Attributes:
        path: the pack's directory or zip file.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"the pack {path}: {problem}")
        self.path = path
        self.problem = problem


class PackNotFoundError(PackError):
    """There is no pack at that path."""


class PackFormatError(PackError):
    """The pack's manifest is not valid."""


class PackFileError(PackError):
    """One of the pack's files is missing, unsafe, too large or altered.

    Attributes:
        file: the file's name within the pack.
    """

    def __init__(self, path: Path, file: str, problem: str) -> None:
        super().__init__(path, f"{file} {problem}")
        self.file = file


class PackWriteError(PackError):
    """The pack cannot be written there."""


class VariantNotFoundError(PackError):
    """The pack has no variant of that name.

    Attributes:
        variant: the name asked for.
        available: the names the pack has.
    """

    def __init__(self, path: Path, variant: str, available: Sequence[str]) -> None:
        super().__init__(path, f"has no variant {variant!r}, it offers {', '.join(available)}")
        self.variant = variant
        self.available = tuple(available)


class PrecisionNotFoundError(PackError):
    """The variant does not come in that precision.

    Attributes:
        variant: the variant's name.
        precision: the one asked for.
        available: those it comes in.
    """

    def __init__(self, path: Path, variant: str, precision: str, available: Sequence[str]) -> None:
        super().__init__(
            path, f"{variant} does not come in {precision}, but in {', '.join(available)}"
        )
        self.variant = variant
        self.precision = precision
        self.available = tuple(available)


class RuntimeMissingError(ModelsError):
    """No TFLite runtime is installed."""


class ModelFormatError(ModelsError):
    """The bytes are not a TFLite model that the runtime can load."""


class ModelShapeError(ModelsError):
    """The model takes or returns another shape than a variant does."""


class DecodeError(ModelsError):
    """The bytes are not a JPEG that can be decoded."""


class PictureError(ModelsError):
    """A picture of a data set cannot be decoded; it is left out.

    Attributes:
        file: the picture's file.
        problem: what is wrong with it.
    """

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file} {problem}")
        self.file = file
        self.problem = problem


class DatasetError(ModelsError):
    """The labelled pictures cannot be used."""


class DataMapError(DatasetError):
    """The file that says which classes make up which labels is not valid."""


class LabelsError(ModelsError):
    """The file of labels cannot be used, or not for this model."""


class InterfaceError(ModelsError):
    """What a model takes or returns cannot be told."""


class YamlFileError(ModelsError):
    """A YAML file that somebody wrote cannot be used; the message goes behind its name."""
