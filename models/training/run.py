"""The folder of one training run: its recipe, checkpoints, finished weights and log.

    run.json            recipe, labels and number of pictures: what a resumed run must agree with
    <group>.checkpoint  the group in progress, such as V1+V2, written every two minutes
    <variant>.pt        finished weights, validation accuracy and temperature
    log.csv             one row an epoch and variant

Every file is written beside its place and renamed into it, so that a killed run leaves none half.
"""

import csv
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from models.specs import seed_of, spec_of
from models.training.augment import Augmentation
from models.training.errors import CheckpointError
from models.training.network import Variant
from models.training.recipe import Order, Recipe, Schedule

FORMAT = 3
LOG_COLUMNS = (
    "variant",
    "stage",
    "epoch",
    "learning_rate",
    "loss",
    "validation_accuracy",
    "s",
    "ms_per_picture",
    "peak_memory_mb",
    "machine",
)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A finished variant.

    Attributes:
        network: its weights, in evaluation mode.
        labels: class names in the order of its outputs.
        validation_accuracy: top-1 on the held-out part, 0–1.
        temperature: divides the logits so that probabilities mean what they say.
        provenance: one sentence on how it was trained.
    """

    network: Variant
    labels: tuple[str, ...]
    validation_accuracy: float
    temperature: float
    provenance: str


def in_order(names: Collection[str]) -> list[str]:
    """Return the variants' names by rising resolution, width and seed."""
    known = {name: spec_of(name) for name in names}
    return sorted(
        known, key=lambda name: (known[name].resolution, known[name].width, seed_of(name))
    )


class Run:
    """Reads and writes one run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, recipe: Recipe, labels: tuple[str, ...], picture_count: int) -> None:
        """Make the folder, or check that it holds a run of the same recipe and data.

        Which variants it has may change: a run grows by those that are asked for later.

        Raises:
            CheckpointError: the folder belongs to another run or can't be written.
        """
        mine = json.loads(
            json.dumps(
                {
                    "format": FORMAT,
                    "recipe": asdict(recipe),
                    "labels": labels,
                    "pictures": picture_count,
                }
            )
        )
        described = self.folder / "run.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if described.exists():
                theirs = json.loads(described.read_text())
                differing = _differences(theirs, mine)
                if differing:
                    raise CheckpointError(
                        f"{self.folder} holds a run with other settings ({', '.join(differing)}): "
                        "resume it with the same ones or name another folder with --run"
                    )
                there = theirs["recipe"]["variants"]
                mine["recipe"]["variants"] = in_order({*there, *recipe.variants})
            _replace(described, json.dumps(mine, indent=2).encode())
        except (OSError, ValueError) as exc:
            raise CheckpointError(f"{self.folder} can't be used for the run: {exc}") from exc

    def exists(self) -> bool:
        """Return whether the folder holds a run."""
        return (self.folder / "run.json").is_file()

    def recipe(self) -> Recipe:
        """Return the recipe that the folder's run was started with.

        Raises:
            CheckpointError: the folder holds no run.
        """
        try:
            described = json.loads((self.folder / "run.json").read_text())["recipe"]
            return Recipe(
                **described
                | {
                    "variants": tuple(described["variants"]),
                    "order": Order(described["order"]),
                    "schedule": Schedule(described["schedule"]),
                    "augmentation": Augmentation(**described["augmentation"]),
                }
            )
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise CheckpointError(
                f"{self.folder} holds no training run of this version ({exc}): "
                "give the folder that `train --run` wrote"
            ) from exc

    def save_checkpoint(self, group: str, state: Mapping[str, Any]) -> None:
        """Keep the state of a group in progress."""
        self._save(f"{group}.checkpoint", state)

    def load_checkpoint(self, group: str) -> dict[str, Any] | None:
        """Return the state of a group in progress, or None when it has not begun."""
        return self._load(f"{group}.checkpoint")

    def save_trained(self, trained: Trained) -> None:
        """Keep a finished variant."""
        weights = trained.network.state_dict()
        state = {
            "detail": trained.network.detail,
            "weights": {key: value.cpu() for key, value in weights.items()},
            "labels": list(trained.labels),
            "validation_accuracy": trained.validation_accuracy,
            "temperature": trained.temperature,
            "provenance": trained.provenance,
        }
        self._save(f"{trained.network.spec.name}.pt", state)

    def load_trained(self, name: str) -> Trained | None:
        """Return a finished variant, or None when it is not finished."""
        state = self._load(f"{name}.pt")
        if state is None:
            return None
        labels = tuple(state["labels"])
        network = Variant(spec_of(name), len(labels), state["detail"])
        network.load_state_dict(state["weights"])
        return Trained(
            network.eval(),
            labels,
            state["validation_accuracy"],
            state["temperature"],
            state["provenance"],
        )

    def finished(self) -> list[str]:
        """Return the names of the finished variants in ascending resolution."""
        return in_order({file.stem for file in self.folder.glob("*.pt")})

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to log.csv."""
        file = self.folder / "log.csv"
        try:
            with file.open("a", newline="") as stream:
                writer = csv.DictWriter(stream, LOG_COLUMNS)
                if stream.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as exc:
            raise CheckpointError(f"{file} can't be written: {exc}") from exc

    def _save(self, name: str, state: Mapping[str, Any]) -> None:
        file = self.folder / name
        beside = file.with_suffix(".partial")
        try:
            torch.save({"format": FORMAT, **state}, beside)
            os.replace(beside, file)
        except (OSError, RuntimeError) as exc:  # torch reports a full disk as RuntimeError
            beside.unlink(missing_ok=True)
            raise CheckpointError(f"{file} can't be written: {exc}") from exc

    def _load(self, name: str) -> dict[str, Any] | None:
        file = self.folder / name
        if not file.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        except Exception as exc:  # torch raises whatever the unpickler meets
            raise CheckpointError(f"{file} can't be read ({exc}): delete it to redo it") from exc
        if state.get("format") != FORMAT:
            raise CheckpointError(f"{file} was written by another version: delete it to redo it")
        return state


def _differences(theirs: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    flat_theirs = theirs | theirs.get("recipe", {})
    flat_mine = mine | mine["recipe"]
    names = (flat_theirs.keys() | flat_mine.keys()) - {"recipe", "variants"}
    return sorted(name for name in names if flat_theirs.get(name) != flat_mine.get(name))


def _replace(file: Path, content: bytes) -> None:
    beside = file.with_suffix(".partial")
    beside.write_bytes(content)
    os.replace(beside, file)
