"""The commands `import` and `quantize` of `idlesight-models`."""

import argparse
import hashlib
import re
import sys
from pathlib import Path

import numpy as np

from models.dataset import Dataset
from models.datasets import TEST, TRAIN, Part, read_labelled, read_part
from models.datasets.part import SUFFIXES
from models.errors import DatasetError, InterfaceError, ModelFormatError
from models.interface import Interface
from models.latency import Latency, measure
from models.manifest import MAX_MODEL_BYTES
from models.pack import PackManifest, VariantEntry, load_pack, write_pack
from models.packing.detection import Detection, detect, scores, weights_precision
from models.packing.labels import check_count, read_labels
from models.runtime import Classifier

TOP = 5


def import_command(options: argparse.Namespace) -> int:
    """Write a one-variant pack of any TFLite classifier and say how it was understood."""
    model = _read_model(options.model)
    classifier = Classifier(model)
    labels = read_labels(options.labels)
    check_count(labels, classifier.class_count, options.labels)
    samples, are_labelled = _samples(options.samples, classifier.resolution, labels)
    targets = samples.targets if samples is not None and are_labelled else None
    found = detect(
        model,
        list(samples.pixels) if samples is not None else [],
        targets,
        input_range=_checked_range(options.input_range),
        output=options.output,
    )
    latency = measure({"model": Classifier(model, interface=found.interface)})["model"]
    top = _top_shares(model, samples, found.interface) if samples and are_labelled else None
    entry = VariantEntry(
        name=options.variant or _variant_name(options.model),
        file=f"{options.variant or _variant_name(options.model)}.tflite",
        sha256=hashlib.sha256(model).hexdigest(),
        precision=weights_precision(model),
        size_bytes=len(model),
        resolution=classifier.resolution,
        width=1.0,
        weight=1.0,
        parameters=0,
        macs=0,
        validation_accuracy=top[0] if top else None,
        latency_ms=round(latency.median_ms, 4),
        provenance=_provenance(options.model, samples if top else None),
        interface=found.interface,
    )
    manifest = PackManifest(
        name=options.name,
        version=options.version,
        labels=labels,
        rule="residual",
        k=min(options.k, len(labels)),
        alpha=1.0,
        variants=(entry,),
        description=options.description,
        sources=options.sources,
        licence=options.licence,
    )
    pack = write_pack(options.out, manifest, {entry.name: model})
    _report(entry, labels, found, samples, top, latency)
    print(f"wrote {pack.path}")
    return 0


def quantize_command(options: argparse.Namespace) -> int:
    """Write a pack's variants in further precisions and say what each costs and gains."""
    from models.training.precisions import add_precisions, evenly

    pack = load_pack(options.pack)
    side = pack.largest_resolution
    calibration = read_labelled(options.data, TRAIN, side, pack.labels)
    pictures = calibration
    if options.validation:
        pictures = read_labelled(options.validation, TEST, side, pack.labels)
    pictures = pictures.subset(evenly(len(pictures), options.limit))
    made = add_precisions(
        pack.manifest.model_copy(update={"version": options.version or pack.manifest.version}),
        {entry.name: pack.model(entry.name) for entry in pack.manifest.variants},
        options.precisions,
        calibration,
        pictures,
        unseen=options.validation is not None,
        largest_drop=options.largest_drop,
        on_done=_counted,
    )
    where = "that nothing was trained on" if options.validation else "of the calibration folder"
    print(f"{len(pictures)} pictures {where}; one thread")
    print(f"  {'file':16} {'kB':>6} {'top-1':>8} {'agrees':>8} {'Δ at most':>9} {'ms':>7}")
    for check in made.checks:
        print(
            f"  {check.variant + ' ' + check.precision:16} {check.size_bytes / 1000:6.0f} "
            f"{check.accuracy:8.2%} {check.agreement:8.2%} {check.largest_difference:9.3f} "
            f"{check.latency_ms:7.3f}{'' if check.kept else '  left out: it loses too much'}"
        )
    written = write_pack(
        options.out,
        made.manifest,
        {entry.name: pack.model(entry.name) for entry in pack.manifest.variants},
        alternatives=made.alternatives,
    )
    print(f"wrote {written.path}")
    return 0


def _read_model(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            model = stream.read(MAX_MODEL_BYTES + 1)
    except OSError as exc:
        raise ModelFormatError(f"the model {file} cannot be read: {exc.strerror}") from exc
    if len(model) > MAX_MODEL_BYTES:
        raise ModelFormatError(
            f"{file} is larger than {MAX_MODEL_BYTES >> 20} MiB, the most a pack's file may have"
        )
    return model


def _samples(root: Path | None, side: int, labels: tuple[str, ...]) -> tuple[Dataset | None, bool]:
    """Return the sample pictures and whether their classes are known."""
    if root is None:
        return None, False
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder: give one that holds pictures")
    plain = sorted(file for file in root.iterdir() if file.suffix.lower() in SUFFIXES)
    try:
        return read_labelled(root, TEST, side, labels), True
    except DatasetError:
        if not plain:
            raise
    listed = Part(labels, np.zeros(len(plain), np.int64), tuple(plain))
    return read_part(root, listed, side), False


def _checked_range(given: tuple[float, float] | None) -> tuple[float, float] | None:
    if given is not None:
        try:
            Interface(given)
        except ValueError as exc:
            raise InterfaceError(f"--input-range: {exc}") from exc
    return given


def _top_shares(model: bytes, samples: Dataset, interface: Interface) -> tuple[float, float]:
    """Return top-1 and top-5: the share of pictures whose class is the first, or among five."""
    said = scores(model, list(samples.pixels), interface)
    # Stable, as nodes rank: of equal scores the lower class comes first.
    ranking = np.argsort(-said, axis=1, kind="stable")[:, :TOP]
    hits = ranking == samples.targets[:, None]
    return float(hits[:, 0].mean()), float(hits.any(1).mean())


def _variant_name(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", file.stem).strip("-")[:64] or "model"


def _provenance(file: Path, samples: Dataset | None) -> str:
    known = f"; recognised on {len(samples)} sample pictures" if samples is not None else ""
    return f"imported from {file.name}{known}"


def _report(
    entry: VariantEntry,
    labels: tuple[str, ...],
    found: Detection,
    samples: Dataset | None,
    top: tuple[float, float] | None,
    latency: Latency,
) -> None:
    shown = f"{len(samples)} samples" if samples is not None else "made-up pictures"
    low, high = found.interface.input_range
    range_from = {
        "given": "as given",
        "file": "as the file says of its quantised input",
        "accuracy": "with which most samples are recognised",
        "information": "with which the answers say most; a guess: label the samples to be sure",
    }[found.range_from]
    output_from = "as given" if found.output_from == "given" else f"as the answers to {shown} show"
    print(
        f"{entry.name}: {entry.resolution} × {entry.resolution} pixels, {len(labels)} classes, "
        f"{entry.precision}, {(entry.size_bytes or 0) / 1000:.0f} kB"
    )
    print(f"  input    RGB 0–255 becomes {low:g} to {high:g}, {range_from}")
    for trial in found.trials if len(found.trials) > 1 else ():
        right = "" if trial.top_1 is None else f"top-1 {trial.top_1:.2%}, "
        tried = "{:g} to {:g}".format(*trial.input_range)
        print(f"           tried {tried}: {right}{trial.information_bits:.2f} bits an answer")
    print(f"  output   {found.interface.output}, {output_from}")
    if top is not None:
        print(f"  samples  {shown}: top-1 {top[0]:.2%}, top-{TOP} {top[1]:.2%}")
    quartiles = "quartiles {:.3f} and {:.3f}".format(*latency.quartiles_ms)
    print(f"  latency  {latency.median_ms:.3f} ms, one thread here, {quartiles}")


def _counted(task: str, done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{task} {done} of {of}", end="\n" if done == of else "", file=sys.stderr)
