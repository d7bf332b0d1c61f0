"""The commands of `idlesight-models` that measure packs."""

import argparse
import json
from dataclasses import asdict

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.dataset import Dataset
from models.evaluation.accuracy import SubsetAccuracy, scores_of, subset_accuracies
from models.named_pictures import read_labelled
from models.pack import load_pack


def evaluate_command(options: argparse.Namespace) -> int:
    """Print the accuracy of every subset of the pack's variants on the folder's pictures."""
    pack = load_pack(options.pack)
    k = options.k or pack.manifest.k
    rule = options.rule or pack.manifest.rule
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        names = ["pictures", *(entry.name for entry in pack.manifest.variants)]
        tasks = {name: bar.add_task(name, total=None) for name in names}
        dataset = read_labelled(
            options.data,
            pack.largest_resolution,
            pack.labels,
            on_progress=lambda done, of: bar.update(tasks["pictures"], completed=done, total=of),
        )
        if options.limit:
            dataset = _first_of_each_class(dataset, options.limit)
        scores = scores_of(
            pack,
            dataset,
            threads=options.threads,
            precision=options.precision,
            on_progress=lambda name, done, of: bar.update(tasks[name], completed=done, total=of),
        )
        weights = {entry.name: entry.weight for entry in pack.manifest.variants}
        accuracies = subset_accuracies(scores, weights, dataset.targets, k, rule)
    if options.json:
        print(
            json.dumps(
                {
                    "pack": pack.manifest.name,
                    "version": pack.manifest.version,
                    "pictures": len(dataset),
                    "k": k,
                    "rule": rule,
                    "subsets": [asdict(accuracy) for accuracy in accuracies],
                }
            )
        )
    else:
        title = f"{pack.manifest.name} {pack.manifest.version}, {len(dataset)} pictures, "
        Console().print(_table(title + f"k = {k}, rule {rule}", accuracies))
    return 0


def _first_of_each_class(dataset: Dataset, limit: int) -> Dataset:
    chosen = [
        np.flatnonzero(dataset.targets == target)[:limit] for target in range(len(dataset.labels))
    ]
    return dataset.subset(np.sort(np.concatenate(chosen)))


def _table(title: str, accuracies: list[SubsetAccuracy]) -> Table:
    table = Table(title=title)
    table.add_column("answered")
    table.add_column("top-1", justify="right")
    table.add_column("mean confidence", justify="right")
    for accuracy in accuracies:
        row = ("+".join(accuracy.variants), f"{accuracy.top_1:.2%}", f"{accuracy.confidence:.3f}")
        table.add_row(*row)
    return table
