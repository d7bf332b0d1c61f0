"""The commands of `idlesight-models` that measure packs."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.dataset import Dataset
from models.datasets import TEST, read_labelled
from models.evaluation.accuracy import (
    Doubles,
    Floats,
    Ints,
    SubsetAccuracy,
    recalls,
    scores_of,
    subset_accuracies,
    winners,
)
from models.evaluation.rules import (
    Figures,
    Weighting,
    accuracies_of,
    best,
    compare,
    distinct,
    weightings,
)
from models.pack import Pack, load_pack

MOST_CLASSES = 20
"""A terminal's height; of a thousand classes the worst are the interesting ones."""


def evaluate_command(options: argparse.Namespace) -> int:
    """Print the accuracy of every subset of the pack's variants on the folder's pictures."""
    pack = load_pack(options.pack)
    k = options.k or pack.manifest.k
    rule = options.rule or pack.manifest.rule
    dataset, scores = _scores(options, pack)
    weights = {entry.name: entry.weight for entry in pack.manifest.variants}
    accuracies = subset_accuracies(scores, weights, dataset.targets, k, rule)
    recall = recalls(winners(scores, weights, k, rule), dataset.targets, len(pack.labels))
    if options.json:
        report = _about(pack, dataset, k) | {
            "rule": rule,
            "subsets": [asdict(accuracy) for accuracy in accuracies],
            "recall": {
                label: None if np.isnan(share) else float(share)
                for label, share in zip(pack.labels, recall, strict=True)
            },
        }
        print(json.dumps(report))
    else:
        title = f"{pack.manifest.name} {pack.manifest.version}, {len(dataset)} pictures, "
        Console().print(_table(title + f"k = {k}, rule {rule}", accuracies))
        Console().print(
            _recall_table(
                recall, np.bincount(dataset.targets, minlength=len(pack.labels)), pack.labels
            )
        )
    return 0


def rules_command(options: argparse.Namespace) -> int:
    """Print how well each rule and weighting combines the pack's variants."""
    pack = load_pack(options.pack)
    k = options.k or pack.manifest.k
    dataset, named_scores = _scores(options, pack)
    entries = pack.manifest.variants
    scores = [named_scores[entry.name] for entry in entries]
    candidates = weightings(entries, accuracies_of(scores, dataset.targets), len(pack.labels))
    own = Weighting("as packed", tuple(entry.weight for entry in entries), pack.manifest.alpha)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("rules", total=None)
        figures = compare(
            scores,
            dataset.targets,
            distinct([*candidates, own]),
            k,
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    chosen = best(figures)
    if options.json:
        rows = [_row(one, chosen) for one in figures]
        print(json.dumps(_about(pack, dataset, k) | {"combinations": rows}))
    else:
        title = f"{pack.manifest.name} {pack.manifest.version}, {len(dataset)} pictures, k = {k}"
        Console().print(_rules_table(title, figures, chosen))
    return 0


def _scores(options: argparse.Namespace, pack: Pack) -> tuple[Dataset, dict[str, Floats]]:
    """Return the folder's pictures and every variant's scores of them, with progress shown."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        names = ["pictures", *(entry.name for entry in pack.manifest.variants)]
        tasks = {name: bar.add_task(name, total=None) for name in names}
        dataset = read_labelled(
            options.data,
            TEST,
            pack.largest_resolution,
            labels=pack.labels,
            limit=options.limit,
            on_progress=lambda done, of: bar.update(tasks["pictures"], completed=done, total=of),
        )
        scores = scores_of(
            pack,
            dataset,
            threads=options.threads,
            precision=options.precision,
            on_progress=lambda name, done, of: bar.update(tasks[name], completed=done, total=of),
        )
    return dataset, scores


def _about(pack: Pack, dataset: Dataset, k: int) -> dict[str, Any]:
    manifest = pack.manifest
    return {
        "pack": manifest.name,
        "version": manifest.version,
        "pictures": len(dataset),
        "k": k,
    }


def _recall_table(recall: Doubles, counts: Ints, labels: Sequence[str]) -> Table:
    """Return the classes that all variants together recognise least, the worst first."""
    known = [index for index in np.argsort(recall, kind="stable").tolist() if counts[index]]
    mean = float(np.mean(recall[known]))
    table = Table(title=f"all together: {mean:.2%} a class")
    table.add_column("class")
    table.add_column("pictures", justify="right")
    table.add_column("recognised", justify="right")
    for index in known[:MOST_CLASSES]:
        table.add_row(labels[index], str(counts[index]), f"{recall[index]:.1%}")
    if len(known) > MOST_CLASSES:
        table.add_row(f"and {len(known) - MOST_CLASSES} better ones", "", "")
    return table


def _table(title: str, accuracies: list[SubsetAccuracy]) -> Table:
    table = Table(title=title)
    table.add_column("answered")
    table.add_column("top-1", justify="right")
    table.add_column("mean confidence", justify="right")
    for accuracy in accuracies:
        row = ("+".join(accuracy.variants), f"{accuracy.top_1:.2%}", f"{accuracy.confidence:.3f}")
        table.add_row(*row)
    return table


def _row(one: Figures, chosen: Figures) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "weighting": one.weighting.name,
        "weights": [round(weight, 6) for weight in one.weighting.weights],
        "alpha": one.weighting.alpha,
        "top_1": one.top_1,
        "subsets_top_1": one.subsets_top_1,
        "negative_log_likelihood": one.negative_log_likelihood,
        "calibration_error": one.calibration_error,
        "early": one.early,
        "chosen": one is chosen,
    }


def _rules_table(title: str, figures: Sequence[Figures], chosen: Figures) -> Table:
    table = Table(
        title=title,
        caption="≥ 2: top-1, mean over all subsets of two or more · −ln p: negative log-likelihood "
        "· ECE: expected calibration error of the confidence · early: certain without one of the "
        "answers · ◀ what an export chooses",
    )
    table.add_column("rule")
    table.add_column("weights")
    for column in ("top-1", "≥ 2", "−ln p", "ECE", "early"):
        table.add_column(column, justify="right")
    table.add_column("")
    for one in figures:
        table.add_row(
            one.rule,
            one.weighting.name,
            f"{one.top_1:.2%}",
            f"{one.subsets_top_1:.2%}",
            f"{one.negative_log_likelihood:.4f}",
            f"{one.calibration_error:.4f}",
            f"{one.early:.1%}",
            "◀" if one is chosen else "",
        )
    return table
