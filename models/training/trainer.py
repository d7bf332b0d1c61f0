"""Two-stage training of a family of variants on one data pipeline (paper IV-B).

Stage 1 trains the two last convolutions on features that the frozen trunk gave once. Stage 2
trains all layers on augmented pictures: each batch is drawn once and sampled by every variant of
the group at its own resolution, and each variant has its own cross-entropy and optimizer.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from models.dataset import Dataset, split_validation
from models.specs import VARIANTS
from models.training.augment import Batch, batch_count, batches, resize
from models.training.calibration import fit_temperature
from models.training.errors import TrainingError
from models.training.network import Variant, normalise
from models.training.pretrained import load_trunk
from models.training.recipe import Order, Recipe, learning_rate
from models.training.run import Run, Trained

EVALUATION_BATCH_SIZE = 250

SETTLING_PICTURES = 2_000
"""Enough for means and variances that are within a few percent of those of all pictures."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: what it does now and how far it got.

    Attributes:
        task: such as `V1+V2 all layers, epoch 2 of 5`.
        done: steps done in this task.
        steps: steps of this task.
        note: the newest loss or accuracy, for people.
    """

    task: str
    done: int
    steps: int
    note: str = ""


OnProgress = Callable[[Progress], None]


def train(
    dataset: Dataset,
    recipe: Recipe,
    run: Run,
    *,
    pretrained: Path | None,
    on_progress: OnProgress = lambda _: None,
) -> list[Trained]:
    """Train the recipe's variants, continuing where the run's folder says it stopped.

    Args:
        dataset: labelled pictures; a part of each class is held out for validation.
        recipe: what to train and how.
        run: the run's folder, open.
        pretrained: weights for the first trunk, or None for a random start.
        on_progress: called after every step.

    Raises:
        TrainingError: the loss became NaN, or the data, weights or folder can't be used.
    """
    training, validation = split_validation(dataset, recipe.validation_share, recipe.seed)
    names = sorted(recipe.variants, key=lambda name: VARIANTS[name].resolution)
    trained = {name: one for name in names if (one := run.load_trained(name)) is not None}
    missing = [name for name in names if name not in trained]
    together = recipe.order is Order.TOGETHER
    for group in [missing] if together and missing else [[name] for name in missing]:
        trainer = GroupTrainer(group, training, validation, recipe, run, on_progress)
        trainer.start(pretrained, None if together else _next_smaller(group[0], run))
        trained |= {one.network.spec.name: one for one in trainer.finish()}
    return [trained[name] for name in names]


class GroupTrainer:
    """Trains variants that share every batch."""

    def __init__(
        self,
        names: Sequence[str],
        training: Dataset,
        validation: Dataset,
        recipe: Recipe,
        run: Run,
        on_progress: OnProgress,
    ) -> None:
        torch.manual_seed(recipe.seed)
        class_count = len(training.labels)
        self.networks = {name: Variant(VARIANTS[name], class_count) for name in names}
        self.training = training
        self.validation = validation
        self.recipe = recipe
        self.run = run
        self.on_progress = on_progress
        self.pixels = torch.from_numpy(training.pixels)  # (N, 3, S, S)
        self.targets = torch.from_numpy(training.targets)  # (N,)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        drawn = torch.Generator().manual_seed(recipe.seed)
        self._settling = torch.randperm(len(training), generator=drawn)[:SETTLING_PICTURES]
        self.steps_per_epoch = batch_count(len(training), recipe.batch_size)

    @property
    def name(self) -> str:
        """The group's name, such as `V1+V2`."""
        return "+".join(self.networks)

    def start(self, pretrained: Path | None, previous: Variant | None) -> None:
        """Fill the trunks: from the variant trained before, else from pretrained weights."""
        for network in self.networks.values():
            if previous is not None:
                network.trunk.load_state_dict(previous.trunk.state_dict())
            elif pretrained is not None:
                load_trunk(network, pretrained)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def finish(self) -> list[Trained]:
        """Run what is left of both stages, keep the finished variants and return them."""
        optimizers = {
            name: torch.optim.AdamW(
                network.parameters(),
                self.recipe.learning_rate,
                weight_decay=self.recipe.weight_decay,
            )
            for name, network in self.networks.items()
        }
        first_epoch = self._resume(optimizers)
        if first_epoch == 0:
            for name, network in self.networks.items():
                self._train_head(name, network)
            self._checkpoint(optimizers, epochs_done=0)
        for epoch in range(first_epoch, self.recipe.epochs):
            self._train_all_layers(optimizers, epoch)
            self._checkpoint(optimizers, epochs_done=epoch + 1)
        return [self._keep(name, network) for name, network in self.networks.items()]

    def _train_head(self, name: str, network: Variant) -> None:
        """Stage 1: the two last convolutions on the frozen trunk's features."""
        began_s = time.monotonic()
        network.eval()
        features = self._trunk_features(name, network)  # (N, F, h, w)
        head = network.head.train()
        optimizer = torch.optim.AdamW(
            head.parameters(), self.recipe.head_learning_rate, weight_decay=self.recipe.weight_decay
        )
        size = self.recipe.head_batch_size
        steps = self.recipe.head_epochs * math.ceil(len(self.targets) / size)
        step = 0
        total = 0.0
        for _ in range(self.recipe.head_epochs):
            order = torch.randperm(len(self.targets), generator=self.generator)
            for chosen in torch.split(order, size):
                if len(chosen) == 1:  # batch norm needs two
                    continue
                _set_rate(optimizer, learning_rate(step, steps, self.recipe.head_learning_rate))
                loss = functional.cross_entropy(
                    head(features[chosen].float()), self.targets[chosen]
                )
                _step(optimizer, loss)
                step += 1
                total += loss.item()
                self.on_progress(Progress(f"{name} head", step, steps, f"loss {loss.item():.3f}"))
        update_bn((part.float() for part in torch.split(features[self._settling], size)), head)
        self._log(name, "head", self.recipe.head_epochs, total / max(1, step), began_s)

    @torch.no_grad()
    def _trunk_features(self, name: str, network: Variant) -> Tensor:
        parts = []
        chunks = torch.split(self.pixels, EVALUATION_BATCH_SIZE)
        for index, chunk in enumerate(chunks):
            x = normalise(resize(chunk.float(), network.spec.resolution))
            x = x.contiguous(memory_format=torch.channels_last)
            parts.append(network.trunk(x).half())  # half: V7's features of 50,000 pictures are 1 GB
            self.on_progress(Progress(f"{name} features", index + 1, len(chunks)))
        return torch.cat(parts)

    def _train_all_layers(self, optimizers: dict[str, torch.optim.AdamW], epoch: int) -> None:
        """Stage 2: one epoch of all layers of all variants of the group."""
        began_s = time.monotonic()
        forward = {name: self._forward(network.train()) for name, network in self.networks.items()}
        totals = dict.fromkeys(self.networks, 0.0)
        task = f"{self.name} all layers, epoch {epoch + 1} of {self.recipe.epochs}"
        drawn = batches(
            self.pixels,
            self.targets,
            len(self.training.labels),
            self.recipe.batch_size,
            self.recipe.augmentation,
            self.generator,
        )
        steps = self.recipe.epochs * self.steps_per_epoch
        for done, batch in enumerate(drawn, start=1):
            step = epoch * self.steps_per_epoch + done - 1
            rate = learning_rate(step, steps, self.recipe.learning_rate)
            for name, optimizer in optimizers.items():
                _set_rate(optimizer, rate)
                loss = _loss(forward[name], batch, VARIANTS[name].resolution)
                _step(optimizer, loss)
                totals[name] += loss.item()
            losses = ", ".join(f"{total / done:.3f}" for total in totals.values())
            self.on_progress(Progress(task, done, self.steps_per_epoch, f"loss {losses}"))
        for name, total in totals.items():
            if not math.isfinite(total):
                raise TrainingError(
                    f"{name}'s loss became {total} in epoch {epoch + 1}: "
                    "resume with a lower --learning-rate in another --run folder"
                )
            self._settle(self.networks[name])
            self._log(name, "all", epoch + 1, total / self.steps_per_epoch, began_s)

    def _settle(self, network: Variant) -> None:
        """Measure batch norm's statistics anew, with the weights as they are now.

        Its moving averages forget by a percent a step: what a few hundred pictures give in steps
        would leave them where they began, and the network useless outside training.
        """
        pixels = self.pixels[self._settling]
        update_bn(
            (
                normalise(resize(part.float(), network.spec.resolution))
                for part in torch.split(pixels, self.recipe.batch_size)
            ),
            network,
        )

    def _forward(self, network: Variant) -> Callable[[Tensor], Tensor]:
        compiled: Callable[[Tensor], Tensor] = network
        if self.recipe.compiled:
            compiled = torch.compile(network)
        return compiled

    def _log(self, name: str, stage: str, epoch: int, loss: float, began_s: float) -> None:
        logits = predict(self.networks[name], self.validation.pixels)
        accuracy = float((logits.argmax(1).numpy() == self.validation.targets).mean())
        seconds = time.monotonic() - began_s
        self.on_progress(Progress(f"{name} {stage} {epoch}", 1, 1, f"validation {accuracy:.4f}"))
        self.run.log(
            {
                "variant": name,
                "stage": stage,
                "epoch": epoch,
                "learning_rate": self.recipe.learning_rate,
                "loss": f"{loss:.4f}",
                "validation_accuracy": f"{accuracy:.4f}",
                "s": f"{seconds:.1f}",
            }
        )

    def _checkpoint(self, optimizers: dict[str, torch.optim.AdamW], epochs_done: int) -> None:
        self.run.save_checkpoint(
            self.name,
            {
                "epochs_done": epochs_done,
                "networks": {name: net.state_dict() for name, net in self.networks.items()},
                "optimizers": {name: one.state_dict() for name, one in optimizers.items()},
                "generator": self.generator.get_state(),
            },
        )

    def _resume(self, optimizers: dict[str, torch.optim.AdamW]) -> int:
        """Return how many epochs are done already, everything set as it was after them."""
        state: dict[str, Any] | None = self.run.load_checkpoint(self.name)
        if state is None:
            return 0
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
            optimizers[name].load_state_dict(state["optimizers"][name])
        self.generator.set_state(state["generator"])
        epochs_done: int = state["epochs_done"]
        return epochs_done

    def _keep(self, name: str, network: Variant) -> Trained:
        logits = predict(network, self.validation.pixels)
        targets = torch.from_numpy(self.validation.targets)
        trained = Trained(
            network.eval(),
            self.training.labels,
            float((logits.argmax(1) == targets).float().mean()),
            fit_temperature(logits, targets),
            f"from {self.recipe.pretrained or 'random weights'}; "
            f"{len(self.training)} pictures, {self.recipe.head_epochs} epochs of the head and "
            f"{self.recipe.epochs} of all layers ({self.recipe.order}), seed {self.recipe.seed}",
        )
        self.run.save_trained(trained)
        return trained


def _next_smaller(name: str, run: Run) -> Variant | None:
    """Return the run's finished variant of the same width that is closest below in resolution."""
    spec = VARIANTS[name]
    smaller = [
        other
        for other in run.finished()
        if VARIANTS[other].width == spec.width and VARIANTS[other].resolution < spec.resolution
    ]
    trained = (
        run.load_trained(max(smaller, key=lambda other: VARIANTS[other].resolution))
        if smaller
        else None
    )
    return trained.network if trained else None


@torch.no_grad()
def predict(network: Variant, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """Return logits (N, C) of pictures (N, 3, S, S) as the deployed graph would see them."""
    network.eval()
    parts = []
    for chunk in torch.split(torch.from_numpy(pixels), EVALUATION_BATCH_SIZE):
        x = normalise(resize(chunk.float(), network.spec.resolution))
        parts.append(network(x.contiguous(memory_format=torch.channels_last)))
    return torch.cat(parts)


def _loss(forward: Callable[[Tensor], Tensor], batch: Batch, resolution: int) -> Tensor:
    logits = forward(normalise(batch.sample(resolution)))  # (B, C)
    return functional.cross_entropy(logits, batch.targets)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
