"""From trained networks to a pack of `.tflite` files that do exactly what the networks do."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from models.dataset import Dataset
from models.ensemble import variant_weights
from models.evaluation.accuracy import Floats, classify, ensemble_accuracy
from models.pack import PackManifest, VariantEntry
from models.rules import Rule
from models.runtime import Classifier
from models.specs import macs, parameters
from models.training.errors import ExportError
from models.training.network import DeployedVariant
from models.training.quiet import quiet
from models.training.run import Trained

CHECKED_PICTURES = 256

LARGEST_DIFFERENCE = 1e-4
"""Between the network's probabilities and the file's. Two float32 kernels that add in another
order differ by some 1e-6; anything larger is a wrong graph."""


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """A variant as a file.

    Attributes:
        trained: where it comes from.
        model: the bytes of the `.tflite` file.
        largest_difference: over `CHECKED_PICTURES` pictures and all classes.
    """

    trained: Trained
    model: bytes
    largest_difference: float


def export(trained: Trained, pictures: Dataset) -> Exported:
    """Return the variant as a float32 `.tflite` file, checked on pictures.

    Raises:
        ExportError: the file's probabilities are not the network's.
    """
    spec = trained.network.spec
    deployed = DeployedVariant(trained.network, trained.temperature).eval()
    model = _convert(deployed, spec.resolution)
    chosen = np.linspace(0, len(pictures) - 1, min(CHECKED_PICTURES, len(pictures))).astype(int)
    classifier = Classifier(model)
    differences = [0.0]
    for picture in pictures.pixels[chosen]:
        pixels = torch.nn.functional.interpolate(
            torch.from_numpy(picture)[None].float(), (spec.resolution, spec.resolution)
        ).permute(0, 2, 3, 1)  # (1, ρ, ρ, 3)
        with torch.no_grad():
            expected = deployed(pixels)[0].numpy()  # (C,)
        found = classifier.classify(np.ascontiguousarray(pixels.numpy()))
        differences.append(float(np.abs(found - expected).max()))
    largest = max(differences)
    if not largest <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"{spec.name}'s file differs from its network by {largest:.2g}, "
            f"more than {LARGEST_DIFFERENCE:g}: it was not written"
        )
    return Exported(trained, model, largest)


def manifest_of(
    exported: Sequence[Exported],
    validation: Dataset,
    *,
    name: str,
    version: str,
    description: str,
    sources: str,
    licence: str,
    k: int,
    alpha: float,
    on_rule: Callable[[Rule, float], None] = lambda _rule, _accuracy: None,
) -> PackManifest:
    """Return the manifest of a pack of these files, its rule chosen on validation pictures.

    Args:
        exported: the files.
        validation: pictures that were not trained on.
        name: of the pack.
        version: of the pack.
        description: what it recognises.
        sources: where the pictures and weights come from.
        licence: under which the files may be used.
        k: scores an answer keeps.
        alpha: α of Eq. 1.
        on_rule: told each rule's accuracy on the validation pictures.
    """
    specs = [one.trained.network.spec for one in exported]
    weights = variant_weights(
        [spec.resolution for spec in specs], [spec.width for spec in specs], alpha
    )
    labels = exported[0].trained.labels
    scores: dict[str, Floats] = {}
    entries = []
    for one, spec, weight in zip(exported, specs, weights, strict=True):
        scores[spec.name] = classify(Classifier(one.model), validation.pixels)
        right = scores[spec.name].argmax(1) == validation.targets
        entries.append(
            VariantEntry(
                name=spec.name,
                file=f"{spec.name}.tflite",
                sha256=hashlib.sha256(one.model).hexdigest(),
                precision="float32",
                resolution=spec.resolution,
                width=spec.width,
                weight=float(weight),
                parameters=parameters(spec, len(labels)),
                macs=macs(spec, len(labels)),
                validation_accuracy=float(right.mean()),
                provenance=one.trained.provenance,
            )
        )
    shares = {entry.name: entry.weight for entry in entries}
    accuracy: dict[Rule, float] = {}
    for rule in get_args(Rule):
        accuracy[rule] = ensemble_accuracy(scores, shares, validation.targets, k, rule).top_1
        on_rule(rule, accuracy[rule])
    # Of equal rules the one whose score is a probability serves people better.
    best = max(accuracy, key=lambda rule: (accuracy[rule], rule == "residual"))
    return PackManifest(
        name=name,
        version=version,
        labels=labels,
        rule=best,
        k=k,
        alpha=alpha,
        variants=tuple(entries),
        description=description,
        sources=sources,
        licence=licence,
    )


def _convert(deployed: DeployedVariant, resolution: int) -> bytes:
    """Return the TFLite flatbuffer of the graph."""
    example = torch.zeros(1, resolution, resolution, 3)
    with quiet():
        import litert_torch

        converted = litert_torch.convert(deployed, (example,))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.tflite")
            converted.export(str(file))
            return file.read_bytes()
