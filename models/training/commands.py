"""The commands of `idlesight-models` that need PyTorch."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.specs import VARIANTS
from models.training.dataset import read_image_folder
from models.training.recipe import Order, Recipe
from models.training.run import Run
from models.training.trainer import OnProgress, Progress, train


def train_command(options: argparse.Namespace) -> int:
    """Train the variants that the command line names and say how to go on."""
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = Recipe(
        options.variants,
        order=Order(options.order),
        epochs=options.epochs,
        head_epochs=options.head_epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        compiled=options.compile,
    )
    largest = max(VARIANTS[name].resolution for name in recipe.variants)
    with shown_progress() as on_progress:
        dataset = read_image_folder(
            options.data,
            largest,
            on_progress=lambda n, of: on_progress(Progress("pictures", n, of)),
        )
        run = Run(options.run)
        run.open(recipe, dataset.labels, len(dataset))
        trained = train(
            dataset, recipe, run, pretrained=options.pretrained, on_progress=on_progress
        )
    for one in trained:
        print(f"{one.network.spec.name}: {one.validation_accuracy:.2%} of held-out pictures right")
    print(
        f"next: idlesight-models export {options.run} --data {options.data} --name NAME --out DIR"
    )
    return 0


@contextmanager
def shown_progress() -> Iterator[OnProgress]:
    """Show a bar a task; where there is no terminal, print a line as each task ends."""
    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, int] = {}

    def on_progress(progress: Progress) -> None:
        if progress.task not in tasks:
            tasks[progress.task] = bar.add_task(progress.task, note="")
        bar.update(
            tasks[progress.task],  # type: ignore[arg-type]
            total=progress.steps,
            completed=progress.done,
            note=progress.note,
        )
        if progress.done == progress.steps and not console.is_terminal:
            console.print(f"{progress.task}: done, {progress.note}", highlight=False)

    with bar:
        yield on_progress
