"""Table VII measured: the variants and MobileNetV2 1.0 side by side on one core.

A variant's file is a pack's where one holds it, else the same network with random weights,
exported the same way; so is MobileNetV2, whose accuracy nobody needs here. Exporting takes some
seconds a network and needs PyTorch, so files are kept; so are the samples of a run.
"""

import hashlib
import importlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.evaluation.score_cache import CacheError
from models.evaluation.stopwatch import interleave, pinned
from models.evaluation.surroundings import processor, runtime_version
from models.pack import Pack
from models.runtime import Classifier
from models.specs import BASELINE, VARIANTS, VariantSpec

Doubles = npt.NDArray[np.float64]
OnProgress = Callable[[str, int, int], None]

TIMED: tuple[VariantSpec, ...] = (
    *(spec for spec in VARIANTS.values() if spec.width == 0.35),
    BASELINE,
)
"""The rows of Table VII, and V7."""

RANDOM_WEIGHTS = "random weights"


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to be timed.

    Attributes:
        spec: its specification.
        model: its `.tflite` file's bytes.
        source: the pack it comes from, or `RANDOM_WEIGHTS`.
    """

    spec: VariantSpec
    model: bytes
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class LatencyRun:
    """What one run measured.

    Attributes:
        samples_ms: shape (R,) of each network by name, one sample a round, rounds in step.
        sources: where each network's file comes from.
        core: the core it was pinned to; None where that can't be done.
        core_share: of the run's time, the part in which this thread had the core: what it lacks
            to 1 other processes had.
        measured_at: when, in ISO 8601, UTC.
    """

    samples_ms: Mapping[str, Doubles]
    sources: Mapping[str, str]
    core: int | None
    core_share: float
    measured_at: str


def find_subjects(
    packs: Sequence[Pack],
    class_count: int,
    folder: Path,
    *,
    on_progress: OnProgress = lambda _what, _done, _of: None,
) -> tuple[list[Subject], list[str]]:
    """Return the networks of Table VII that can be timed here, and the names of those that can't.

    Args:
        packs: where to look first, for float32 variants of the paper's shapes.
        class_count: C, the same for all of them.
        folder: where exported files are kept.
        on_progress: called with (what, done, of).

    Raises:
        CacheError: the folder can't be used.
    """
    subjects: list[Subject] = []
    missing: list[str] = []
    for done, spec in enumerate(TIMED):
        on_progress("exports", done, len(TIMED))
        subject = _packed(packs, spec, class_count) or _exported(spec, class_count, folder)
        if subject is None:
            missing.append(spec.name)
        else:
            subjects.append(subject)
    on_progress("exports", len(TIMED), len(TIMED))
    return subjects, missing


def measure(
    subjects: Sequence[Subject],
    rounds: int,
    *,
    on_progress: OnProgress = lambda _what, _done, _of: None,
) -> LatencyRun:
    """Time the networks in turns: whole calls as a node makes them, one thread, one core."""
    rng = np.random.default_rng(0)
    with pinned() as core:
        runs = {}
        for subject in subjects:
            side = subject.spec.resolution
            pixels = rng.uniform(0, 255, (side, side, 3)).astype(np.float32)
            runs[subject.spec.name] = partial(Classifier(subject.model).classify, pixels)
        began_s, began_own_s = time.perf_counter(), time.thread_time()
        samples_ms = interleave(
            runs, rounds, rng, on_round=lambda done: on_progress("latency", done, rounds)
        )
        own_s = time.thread_time() - began_own_s
        core_share = own_s / (time.perf_counter() - began_s)
    return LatencyRun(
        samples_ms,
        {subject.spec.name: subject.source for subject in subjects},
        core,
        core_share,
        datetime.now(UTC).isoformat(timespec="minutes"),
    )


def measure_once(
    subjects: Sequence[Subject],
    rounds: int,
    folder: Path,
    *,
    again: bool = False,
    on_progress: OnProgress = lambda _what, _done, _of: None,
) -> LatencyRun:
    """Return what was measured of the same files on the same machine and runtime, or measure now.

    Args:
        subjects: the networks.
        rounds: how many samples of each.
        folder: where runs are kept.
        again: measure even if there is such a run.
        on_progress: called with (what, done, of).

    Raises:
        CacheError: the folder can't be used.
    """
    files = [(one.spec.name, hashlib.sha256(one.model).hexdigest()) for one in subjects]
    conditions = (files, rounds, runtime_version(), processor(), os.cpu_count())
    key = hashlib.sha256(repr(conditions).encode()).hexdigest()
    file = folder / f"latency-{key[:24]}.json"
    try:
        known = None if again or not file.exists() else _parse(file.read_text())
        if known is not None:
            on_progress("latency", rounds, rounds)
            return known
        run = measure(subjects, rounds, on_progress=on_progress)
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, _serialise(run).encode())
    except OSError as exc:
        raise CacheError(f"{file} can't be read or written ({exc}): delete it") from exc
    return run


def _packed(packs: Sequence[Pack], spec: VariantSpec, class_count: int) -> Subject | None:
    for pack in packs:
        for entry in pack.manifest.variants:
            same = (entry.name, entry.resolution, entry.width, entry.precision) == (
                spec.name, spec.resolution, spec.width, "float32",
            )  # fmt: skip
            if same and len(pack.labels) == class_count:
                return Subject(spec, pack.model(entry.name), f"pack {pack.name}")
    return None


def _exported(spec: VariantSpec, class_count: int, folder: Path) -> Subject | None:
    """Return the network with random weights; None where what exporting needs is not installed."""
    try:
        converter = importlib.metadata.version("litert-torch")
        untrained = importlib.import_module("models.training.untrained")
    except (importlib.metadata.PackageNotFoundError, ModuleNotFoundError):
        return None
    file = folder / f"{spec.name}-{class_count}-classes-litert-torch-{converter}.tflite"
    try:
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write(file, untrained.random_model(spec, class_count))
        return Subject(spec, file.read_bytes(), RANDOM_WEIGHTS)
    except OSError as exc:
        raise CacheError(f"{file} can't be read or written ({exc}): delete it") from exc


def _serialise(run: LatencyRun) -> str:
    fields = asdict(run) | {
        "samples_ms": {name: list(samples) for name, samples in run.samples_ms.items()}
    }
    return json.dumps(fields)


def _parse(text: str) -> LatencyRun | None:
    """Return the run; None where it was written by another version or is no run at all."""
    try:
        fields = json.loads(text)
        samples_ms = {name: np.array(samples) for name, samples in fields.pop("samples_ms").items()}
        return LatencyRun(samples_ms, **fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(f"{file.name}.writing")
    beside.write_bytes(content)
    os.replace(beside, file)
