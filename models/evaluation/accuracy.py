"""Accuracy of variants and of their ensembles, measured through the files that nodes run."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.dataset import Dataset
from models.evaluation.ballots import STATED_BY, Sent, ballots_of, chunks
from models.pack import Pack, Precision
from models.preprocess import resize
from models.rules import Rule
from models.runtime import Classifier

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
OnProgress = Callable[[str, int, int], None]

PROGRESS_EVERY = 64


@dataclass(frozen=True, slots=True)
class SubsetAccuracy:
    """What one set of variants gets right together.

    Attributes:
        variants: the variants that answered.
        top_1: share of pictures whose highest combined score is the right class.
        confidence: mean of the confidence that a gateway would state of the winner; where it is
            well calibrated it is close to `top_1`.
    """

    variants: tuple[str, ...]
    top_1: float
    confidence: float


def scores_of(
    pack: Pack,
    dataset: Dataset,
    *,
    threads: int = 1,
    precision: Precision | None = None,
    on_progress: OnProgress = lambda _name, _done, _of: None,
) -> dict[str, Floats]:
    """Return every variant's scores (N, C) of the pictures, each sampled as a node samples it.

    Raises:
        PrecisionNotFoundError: a variant does not come in that precision; None is the default.
    """
    return {
        entry.name: classify(
            Classifier(
                pack.model(entry.name, precision), threads=threads, interface=entry.interface
            ),
            dataset.pixels,
            entry.input_offset,
            on_progress=lambda done, of, name=entry.name: on_progress(name, done, of),  # type: ignore[misc]
        )
        for entry in pack.manifest.variants
    }


def classify(
    classifier: Classifier,
    pixels: npt.NDArray[np.uint8],
    input_offset: tuple[float, float] = (0.0, 0.0),
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Floats:
    """Return the scores (N, C) of pictures (N, 3, S, S)."""
    scores = np.empty((len(pixels), classifier.class_count), np.float32)
    for index, picture in enumerate(pixels):
        image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
        scores[index] = classifier.classify(resize(image, classifier.resolution, input_offset))
        if index % PROGRESS_EVERY == 0:
            on_progress(index, len(pixels))
    on_progress(len(pixels), len(pixels))
    return scores


def winners(scores: Mapping[str, Floats], weights: Mapping[str, float], k: int, rule: Rule) -> Ints:
    """Return the class (N,) that all the variants together say each picture shows.

    Args:
        scores: (N, C) of each variant.
        weights: what each variant's answer weighs.
        k: scores an answer keeps.
        rule: how answers combine.
    """
    in_order = [weights[name] for name in scores]
    parts = []
    for chunk in chunks(*next(iter(scores.values())).shape):
        sent = Sent.of(np.stack([one[chunk] for one in scores.values()]), k)
        parts.append(ballots_of(sent, rule).together(in_order).winners())
    return np.concatenate(parts)


def recalls(predicted: Ints, targets: Ints, class_count: int) -> Doubles:
    """Return the share of each class' pictures that were recognised, (C,); NaN without any."""
    counts = np.bincount(targets, minlength=class_count)
    right = np.bincount(targets[predicted == targets], minlength=class_count)
    shares: Doubles = np.divide(right, counts, out=np.full(class_count, np.nan), where=counts > 0)
    return shares


def subset_accuracies(
    scores: Mapping[str, Floats],
    weights: Mapping[str, float],
    targets: Ints,
    k: int,
    rule: Rule,
) -> list[SubsetAccuracy]:
    """Return the accuracy of every non-empty subset of the variants, small ones first.

    Args:
        scores: (N, C) of each variant.
        weights: what each variant's answer weighs.
        targets: (N,), the right classes.
        k: scores an answer keeps; 1 sends the index alone (Eq. 3).
        rule: how answers combine.
    """
    names = list(scores)
    in_order = [weights[name] for name in names]
    right: Counter[tuple[int, ...]] = Counter()
    confidence: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for chunk in chunks(*next(iter(scores.values())).shape):
        sent = Sent.of(np.stack([one[chunk] for one in scores.values()]), k)
        ranked = ballots_of(sent, rule).subsets(in_order)
        stated = ballots_of(sent, STATED_BY[rule]).subsets(in_order)
        for (subset, sums), (_, stating) in zip(ranked, stated, strict=True):
            winners = sums.winners()
            right[subset] += int((winners == targets[chunk]).sum())
            confidence[subset] += float(stating.probability(winners).sum())
    return [
        SubsetAccuracy(
            variants=tuple(names[index] for index in subset),
            top_1=right[subset] / len(targets),
            confidence=confidence[subset] / len(targets),
        )
        for subset in sorted(confidence, key=lambda subset: (len(subset), subset))
    ]
