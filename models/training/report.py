"""What a person wants to know after training: how good it is, and which pictures to look at."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models.dataset import Dataset, split_validation
from models.training.errors import TrainingError
from models.training.inspection import (
    Confusion,
    Ints,
    Suspect,
    confusion_matrix,
    out_of_fold,
    suspects,
    worst_confusions,
)
from models.training.machine import Machine
from models.training.network import Variant
from models.training.prediction import predict, trunk_features
from models.training.pretrained import load_trunk
from models.training.progress import OnProgress, Progress
from models.training.recipe import Recipe
from models.training.run import Trained

MOST_INSPECTED = 20_000
"""Pictures in all; beyond it the search for misplaced ones would take longer than it helps."""

WIDEST_MATRIX = 12
"""Classes; a larger table does not fit a terminal, and the worst pairs are listed instead."""

SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What training came to.

    Attributes:
        accuracy: of each variant on held-out pictures.
        together: of all variants, their probabilities averaged.
        held_out: how many pictures were held out.
        matrix: (C, C), the family's confusions on them.
        suspects: pictures that seem to lie in the wrong folder; None where not looked for.
    """

    accuracy: dict[str, float]
    together: float
    held_out: int
    matrix: Ints
    suspects: list[Suspect] | None


def inspect(
    trained: Sequence[Trained],
    dataset: Dataset,
    recipe: Recipe,
    pretrained: Path | None,
    on_progress: OnProgress,
) -> Report:
    """Return how good the variants are, and which pictures the others contradict."""
    _, validation = split_validation(dataset, recipe.validation_share, recipe.seed)
    probabilities = torch.stack(
        [
            torch.softmax(predict(one.network, validation.pixels) / one.temperature, dim=1)
            for one in trained
        ]
    ).mean(0)  # (N, C)
    predicted = probabilities.argmax(1).numpy()
    return Report(
        {one.network.spec.name: one.validation_accuracy for one in trained},
        float((predicted == validation.targets).mean()),
        len(validation),
        confusion_matrix(validation.targets, predicted, len(dataset.labels)),
        _suspects(trained[-1], dataset, recipe.seed, pretrained, on_progress),
    )


def show(report: Report, dataset: Dataset, folder: Path) -> None:
    """Print the report; the suspects go into a file as well.

    Raises:
        TrainingError: the file can't be written.
    """
    console = Console()
    accuracies = Table(title=f"right of {report.held_out} held-out pictures")
    for name in report.accuracy:
        accuracies.add_column(name, justify="right")
    accuracies.add_column("together", justify="right")
    accuracies.add_row(*(f"{a:.1%}" for a in (*report.accuracy.values(), report.together)))
    console.print(accuracies)
    labels = dataset.labels
    if len(labels) <= WIDEST_MATRIX:
        console.print(_matrix(report.matrix, labels))
    worst = worst_confusions(report.matrix, SHOWN)
    if worst:
        console.print(f"most often confused: {'; '.join(_said(one, labels) for one in worst[:5])}")
    if not report.suspects:
        return
    file = folder / "suspects.csv"
    rows = [
        (dataset.files[one.index], labels[one.given], labels[one.likely], one.probability)
        for one in report.suspects
    ]
    try:
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("file", "folder", "probably", "probability"))
            writer.writerows((*row[:3], f"{row[3]:.3f}") for row in rows)
    except OSError as exc:
        raise TrainingError(f"{file} can't be written: {exc.strerror}") from exc
    console.print(f"{len(rows)} pictures may lie in the wrong folder, look at them ({file}):")
    for path, given, likely, probability in rows[:SHOWN]:
        line = f"  {given}/{path.name}: {likely} ({probability:.0%})"
        console.print(line, highlight=False, soft_wrap=True)


def _suspects(
    largest: Trained,
    dataset: Dataset,
    seed: int,
    pretrained: Path | None,
    on_progress: OnProgress,
) -> list[Suspect] | None:
    """Look with a trunk that has not seen these pictures: the trained ones know them by heart."""
    if pretrained is None or len(dataset) > MOST_INSPECTED:
        return None
    network = Variant(largest.network.spec, len(dataset.labels), largest.network.detail)
    load_trunk(network, pretrained)
    features = trunk_features(
        network.eval(),
        dataset.pixels,
        Machine(),
        lambda done, of: on_progress(Progress("looking for misplaced pictures", done, of)),
    )  # (N, F, h, w)
    pooled = torch.cat([features.float().amax((2, 3)), features.float().mean((2, 3))], dim=1)
    targets = torch.from_numpy(dataset.targets)
    return suspects(out_of_fold(pooled, targets, len(dataset.labels), seed), dataset.targets)


def _matrix(matrix: Ints, labels: Sequence[str]) -> Table:
    table = Table(title="what (row) was taken for what")
    table.add_column("")
    for label in labels:
        table.add_column(label[:7], justify="right")
    for label, row in zip(labels, matrix, strict=True):
        shown = [str(count) if count else "·" for count in row]
        table.add_row(label, *shown)
    return table


def _said(confusion: Confusion, labels: Sequence[str]) -> str:
    taken = f"{labels[confusion.true]} for {labels[confusion.taken_for]}"
    return f"{taken} ({confusion.count})"
