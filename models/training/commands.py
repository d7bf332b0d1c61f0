"""The commands of `idlesight-models` that need PyTorch."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.dataset import Dataset, split_validation
from models.datasets import TRAIN, read_dataset
from models.pack import Pack, write_pack
from models.specs import spec_of
from models.training.errors import CheckpointError
from models.training.export import export, manifest_of
from models.training.machine import keep_freed_memory, threads
from models.training.planning import costs, expected_s, within
from models.training.precisions import add_precisions
from models.training.pretrained import describe, save_trunk, shipped_trunk
from models.training.progress import OnProgress, Progress
from models.training.recipe import Order, Recipe, draws_per_class, paper_recipe
from models.training.report import inspect, show
from models.training.run import Run, Trained, in_order
from models.training.speed import Choice, choose
from models.training.trainer import train

FEW_PICTURES = 2_000
FEW_SHARE, MANY_SHARE = 0.2, 0.05
"""Held out for validation: of few pictures more, or chance would decide what it shows."""


def train_command(options: argparse.Namespace) -> int:
    """Train the variants that the command line names, say how good they are, write a pack."""
    keep_freed_memory()
    with threads(options.threads), shown_progress() as on_progress:
        largest = max(spec_of(name).resolution for name in options.variants)
        dataset = _read(options, largest, None, on_progress)
        run = Run(options.run)
        recipe, pretrained = _recipe(options, dataset)
        split_validation(dataset, recipe.validation_share, recipe.seed)  # fails before the work
        on_progress(Progress("machine", 0, 1))
        pictures = _pictures_an_epoch(recipe, dataset)
        choice = choose(
            recipe,
            pictures,
            len(dataset.labels),
            device=options.device,
            precision=options.precision,
            compiled=options.compile,
        )
        if options.minutes:
            recipe = _planned(options.minutes, recipe, pictures, choice, run)
        on_progress(Progress("machine", 1, 1, _said(recipe, pictures, choice)))
        run.open(recipe, dataset.labels, len(dataset))
        trained = train(
            dataset,
            recipe,
            run,
            pretrained=pretrained,
            machine=choice.machine,
            on_progress=on_progress,
        )
        report = inspect(trained, dataset, recipe, pretrained, on_progress)
        pack = None
        if not options.no_pack:
            pack = _write(trained, dataset, recipe, on_progress, options, options.run / "pack")
    show(report, dataset, options.run)
    print(f"wrote {pack.path}: {_summary(pack)}" if pack else "no pack was asked for: see `export`")
    if pack:
        print(f"next: idlesight-gateway run --config home.yaml   # with `pack: {pack.path}` in it")
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
        dataset = _read(options, largest, trained[0].labels, on_progress)
        pack = _write(trained, dataset, recipe, on_progress, options, options.out)
    if options.trunk:
        save_trunk(trained[-1].network, options.trunk)
        print(f"wrote {options.trunk}: the trunk of {trained[-1].network.spec.name}")
    print(f"wrote {pack.path}: {_summary(pack)}")
    return 0


def _read(
    options: argparse.Namespace,
    largest_side: int,
    labels: tuple[str, ...] | None,
    on_progress: OnProgress,
) -> Dataset:
    return read_dataset(
        options.data,
        TRAIN,
        min(largest_side, options.side or largest_side),
        labels=labels,
        limit=options.limit,
        on_progress=lambda n, of: on_progress(Progress("pictures", n, of)),
    )


def _recipe(options: argparse.Namespace, dataset: Dataset) -> tuple[Recipe, Path | None]:
    """Return the recipe that the command line asks for, and the file its trunks begin with."""
    variants = [*options.variants]
    for seed in range(1, options.seeds):
        variants += [f"{name}-s{seed}" for name in options.variants]
    pretrained = _pretrained(options)
    share = FEW_SHARE if len(dataset) < FEW_PICTURES else MANY_SHARE
    recipe = Recipe(
        tuple(in_order(variants)),
        validation_share=options.validation_share or share,
        seed=options.seed,
        detail=_detail(options.detail, dataset, options.variants),
        pretrained=describe(pretrained) if pretrained else "",
    )
    if options.recipe == "paper":
        recipe = paper_recipe(recipe)
    given = {
        "order": Order(options.order) if options.order else None,
        "epochs": options.epochs,
        "further_epochs": options.further_epochs,
        "head_epochs": options.head_epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "balance": options.balance,
    }
    return replace(recipe, **{k: v for k, v in given.items() if v is not None}), pretrained


def _detail(asked: int | None, dataset: Dataset, variants: tuple[str, ...]) -> int:
    """Return the limit of detail: as asked for, else the pictures' own side where it is small."""
    if asked is not None:
        return asked
    side = dataset.pixels.shape[-1]
    return side if 2 * side <= max(spec_of(name).resolution for name in variants) else 0


def _pretrained(options: argparse.Namespace) -> Path | None:
    if options.pretrained == "none":
        return None
    if options.pretrained != "shipped":
        return Path(options.pretrained)
    widths = {spec_of(name).width for name in options.variants}
    return shipped_trunk(widths.pop()) if len(widths) == 1 else None


def _pictures_an_epoch(recipe: Recipe, dataset: Dataset) -> int:
    counts = np.bincount(dataset.targets, minlength=len(dataset.labels)).tolist()
    drawn = sum(draws_per_class(counts, recipe.balance))
    return round(drawn * (1 - recipe.validation_share))


def _planned(minutes: float, recipe: Recipe, pictures: int, choice: Choice, run: Run) -> Recipe:
    """Return the recipe with as many epochs as fit; a run that goes on keeps its own plan."""
    if run.exists():
        begun = run.recipe()
        return replace(recipe, epochs=begun.epochs, further_epochs=begun.further_epochs)
    return within(recipe, costs(recipe, pictures, choice.pictures_per_s), minutes)


def _said(recipe: Recipe, pictures: int, choice: Choice) -> str:
    parts = costs(recipe, pictures, choice.pictures_per_s)
    epochs = f"{recipe.epochs} epochs"
    if any(part.continues for part in parts):
        epochs += f", of each further variant {recipe.further_epochs}"
    minutes = max(1, round(expected_s(recipe, parts) / 60))
    return f"{choice.machine}; {epochs}: about {minutes} min"


def _name(options: argparse.Namespace) -> str:
    """Return the pack's name: as given, else after the folder of pictures."""
    if options.name:
        return str(options.name)
    folder = options.data.resolve()
    if folder.name == TRAIN:  # cifar10/train is cifar10
        folder = folder.parent
    return re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-")[:64] or "pictures"


def _write(
    trained: list[Trained],
    dataset: Dataset,
    recipe: Recipe,
    on_progress: OnProgress,
    options: argparse.Namespace,
    out: Path,
) -> Pack:
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
        name=_name(options),
        version=options.version,
        description=options.description,
        sources=options.sources,
        licence=options.licence,
        k=options.k,
        alpha=options.alpha,
        on_figures=lambda one: on_progress(
            Progress(one.label, 1, 1, f"{one.subsets_top_1:.2%} of validation")
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
    return write_pack(out, made.manifest, models, alternatives=made.alternatives)


def _summary(pack: Pack) -> str:
    names = ", ".join(entry.name for entry in pack.manifest.variants)
    return f"{names}, rule {pack.manifest.rule}, k = {pack.manifest.k}"


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
