"""A pack's variants in further precisions: made, checked on pictures, measured, written down."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.dataset import Dataset
from models.evaluation.accuracy import Floats, classify
from models.latency import measure
from models.manifest import FileEntry, PackManifest, Precision, VariantEntry
from models.preprocess import resize
from models.runtime import Classifier
from models.training.errors import QuantizeError
from models.training.quantize import quantize

CALIBRATION_PICTURES = 256
"""The ranges of activations hardly move beyond some hundred pictures."""

LARGEST_DROP = 0.03
"""A file that is right about three pictures in a hundred fewer than float32 is left out: the next
smaller variant is then the better bargain."""

OnDone = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One file held against its variant's default file on the same pictures.

    Attributes:
        variant: the variant's name.
        precision: the file's.
        size_bytes: the file's.
        accuracy: its top-1 share.
        default_accuracy: that of the default file.
        agreement: share of pictures about which both say the same.
        largest_difference: between their probabilities, over all pictures and classes.
        latency_ms: median of one inference on one thread here.
        kept: whether it is in the pack.
    """

    variant: str
    precision: Precision
    size_bytes: int
    accuracy: float
    default_accuracy: float
    agreement: float
    largest_difference: float
    latency_ms: float
    kept: bool


@dataclass(frozen=True, slots=True, eq=False)
class Precisions:
    """What `add_precisions` made.

    Attributes:
        manifest: the pack's, with every file's size and latency.
        alternatives: the files of further precisions by name, as `write_pack` takes them.
        checks: every file that was made, and every default file.
    """

    manifest: PackManifest
    alternatives: dict[str, bytes]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    entry: FileEntry
    model: bytes
    scores: Floats  # (N, C) of the pictures


def add_precisions(
    manifest: PackManifest,
    models: Mapping[str, bytes],
    wanted: Sequence[Precision],
    calibration: Dataset,
    pictures: Dataset,
    *,
    unseen: bool,
    largest_drop: float = LARGEST_DROP,
    on_done: OnDone = lambda _task, _done, _of: None,
) -> Precisions:
    """Return the manifest with its variants in these precisions too, and their files.

    What it said of other precisions than the default ones is replaced.

    Args:
        manifest: whose default files are float32.
        models: the default files by the variants' names.
        wanted: "float16" and "int8" are made; "float32" is there.
        calibration: pictures like those the model will see; some of them set INT8's ranges.
        pictures: labelled pictures on which the files are compared.
        unseen: nothing was trained on `pictures`, so that accuracies on them may be recorded.
        largest_drop: of accuracy, 0–1; a file that loses more is left out.
        on_done: told of (task, done, of).

    Raises:
        QuantizeError: a default file is not float32, or the quantiser cannot work on it.
    """
    files: dict[str, list[_File]] = {}
    chosen = calibration.subset(evenly(len(calibration), CALIBRATION_PICTURES))
    made = [precision for precision in wanted if precision != "float32"]
    total = len(manifest.variants) * (1 + len(made))
    for entry in manifest.variants:
        if made and entry.precision != "float32":
            raise QuantizeError(
                f"{entry.name} is there in {entry.precision} only: quantise a float32 pack"
            )
        model = models[entry.name]
        files[entry.name] = [_checked(entry, entry.files[0], model, pictures)]
        on_done("files", sum(map(len, files.values())), total)
        for precision in made:
            inputs = [_input(picture, entry) for picture in chosen.pixels]
            described = FileEntry(
                file=f"{entry.name}-{precision}.tflite",
                sha256="0" * 64,
                precision=precision,
                provenance=_provenance(precision, len(chosen)),
            )
            other = quantize(model, precision, inputs)
            files[entry.name].append(_checked(entry, described, other, pictures))
            on_done("files", sum(map(len, files.values())), total)
    return _assembled(manifest, files, pictures, unseen=unseen, largest_drop=largest_drop)


def evenly(count: int, at_most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return at most that many indices, spread evenly over `count` things and so over classes."""
    return np.unique(np.linspace(0, count - 1, min(at_most, count)).round().astype(np.int64))


def _input(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], entry: VariantEntry) -> Floats:
    """Return a picture (3, S, S) as the variant's file takes it from a node, (1, ρ, ρ, 3)."""
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    low, high = entry.interface.input_range
    pixels = resize(image, entry.resolution, entry.input_offset)
    return (pixels * ((high - low) / 255) + low).astype(np.float32)


def _checked(entry: VariantEntry, described: FileEntry, model: bytes, pictures: Dataset) -> _File:
    """Return the file with what the runtime says through it."""
    scores = classify(
        Classifier(model, interface=entry.interface), pictures.pixels, entry.input_offset
    )
    digest = hashlib.sha256(model).hexdigest()
    update = {"sha256": digest, "size_bytes": len(model)}
    return _File(described.model_copy(update=update), model, scores)


def _assembled(
    manifest: PackManifest,
    files: Mapping[str, Sequence[_File]],
    pictures: Dataset,
    *,
    unseen: bool,
    largest_drop: float,
) -> Precisions:
    measured = measure(
        {
            file.entry.file: Classifier(file.model, interface=entry.interface)
            for entry in manifest.variants
            for file in files[entry.name]
        }
    )
    latencies = {name: latency.median_ms for name, latency in measured.items()}
    checks: list[Check] = []
    entries: list[VariantEntry] = []
    alternatives: dict[str, bytes] = {}
    for entry in manifest.variants:
        own = files[entry.name]
        held = [
            _check(entry.name, file, own[0], pictures, latencies[file.entry.file], largest_drop)
            for file in own
        ]
        checks += held
        kept = [(file, check) for file, check in zip(own, held, strict=True) if check.kept]
        default, *others = [_described(file, check, unseen) for file, check in kept]
        alternatives |= {file.entry.file: file.model for file, _ in kept[1:]}
        figures = default.model_dump(include={"size_bytes", "latency_ms", "validation_accuracy"})
        entries.append(entry.model_copy(update={**figures, "alternatives": tuple(others)}))
    content = manifest.model_dump() | {"format": 2, "variants": [e.model_dump() for e in entries]}
    return Precisions(PackManifest.model_validate(content), alternatives, tuple(checks))


def _check(
    variant: str,
    file: _File,
    default: _File,
    pictures: Dataset,
    latency_ms: float,
    largest_drop: float,
) -> Check:
    winners, default_winners = file.scores.argmax(1), default.scores.argmax(1)
    accuracy = float((winners == pictures.targets).mean())
    default_accuracy = float((default_winners == pictures.targets).mean())
    return Check(
        variant=variant,
        precision=file.entry.precision,
        size_bytes=len(file.model),
        accuracy=accuracy,
        default_accuracy=default_accuracy,
        agreement=float((winners == default_winners).mean()),
        largest_difference=float(np.abs(file.scores - default.scores).max()),
        latency_ms=latency_ms,
        kept=file is default or default_accuracy - accuracy <= largest_drop,
    )


def _described(file: _File, check: Check, unseen: bool) -> FileEntry:
    """Return the file's entry with its figures; the accuracy only if it may be recorded."""
    update: dict[str, float] = {"latency_ms": round(check.latency_ms, 4)}
    if unseen:
        update["validation_accuracy"] = check.accuracy
    return file.entry.model_copy(update=update)


def _provenance(precision: Precision, calibrated_on: int) -> str:
    if precision == "float16":
        return "the float32 file's weights in float16"
    return f"the float32 file in eight-bit integers, ranges from {calibrated_on} pictures"
