"""What somebody else's model takes and returns, told from how it answers.

The file itself says the shapes, and of a quantised input the range. What range of numbers a
float32 input expects, and whether the scores are probabilities or logits, is told by trying:
a softmax's scores add to 1 whatever it is shown, and of several input ranges the right one is that
with which most labelled pictures are recognised, or, without labels, that with which the answers
say most about which picture it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.ensemble import softmax
from models.errors import InterfaceError
from models.interface import Interface, OutputKind
from models.manifest import Precision
from models.preprocess import resize
from models.runtime import Classifier, are_probabilities, load_interpreter

RANGES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
"""What float32 classifiers expect RGB 0–255 to be turned into, ours first."""

DETECTION_PICTURES = 200
"""So many tell ranges apart that differ by a few percent; the rest only takes time."""

MADE_PICTURES = 16

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]
InputRange = tuple[float, float]
Evidence = Literal["given", "file", "accuracy", "information"]


@dataclass(frozen=True, slots=True)
class Trial:
    """How a model answered with one input range.

    Attributes:
        input_range: what RGB 0 and 255 became.
        top_1: share of pictures recognised; None without labels.
        information_bits: what an answer says on average about which picture it was: the entropy
            of the mean answer less the mean entropy of the answers.
    """

    input_range: InputRange
    top_1: float | None
    information_bits: float


@dataclass(frozen=True, slots=True)
class Detection:
    """What a model takes and returns, and how that is known.

    Attributes:
        interface: the finding.
        range_from: "given" by a person, read in the "file", or the best "accuracy" or
            "information" of the trials.
        output_from: "given", or what the answers to "samples" or "made" pictures showed.
        trials: the ranges that were tried, empty where there was nothing to choose.
    """

    interface: Interface
    range_from: Evidence
    output_from: Literal["given", "samples", "made"]
    trials: tuple[Trial, ...]


def detect(
    model: bytes,
    pictures: Sequence[Pixels],
    targets: Ints | None,
    *,
    input_range: InputRange | None = None,
    output: OutputKind | None = None,
) -> Detection:
    """Return what the model takes and returns.

    Args:
        model: the `.tflite` file's bytes.
        pictures: samples, each (3, S, S) RGB; none: pictures are made up, which tell the output
            but not a float32 input's range.
        targets: the class of each sample, or None.
        input_range: what a person says of it.
        output: what a person says of it.

    Raises:
        InterfaceError: it cannot be told; the message says what to give.
        ModelFormatError: the bytes are not a TFLite model that the runtime can load.
        ModelShapeError: the model is no classifier of square RGB pictures.
        ValueError: the given range is none.
    """
    own_range = Classifier(model).quantised_range
    candidates = [r for r in (input_range, own_range) if r is not None][:1] or list(RANGES)
    if len(candidates) > 1 and not pictures:
        raise InterfaceError(
            "what RGB 0–255 is to be turned into for a float32 input cannot be told without "
            "pictures: give --samples FOLDER, or --input-range 0,255 or 0,1 or -1,1"
        )
    chosen = np.linspace(0, len(pictures) - 1, min(DETECTION_PICTURES, len(pictures))).astype(int)
    shown = [pictures[index] for index in chosen] or made_pictures()
    answers = {tried: scores(model, shown, Interface(tried)) for tried in candidates}
    kind = _output_of(np.concatenate(list(answers.values())), output)
    truth = None if targets is None else targets[chosen]
    trials = tuple(_trial(tried, said, kind, truth) for tried, said in answers.items())
    best = max(trials, key=lambda trial: (trial.top_1 or 0.0, trial.information_bits))
    range_from: Evidence = "information" if truth is None else "accuracy"
    if len(candidates) == 1:
        range_from = "file" if input_range is None else "given"
    return Detection(
        Interface(best.input_range, kind),
        range_from,
        "given" if output else ("samples" if pictures else "made"),
        trials if pictures else (),
    )


def scores(model: bytes, pictures: Sequence[Pixels], interface: Interface) -> Floats:
    """Return what the model itself says of each picture, (N, C)."""
    classifier = Classifier(model, interface=interface)
    said = np.empty((len(pictures), classifier.class_count), np.float32)
    for index, picture in enumerate(pictures):
        image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
        said[index] = classifier.scores(resize(image, classifier.resolution))
    return said


def information_bits(probabilities: Floats) -> float:
    """Return the mutual information of picture and class in answers (N, C), in bits.

    Mere sharpness would not do: a model that is fed numbers far too large is often very sure, and
    of the same class whatever it sees.
    """
    return _entropy_bits(probabilities.mean(0)) - float(
        np.mean([_entropy_bits(answer) for answer in probabilities])
    )


def made_pictures(count: int = MADE_PICTURES, side: int = 64, seed: int = 0) -> list[Pixels]:
    """Return pictures (3, side, side) of coloured blurs and noise: not of anything."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        grain = 2 ** (1 + number % 6)  # 2 patches a side, up to one a pixel
        patches = rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
        image = Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)
        pictures.append(np.asarray(image).transpose(2, 0, 1))
    return pictures


def weights_precision(model: bytes) -> Precision:
    """Return the precision of the model's weights, by the narrowest type among its tensors."""
    types = {np.dtype(tensor["dtype"]) for tensor in load_interpreter(model).get_tensor_details()}
    if types & {np.dtype(np.int8), np.dtype(np.uint8)}:
        return "int8"
    return "float16" if np.dtype(np.float16) in types else "float32"


def _trial(tried: InputRange, said: Floats, kind: OutputKind, targets: Ints | None) -> Trial:
    top_1 = None if targets is None else float((said.argmax(1) == targets).mean())
    probabilities = softmax(said.astype(np.float64)) if kind == "logits" else said
    return Trial(tried, top_1, information_bits(probabilities))


def _output_of(said: Floats, given: OutputKind | None) -> OutputKind:
    if not np.isfinite(said).all():
        raise InterfaceError("the model returns no numbers for some pictures: it is no classifier")
    adds_up = are_probabilities(said)
    if given == "probabilities" and not adds_up:
        raise InterfaceError("the model's scores are no probabilities: they do not add to 1")
    if given is None and not adds_up and said.min() >= 0.0 and said.max() <= 1.0:
        raise InterfaceError(
            "the model's scores lie between 0 and 1 and do not add to 1, as where several labels "
            "may be right at once; if they are logits after all, give --output logits"
        )
    return given or ("probabilities" if adds_up else "logits")


def _entropy_bits(probabilities: Floats) -> float:
    positive = probabilities[probabilities > 0].astype(np.float64)
    positive /= positive.sum()
    return float(-(positive * np.log2(positive)).sum())
