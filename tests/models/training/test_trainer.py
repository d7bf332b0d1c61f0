import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.dataset import Dataset
from models.datasets import TRAIN, read_dataset
from models.training import trainer as training
from models.training.augment import Augmentation
from models.training.errors import CheckpointError, TrainingError
from models.training.machine import Machine
from models.training.prediction import predict
from models.training.progress import Progress
from models.training.recipe import Order, Recipe, Schedule, paper_recipe
from models.training.run import Run
from models.training.trainer import train

RECIPE = Recipe(
    ("V1",),
    head_epochs=3,
    epochs=2,
    further_epochs=1,
    head_batch_size=16,
    batch_size=16,
    validation_share=0.2,
    augmentation=Augmentation(mixup_alpha=0.1),
)


@pytest.fixture
def dataset(striped_folders: Path) -> Dataset:
    return read_dataset(striped_folders, TRAIN, 96)


def _opened(folder: Path, recipe: Recipe, dataset: Dataset) -> Run:
    run = Run(folder)
    run.open(recipe, dataset.labels, len(dataset))
    return run


def test_training_learns_and_logs_every_epoch(dataset: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(("V2", "V1"), order=Order.TOGETHER, head_epochs=3, epochs=1, batch_size=16)
    run = _opened(tmp_path / "run", recipe, dataset)
    trained = train(dataset, recipe, run, pretrained=None)
    assert [one.network.spec.name for one in trained] == ["V1", "V2"] == run.finished()
    assert all(one.labels == ("blue", "green", "red") for one in trained)
    with (tmp_path / "run" / "log.csv").open() as stream:
        rows = [(row["variant"], row["stage"], row["epoch"]) for row in csv.DictReader(stream)]
    assert rows == [
        ("V1", "head", "3"),
        ("V2", "head", "3"),
        ("V1", "all", "1"),
        ("V2", "all", "1"),
    ]


def test_training_learns_what_the_pictures_show(dataset: Dataset, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=6, augmentation=Augmentation(mixup_alpha=0))
    (trained,) = train(dataset, recipe, _opened(tmp_path / "run", recipe, dataset), pretrained=None)
    with (tmp_path / "run" / "log.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert losses[-1] < 0.8 * losses[0]
    right = predict(trained.network, dataset.pixels).argmax(1).numpy() == dataset.targets
    assert right.mean() > 0.6, "three classes by colour, twice chance"


def test_an_interrupted_run_ends_as_an_uninterrupted_one(dataset: Dataset, tmp_path: Path) -> None:
    (whole,) = train(dataset, RECIPE, _opened(tmp_path / "a", RECIPE, dataset), pretrained=None)

    def interrupt(progress: Progress) -> None:
        if progress.task.endswith("epoch 2 of 2"):
            raise KeyboardInterrupt

    run = _opened(tmp_path / "b", RECIPE, dataset)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, RECIPE, run, pretrained=None, on_progress=interrupt)
    assert run.finished() == []
    seen: list[str] = []
    (resumed,) = train(
        dataset, RECIPE, run, pretrained=None, on_progress=lambda one: seen.append(one.task)
    )
    assert not any("epoch 1" in task or "features" in task for task in seen)
    torch.testing.assert_close(
        predict(resumed.network, dataset.pixels), predict(whole.network, dataset.pixels)
    )


def test_a_run_that_was_killed_within_an_epoch_repeats_no_step(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = train(dataset, RECIPE, _opened(tmp_path / "a", RECIPE, dataset), pretrained=None)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)  # after every step

    def interrupt(progress: Progress) -> None:
        if progress.task.endswith("epoch 2 of 2") and progress.done == 3:
            raise KeyboardInterrupt

    run = _opened(tmp_path / "b", RECIPE, dataset)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, RECIPE, run, pretrained=None, on_progress=interrupt)
    steps: list[int] = []
    (resumed,) = train(
        dataset,
        RECIPE,
        run,
        pretrained=None,
        on_progress=lambda one: steps.append(one.done) if "epoch 2 of 2" in one.task else None,
    )
    assert steps[0] == 3, "the third step was interrupted, the first two were kept"
    torch.testing.assert_close(
        predict(resumed.network, dataset.pixels), predict(whole.network, dataset.pixels)
    )


def test_the_papers_recipe_trains_the_family_on_every_batch(
    dataset: Dataset, tmp_path: Path
) -> None:
    paper = paper_recipe(replace(RECIPE, variants=("V1", "V2")))
    recipe = replace(paper, head_epochs=2, epochs=3, batch_size=16, head_batch_size=16)
    run = _opened(tmp_path / "run", recipe, dataset)
    both = train(dataset, recipe, run, pretrained=None)
    assert [one.network.spec.name for one in both] == ["V1", "V2"]
    with (tmp_path / "run" / "log.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["stage"] == "all"]
    assert recipe.schedule is Schedule.STAGNATION
    rates = {float(row["learning_rate"]) for row in rows}
    assert max(rates) == recipe.learning_rate
    assert rates <= {float(f"{recipe.learning_rate * 0.98**power:.6g}") for power in range(3)}


def test_seeds_of_a_variant_are_lines_of_their_own(dataset: Dataset, tmp_path: Path) -> None:
    recipe = replace(RECIPE, variants=("V1", "V1-s1", "V2-s1"), epochs=1, further_epochs=0)
    run = _opened(tmp_path / "run", recipe, dataset)
    first, other, larger = train(dataset, recipe, run, pretrained=None)
    assert run.finished() == ["V1", "V1-s1", "V2-s1"]
    stem = "stem.conv.weight"
    ours, theirs, next_one = (
        one.network.trunk.state_dict()[stem] for one in (first, other, larger)
    )
    assert not torch.equal(ours, theirs)
    assert torch.equal(theirs, next_one)


def test_bfloat16_learns_too_and_leaves_float32_weights(dataset: Dataset, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=6, augmentation=Augmentation(mixup_alpha=0))
    (trained,) = train(
        dataset,
        recipe,
        _opened(tmp_path / "run", recipe, dataset),
        pretrained=None,
        machine=Machine(dtype=torch.bfloat16),
    )
    assert {one.dtype for one in trained.network.parameters()} == {torch.float32}
    right = predict(trained.network, dataset.pixels).argmax(1).numpy() == dataset.targets
    assert right.mean() > 0.6, "three classes by colour, twice chance"


def test_a_finished_variant_is_not_trained_again(dataset: Dataset, tmp_path: Path) -> None:
    run = _opened(tmp_path / "run", RECIPE, dataset)
    train(dataset, RECIPE, run, pretrained=None)
    seen: list[str] = []
    train(dataset, RECIPE, run, pretrained=None, on_progress=lambda one: seen.append(one.task))
    assert seen == []


@pytest.mark.parametrize("order", list(Order))
def test_a_run_grows_by_the_variants_that_are_asked_for_later(
    dataset: Dataset, tmp_path: Path, order: Order
) -> None:
    first_recipe = replace(RECIPE, order=order)
    run = _opened(tmp_path / "run", first_recipe, dataset)
    (first,) = train(dataset, first_recipe, run, pretrained=None)
    larger = replace(first_recipe, variants=("V2",))
    run = _opened(tmp_path / "run", larger, dataset)
    (second,) = train(dataset, larger, run, pretrained=None)
    assert second.network.spec.name == "V2"
    assert run.finished() == ["V1", "V2"]
    assert run.recipe().variants == ("V1", "V2")
    both = run.recipe()
    kept, _ = train(dataset, both, _opened(tmp_path / "run", both, dataset), pretrained=None)
    assert torch.equal(kept.network.head.classifier.weight, first.network.head.classifier.weight)


def test_the_next_variant_starts_from_the_trunk_of_the_one_before(
    dataset: Dataset, tmp_path: Path
) -> None:
    # No epoch of all its layers: what the second trunk holds is what it started from.
    recipe = Recipe(("V1", "V2"), head_epochs=1, epochs=1, further_epochs=0)
    run = _opened(tmp_path / "run", recipe, dataset)
    first, second = train(dataset, recipe, run, pretrained=None)
    for name, tensor in first.network.trunk.state_dict().items():
        assert torch.equal(tensor, second.network.trunk.state_dict()[name]), name


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(
    dataset: Dataset, tmp_path: Path
) -> None:
    recipe = Recipe(("V1",), head_epochs=1, epochs=1, batch_size=16, learning_rate=1e30)
    run = _opened(tmp_path / "run", recipe, dataset)
    with pytest.raises(TrainingError, match=r"loss of V1 became (nan|inf).*lower --learning-rate"):
        train(dataset, recipe, run, pretrained=None)
    checkpoint = run.load_checkpoint("V1")
    assert checkpoint is not None
    assert checkpoint["position"]["epoch"] == 0


def test_a_folder_of_another_run_is_refused_by_the_settings_that_differ(
    dataset: Dataset, tmp_path: Path
) -> None:
    _opened(tmp_path / "run", RECIPE, dataset)
    with pytest.raises(CheckpointError, match=r"other settings \(epochs\)"):
        _opened(tmp_path / "run", replace(RECIPE, epochs=9), dataset)


def test_checkpoints_that_are_damaged_or_of_another_version_are_refused(
    dataset: Dataset, tmp_path: Path
) -> None:
    run = _opened(tmp_path / "run", RECIPE, dataset)
    file = tmp_path / "run" / "V1.checkpoint"
    file.write_bytes(b"half a checkpoint")
    with pytest.raises(CheckpointError, match="can't be read"):
        train(dataset, RECIPE, run, pretrained=None)
    torch.save({"format": 99}, file)
    with pytest.raises(CheckpointError, match="another version"):
        train(dataset, RECIPE, run, pretrained=None)


def test_a_run_folder_that_cannot_be_made_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="can't be used for the run"):
        _opened(tmp_path / "file" / "run", RECIPE, dataset)


def test_the_recipe_is_read_back_as_it_was_written(dataset: Dataset, tmp_path: Path) -> None:
    assert _opened(tmp_path / "run", RECIPE, dataset).recipe() == RECIPE
    with pytest.raises(CheckpointError, match="holds no training run"):
        Run(tmp_path).recipe()
