"""Two-stage training of a family of variants on one data pipeline (paper IV-B).

Stage 1 trains the two last convolutions on the frozen trunk's features. Stage 2 trains all layers
on augmented pictures: each batch is drawn once and sampled by every variant of the group at its
own resolution, and each variant has its own cross-entropy and optimizer.
"""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from models.dataset import Dataset, split_validation
from models.specs import seed_of, spec_of
from models.training.augment import Batch, batch_count, batches
from models.training.calibration import fit_temperature
from models.training.errors import TrainingError
from models.training.machine import Machine, peak_memory_bytes
from models.training.network import Variant
from models.training.position import Position
from models.training.prediction import predict, prepare, trunk_features
from models.training.pretrained import load_trunk
from models.training.progress import OnProgress, Progress
from models.training.recipe import (
    Order,
    Recipe,
    Schedule,
    after_stagnation,
    draws_per_class,
    one_cycle,
)
from models.training.run import Run, Trained, in_order

SETTLING_PICTURES = 2_000
"""Enough for means and variances that are within a few percent of those of all pictures."""

CHECKPOINT_EVERY_S = 120.0
"""What an interruption costs at most; writing a group's few megabytes takes milliseconds."""


def train(
    dataset: Dataset,
    recipe: Recipe,
    run: Run,
    *,
    pretrained: Path | None,
    machine: Machine | None = None,
    on_progress: OnProgress = lambda _: None,
) -> list[Trained]:
    """Train the recipe's variants, continuing where the run's folder says it stopped.

    Args:
        dataset: labelled pictures; a part of each class is held out for validation.
        recipe: what to train and how.
        run: the run's folder, open.
        pretrained: weights for the first trunk, or None for a random start.
        machine: how to compute; by default in float32 on the CPU.
        on_progress: called after every step.

    Raises:
        TrainingError: the loss became NaN, or the data, weights or folder can't be used.
    """
    training, validation = split_validation(dataset, recipe.validation_share, recipe.seed)
    names = in_order(recipe.variants)
    trained = {name: one for name in names if (one := run.load_trained(name)) is not None}
    missing = [name for name in names if name not in trained]
    together = recipe.order is Order.TOGETHER
    for group in [missing] if together and missing else [[name] for name in missing]:
        previous = None if together else _previous(group[0], run)
        trainer = GroupTrainer(
            group, training, validation, recipe, run, machine or Machine(), on_progress, previous
        )
        if previous is None and pretrained is not None:
            trainer.load_trunks(pretrained)
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
        machine: Machine,
        on_progress: OnProgress,
        previous: Variant | None = None,
    ) -> None:
        # Of its own for every variant: two that saw the same batches would err alike.
        seed = recipe.seed + 1_000 * sum(map(seed_of, names)) + spec_of(names[0]).resolution
        torch.manual_seed(seed)
        class_count = len(training.labels)
        self.networks = {name: Variant(spec_of(name), class_count, recipe.detail) for name in names}
        if previous is not None:
            for network in self.networks.values():
                network.trunk.load_state_dict(previous.trunk.state_dict())
        self.training = training
        self.validation = validation
        self.recipe = recipe
        self.run = run
        self.machine = machine
        self.on_progress = on_progress
        self.epochs = recipe.epochs_of(continues=previous is not None)
        self.origin = f"from {recipe.pretrained or 'random weights'}"
        if previous is not None:
            self.origin = f"from the trunk of {previous.spec.name}"
        self.pixels = torch.from_numpy(training.pixels)  # (N, 3, S, S)
        self.targets = torch.from_numpy(training.targets)  # (N,)
        self.generator = torch.Generator().manual_seed(seed)
        counts = np.bincount(training.targets, minlength=class_count).tolist()
        self.draws = draws_per_class(counts, recipe.balance)
        settling = torch.Generator().manual_seed(seed)
        self._settling = torch.randperm(len(training), generator=settling)[:SETTLING_PICTURES]
        self._saved_s = time.monotonic()

    @property
    def name(self) -> str:
        """The group's name, such as `V1+V2`."""
        return "+".join(self.networks)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch of stage 2."""
        return batch_count(sum(self.draws), self.recipe.batch_size)

    def load_trunks(self, pretrained: Path) -> None:
        """Fill the trunks with pretrained weights."""
        for network in self.networks.values():
            load_trunk(network, pretrained)

    def finish(self) -> list[Trained]:
        """Run what is left of both stages, keep the finished variants and return them."""
        for network in self.networks.values():
            self.machine.host(network)
        optimizers = {
            name: _optimizer(network, self.recipe.learning_rate, self.recipe)
            for name, network in self.networks.items()
        }
        position = self._resume(optimizers)
        if position is None:
            for name, network in self.networks.items():
                self._train_head(name, network)
            position = Position(
                generator=self.generator.get_state(),
                rates=dict.fromkeys(self.networks, self.recipe.learning_rate),
                best=dict.fromkeys(self.networks, 0.0),
            )
            self._checkpoint(optimizers, position)
        while position.epoch < self.epochs:
            self._train_all_layers(optimizers, position)
            self._checkpoint(optimizers, position)
        return [self._keep(name, network) for name, network in self.networks.items()]

    def _train_head(self, name: str, network: Variant) -> None:
        """Stage 1: the two last convolutions on what the frozen trunk makes of the pictures."""
        began_s = time.monotonic()
        network.eval()
        head = network.head.train()
        rate = self.recipe.head_learning_rate
        optimizer = _optimizer(head, rate, self.recipe)
        cached = None
        if self.recipe.cached_features:
            cached = trunk_features(
                network,
                self.training.pixels,
                self.machine,
                lambda done, of: self.on_progress(Progress(f"{name} features", done, of)),
            )
        size = self.recipe.head_batch_size
        picture_count = len(self.targets) if cached is not None else sum(self.draws)
        steps = self.recipe.head_epochs * batch_count(picture_count, size)
        step = 0
        total = 0.0
        for _ in range(self.recipe.head_epochs):
            for features, targets in self._head_batches(network, cached):
                _set_rate(optimizer, one_cycle(step, steps, rate))
                with self.machine.autocast():
                    logits = head(features)  # (B, C)
                loss = functional.cross_entropy(logits.float(), targets)
                _step(optimizer, loss)
                step += 1
                total += loss.item()
                self.on_progress(Progress(f"{name} head", step, steps, f"loss {loss.item():.3f}"))
        settling = torch.split(self.pixels[self._settling], size)
        update_bn((self._features(network, part) for part in settling), head)
        pictures = step * size
        self._log(name, "head", self.recipe.head_epochs, rate, total / max(1, step), began_s,
                  pictures)  # fmt: skip

    def _head_batches(
        self, network: Variant, cached: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of (features (B, F, h, w), targets (B,) or (B, C))."""
        size = self.recipe.head_batch_size
        if cached is not None:
            order = torch.randperm(len(self.targets), generator=self.generator)
            for chosen in torch.split(order, size)[: batch_count(len(order), size)]:
                device = self.machine.device
                yield cached[chosen.to(cached.device)].float(), self.targets[chosen].to(device)
            return
        for batch in self._drawn(size, first=0):
            with torch.no_grad():
                features = self._features(network, batch.sample(network.spec.resolution))
            yield features, batch.targets

    def _features(self, network: Variant, pictures: Tensor) -> Tensor:
        with self.machine.autocast():
            features: Tensor = network.trunk(prepare(pictures, network, self.machine))
        return features.float()  # (B, F, ρ/32, ρ/32)

    def _drawn(self, size: int, *, first: int) -> Iterator[Batch]:
        drawn = batches(
            self.pixels, self.targets, self.draws, size, self.recipe.augmentation, self.generator,
            first=first,
        )  # fmt: skip
        return (batch.to(self.machine.device) for batch in drawn)

    def _train_all_layers(
        self, optimizers: dict[str, torch.optim.Optimizer], position: Position
    ) -> None:
        """Stage 2: what is left of one epoch of all layers of all variants of the group."""
        began_s, began_at = time.monotonic(), position.steps
        forward = {name: self.machine.prepared(net.train()) for name, net in self.networks.items()}
        task = f"{self.name} all layers, epoch {position.epoch + 1} of {self.epochs}"
        steps = self.epochs * self.steps_per_epoch
        for batch in self._drawn(self.recipe.batch_size, first=position.steps):
            step = position.epoch * self.steps_per_epoch + position.steps
            for name, optimizer in optimizers.items():
                rate = position.rates[name]
                if self.recipe.schedule is Schedule.ONE_CYCLE:
                    rate = one_cycle(step, steps, rate)
                _set_rate(optimizer, rate)
                loss = self._loss(forward[name], batch, self.networks[name])
                _step(optimizer, loss)
                position.losses[name] = position.losses.get(name, 0.0) + loss.item()
            position.steps += 1
            means = [total / position.steps for total in position.losses.values()]
            losses = ", ".join(f"{mean:.3f}" for mean in means)
            self.on_progress(Progress(task, position.steps, self.steps_per_epoch, f"loss {losses}"))
            if not all(map(math.isfinite, means)):
                raise TrainingError(
                    f"the loss of {self.name} became {losses} in epoch {position.epoch + 1}: "
                    "resume with a lower --learning-rate in another --run folder"
                )
            if time.monotonic() - self._saved_s > CHECKPOINT_EVERY_S:
                self._checkpoint(optimizers, position)
        pictures = (position.steps - began_at) * self.recipe.batch_size
        for name, total in position.losses.items():
            self._settle(self.networks[name])
            accuracy = self._log(
                name, "all", position.epoch + 1, position.rates[name], total / position.steps,
                began_s, pictures,
            )  # fmt: skip
            if self.recipe.schedule is Schedule.STAGNATION:
                position.rates[name] = after_stagnation(
                    position.rates[name], accuracy, position.best[name]
                )
            position.best[name] = max(position.best[name], accuracy)
        position.next_epoch(self.generator.get_state())

    def _loss(self, forward: nn.Module, batch: Batch, network: Variant) -> Tensor:
        pictures = prepare(batch.sample(network.spec.resolution), network, self.machine)
        with self.machine.autocast():
            logits = forward(pictures)  # (B, C)
        return functional.cross_entropy(
            logits.float(), batch.targets, label_smoothing=self.recipe.label_smoothing
        )

    def _settle(self, network: Variant) -> None:
        """Measure batch norm's statistics anew, with the weights as they are now.

        Its moving averages forget by a percent a step: what a few hundred pictures give in steps
        would leave them where they began, and the network useless outside training.
        """
        parts = torch.split(self.pixels[self._settling], max(2, self.recipe.batch_size))
        update_bn(
            (prepare(part, network, self.machine) for part in parts if len(part) > 1), network
        )

    def _log(
        self,
        name: str,
        stage: str,
        epoch: int,
        rate: float,
        loss: float,
        began_s: float,
        pictures: int,
    ) -> float:
        """Add an epoch's row to the log and return its validation accuracy."""
        seconds = time.monotonic() - began_s
        logits = predict(self.networks[name], self.validation.pixels, self.machine)
        accuracy = float((logits.argmax(1).numpy() == self.validation.targets).mean())
        self.on_progress(Progress(f"{name} {stage} {epoch}", 1, 1, f"validation {accuracy:.4f}"))
        self.run.log(
            {
                "variant": name,
                "stage": stage,
                "epoch": epoch,
                "learning_rate": f"{rate:.6g}",
                "loss": f"{loss:.4f}",
                "validation_accuracy": f"{accuracy:.4f}",
                "s": f"{seconds:.1f}",
                "ms_per_picture": f"{seconds * 1000 / max(1, pictures):.3f}",
                "peak_memory_mb": f"{peak_memory_bytes() / 1e6:.0f}",
                "machine": str(self.machine),
            }
        )
        return accuracy

    def _checkpoint(self, optimizers: dict[str, torch.optim.Optimizer], position: Position) -> None:
        self.run.save_checkpoint(
            self.name,
            {
                "networks": {name: net.state_dict() for name, net in self.networks.items()},
                "optimizers": {name: one.state_dict() for name, one in optimizers.items()},
                "position": position.state(),
            },
        )
        self._saved_s = time.monotonic()

    def _resume(self, optimizers: dict[str, torch.optim.Optimizer]) -> Position | None:
        """Return where the checkpoint stands, everything set as it was then; None without one."""
        state: dict[str, Any] | None = self.run.load_checkpoint(self.name)
        if state is None:
            return None
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
            optimizers[name].load_state_dict(state["optimizers"][name])
        position = Position(**state["position"])
        self.generator.set_state(position.generator)
        return position

    def _keep(self, name: str, network: Variant) -> Trained:
        logits = predict(network, self.validation.pixels, self.machine)
        targets = torch.from_numpy(self.validation.targets)
        trained = Trained(
            network.to("cpu").eval(),
            self.training.labels,
            float((logits.argmax(1) == targets).float().mean()),
            fit_temperature(logits, targets),
            f"{self.origin}; {len(self.training)} pictures, {self.recipe.head_epochs} epochs of "
            f"the head and {self.epochs} of all layers ({self.recipe.order}), "
            f"seed {self.recipe.seed}{self._detail_said()}",
        )
        self.run.save_trained(trained)
        return trained

    def _detail_said(self) -> str:
        detail = self.recipe.detail
        return f"; sees no more than pictures of {detail} px show" if detail else ""


def _previous(name: str, run: Run) -> Variant | None:
    """Return the finished variant whose trunk this one begins with.

    That is the one of the same width closest below in resolution; of seeds its own line, so that
    lines stay apart.
    """
    spec, seed = spec_of(name), seed_of(name)
    smaller = [
        other
        for other in run.finished()
        if spec_of(other).width == spec.width
        and spec_of(other).resolution < spec.resolution
        and seed_of(other) == seed
    ]
    trained = run.load_trained(in_order(smaller)[-1]) if smaller else None
    return trained.network if trained else None


def _optimizer(module: nn.Module, rate: float, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        module.parameters(), rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay
    )


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
