"""From trained networks to a pack of `.tflite` files that do exactly what the networks do."""

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.dataset import Dataset
from models.evaluation.accuracy import Floats, classify, subset_accuracies
from models.evaluation.rules import Choice, Figures, choose
from models.manifest import EnsembleEntry
from models.pack import PackManifest, VariantEntry
from models.runtime import Classifier
from models.specs import macs, parameters
from models.training.errors import ExportError
from models.training.network import DeployedVariant
from models.training.quiet import quiet
from models.training.run import Trained

CHECKED_PICTURES = 256

EVERY_SET_UP_TO = 8
"""Variants of which every set is measured, 255 of them; of more only pairs, since each further
variant would double the time."""

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
    model = convert(deployed, spec.resolution)
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
    alpha: float | None = None,
    on_figures: Callable[[Figures], None] = lambda _: None,
) -> PackManifest:
    """Return the manifest of a pack of these files, rule and weights chosen on validation pictures.

    Args:
        exported: the files.
        validation: pictures that were not trained on.
        name: of the pack.
        version: of the pack.
        description: what it recognises.
        sources: where the pictures and weights come from.
        licence: under which the files may be used.
        k: scores an answer keeps.
        alpha: α of Eq. 1 where the weights are to be its; else they are chosen.
        on_figures: told what each rule and weighting reached on the validation pictures.
    """
    specs = [one.trained.network.spec for one in exported]
    labels = exported[0].trained.labels
    scores = [classify(Classifier(one.model), validation.pixels) for one in exported]
    choice = choose(scores, validation.targets, specs, k, alpha=alpha, on_figures=on_figures)
    entries = []
    for one, spec, of_one, weight in zip(exported, specs, scores, choice.weights, strict=True):
        right = of_one.argmax(1) == validation.targets
        entries.append(
            VariantEntry(
                name=spec.name,
                file=f"{spec.name}.tflite",
                sha256=hashlib.sha256(one.model).hexdigest(),
                precision="float32",
                resolution=spec.resolution,
                width=spec.width,
                weight=weight,
                parameters=parameters(spec, len(labels)),
                macs=macs(spec, len(labels)),
                validation_accuracy=float(right.mean()),
                provenance=one.trained.provenance,
            )
        )
    return PackManifest(
        name=name,
        version=version,
        labels=labels,
        rule=choice.rule,
        k=k,
        alpha=choice.alpha,
        variants=tuple(entries),
        ensembles=ensembles_of(
            {spec.name: of_one for spec, of_one in zip(specs, scores, strict=True)},
            choice,
            validation,
            k,
        ),
        description=description,
        sources=sources,
        licence=licence,
    )


def ensembles_of(
    scores: Mapping[str, Floats], choice: Choice, validation: Dataset, k: int
) -> tuple[EnsembleEntry, ...]:
    """Return what sets of variants get right together, as a manifest lists it.

    Args:
        scores: (N, C) of each variant on the validation pictures.
        choice: by which rule and weights they combine.
        validation: N pictures that were not trained on.
        k: scores an answer keeps.
    """
    weights = dict(zip(scores, choice.weights, strict=True))
    every = len(scores) <= EVERY_SET_UP_TO
    families = [tuple(scores)] if every else list(itertools.combinations(scores, 2))
    return tuple(
        EnsembleEntry(variants=subset.variants, accuracy=subset.top_1)
        for family in families
        for subset in subset_accuracies(
            {name: scores[name] for name in family},
            weights,
            validation.targets,
            k,
            choice.rule,
        )
        if len(subset.variants) > 1  # alone: its validation_accuracy
    )


def convert(deployed: DeployedVariant, resolution: int) -> bytes:
    """Return the TFLite flatbuffer of the graph."""
    example = torch.zeros(1, resolution, resolution, 3)
    with quiet():
        import litert_torch

        converted = litert_torch.convert(deployed, (example,))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.tflite")
            converted.export(str(file))
            return file.read_bytes()
