"""The commands of `idlesight-models` that need PyTorch."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.dataset import read_image_folder, split_validation
from models.pack import write_pack
from models.specs import VARIANTS
from models.training.errors import CheckpointError
from models.training.export import export, manifest_of
from models.training.precisions import add_precisions
from models.training.pretrained import describe
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
        pretrained=describe(options.pretrained) if options.pretrained else "",
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


def export_command(options: argparse.Namespace) -> int:
    """Write a run's finished variants as a pack and say how exact each file is."""
    run = Run(options.run)
    recipe = run.recipe()
    trained = [one for name in run.finished() if (one := run.load_trained(name)) is not None]
    if not trained:
        raise CheckpointError(f"{options.run} has no finished variant yet: let `train` end first")
    largest = max(one.network.spec.resolution for one in trained)
    with shown_progress() as on_progress:
        dataset = read_image_folder(
            options.data,
            largest,
            labels=trained[0].labels,
            on_progress=lambda n, of: on_progress(Progress("pictures", n, of)),
        )
        training, validation = split_validation(dataset, recipe.validation_share, recipe.seed)
        exported = []
        for done, one in enumerate(trained, start=1):
            exported.append(export(one, validation))
            note = f"at most {exported[-1].largest_difference:.1e} from the network"
            on_progress(Progress(f"{one.network.spec.name} export", 1, 1, note))
            on_progress(Progress("export", done, len(trained)))
        manifest = manifest_of(
            exported,
            validation,
            name=options.name,
            version=options.version,
            description=options.description,
            sources=options.sources,
            licence=options.licence,
            k=options.k,
            alpha=options.alpha,
            on_rule=lambda rule, accuracy: on_progress(
                Progress(f"rule {rule}", 1, 1, f"{accuracy:.2%} of validation")
            ),
        )
        models = {one.trained.network.spec.name: one.model for one in exported}
        made = add_precisions(
            manifest,
            models,
            options.precisions,
            training,
            validation,
            unseen=True,
            on_done=lambda task, done, of: on_progress(Progress(task, done, of)),
        )
    pack = write_pack(options.out, made.manifest, models, alternatives=made.alternatives)
    print(f"wrote {pack.path}: {', '.join(entry.name for entry in manifest.variants)}, ", end="")
    print(f"rule {manifest.rule}, k = {manifest.k}")
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
