"""A classifier on whichever TFLite runtime the device has.

ai-edge-litert is tried first, tflite-runtime serves older 32-bit ARM images; both run the same
files, with the XNNPACK delegate that they switch on by themselves. That delegate announces itself
with one INFO line on stderr at the first load: the runtimes offer no switch against it.
"""

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.ensemble import MAX_SCORE, softmax
from models.errors import ModelFormatError, ModelShapeError, RuntimeMissingError
from models.interface import OURS, Interface

# In order of preference; each has a class Interpreter of the same interface.
BACKENDS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")

# A TFLite file is a flatbuffer: root offset in bytes 0 to 3, this identifier in bytes 4 to 7.
FILE_IDENTIFIER = b"TFL3"

# The types that pixels and scores come in; a quantised one has a scale and a zero point.
QUANTISED = (np.uint8, np.int8)

# A float16 softmax over a thousand classes stays far within it.
SUM_TOLERANCE = 0.1
EIGHT_BIT_STEPS = 256

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


class Interpreter(Protocol):
    """The part of tf.lite.Interpreter that both runtimes share and a classifier needs."""

    def allocate_tensors(self) -> None:
        """Make the tensors that the calls below read and write."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return index, shape, dtype and quantization of each input."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return index, shape, dtype and quantization of each output."""

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """Return shape and dtype of every tensor."""

    def set_tensor(self, tensor_index: int, value: Array) -> None:
        """Copy the value into a tensor."""

    def get_tensor(self, tensor_index: int) -> Array:
        """Return a copy of a tensor."""

    def invoke(self) -> None:
        """Run the graph."""


def load_backend() -> Callable[..., Interpreter]:
    """Return the Interpreter class of the first TFLite runtime that is installed.

    Raises:
        RuntimeMissingError: none is.
    """
    for name in BACKENDS:
        try:
            backend: Callable[..., Interpreter] = importlib.import_module(name).Interpreter
        except ImportError:
            continue
        return backend
    raise RuntimeMissingError(
        "no TFLite runtime is installed: pip install ai-edge-litert, or tflite-runtime where that"
        " has no wheel"
    )


def load_interpreter(model: bytes, *, threads: int = 1) -> Interpreter:
    """Return an interpreter with the model loaded and its tensors allocated.

    Raises:
        ModelFormatError: the bytes are not a TFLite model, or one the runtime cannot run.
        RuntimeMissingError: no TFLite runtime is installed.
    """
    if model[4:8] != FILE_IDENTIFIER:
        raise ModelFormatError("this is not a TFLite model: its file identifier is missing")
    backend = load_backend()
    with _refusing_to_run():
        interpreter = backend(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


class Classifier:
    """One variant, loaded: pixels in, one probability per class out.

    Not for several threads at once: the interpreter has one set of tensors.

    Attributes:
        resolution: ρ, the side of the square input in pixels.
        class_count: C.
        quantised_range: the real numbers that a quantised input can hold, (low, high); None for a
            float32 one, which says nothing of what it expects.
    """

    def __init__(self, model: bytes, *, threads: int = 1, interface: Interface = OURS) -> None:
        """Load a .tflite file's bytes.

        Args:
            model: the file.
            threads: of the interpreter.
            interface: what the model's input and output mean.

        Raises:
            ModelFormatError: the bytes are not a TFLite model that the runtime can load.
            ModelShapeError: it does not take (1, ρ, ρ, 3) and return (1, C), each float32, uint8
                or int8.
            RuntimeMissingError: no TFLite runtime is installed.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._interpreter = load_interpreter(model, threads=threads)
        with _refusing_to_run():
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
            self._interpreter.invoke()  # what cannot run says so now; the first frame finds it warm
        self._input, in_shape = _only_tensor("input", inputs)
        self._output, out_shape = _only_tensor("output", outputs)
        self.resolution = _side(in_shape)
        self.class_count = _class_count(out_shape)
        self.quantised_range = self._input.range if self._input.is_quantised else None
        self._in_shape, self._interface = in_shape, interface
        self._input_map = self._input.map_from(interface.input_range)

    def classify(self, pixels: Floats) -> Floats:
        """Return the class probabilities of one picture.

        Args:
            pixels: shape (ρ, ρ, 3) or (1, ρ, ρ, 3), RGB in [0, 255], float32.

        Returns:
            Shape (C,), the caller's own copy.

        Raises:
            ValueError: the pixels have another shape or type.
        """
        scores = self.scores(pixels)
        if self._interface.output == "logits":
            scores = softmax(scores).astype(np.float32, copy=False)
        return scores

    def scores(self, pixels: Floats) -> Floats:
        """Return what the model itself says of one picture: probabilities or logits, (C,).

        Raises:
            ValueError: the pixels have another shape or type.
        """
        shape = self._in_shape
        if pixels.dtype != np.float32 or pixels.shape not in (shape, shape[1:]):
            raise ValueError(f"pixels are {shape} float32, not {pixels.shape} {pixels.dtype}")
        value = self._input.encode(pixels.reshape(shape), *self._input_map)
        self._interpreter.set_tensor(self._input.index, value)
        self._interpreter.invoke()
        returned = self._interpreter.get_tensor(self._output.index)
        return self._output.decode(returned.reshape(self.class_count))


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A model's input or output: where it is and what its integers mean, real = scale · (q − zero).

    A float32 tensor is its own meaning; so is an integer one without a scale.
    """

    index: int
    dtype: type[np.generic]
    scale: float
    zero_point: int

    @property
    def is_quantised(self) -> bool:
        return self.dtype in QUANTISED

    @property
    def range(self) -> tuple[float, float]:
        """The real numbers of its least and greatest integer."""
        limits = np.iinfo(self.dtype)  # type: ignore[type-var]
        low, high = limits.min - self.zero_point, limits.max - self.zero_point
        return low * self.scale, high * self.scale

    def map_from(self, input_range: tuple[float, float]) -> tuple[np.float32, np.float32]:
        """Return (a, b): pixels · a + b is what the tensor holds where they span `input_range`."""
        low, high = input_range
        a, b = (high - low) / 255 / self.scale, low / self.scale + self.zero_point
        return np.float32(a), np.float32(b)

    def encode(self, pixels: Floats, a: np.float32, b: np.float32) -> Array:
        value = pixels if a == 1 and b == 0 else pixels * a + b
        if not self.is_quantised:
            return value
        limits = np.iinfo(self.dtype)  # type: ignore[type-var]
        return np.rint(value).clip(limits.min, limits.max).astype(self.dtype)

    def decode(self, returned: Array) -> Floats:
        if not self.is_quantised:
            return returned
        real = (returned.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return real.astype(np.float32, copy=False)


def are_probabilities(scores: Floats) -> bool:
    """Return whether scores (…, C) may be a softmax's, perhaps one in eight bits.

    The sum of a float one misses 1 by little. Each score of an eight-bit one is a rounded multiple
    of 1/256: of a thousand classes, most of a flat answer may round to nothing.
    """
    if not (np.isfinite(scores).all() and scores.min() >= 0.0 and scores.max() <= MAX_SCORE):
        return False
    steps = scores * EIGHT_BIT_STEPS
    rounded_by = 0.5 / EIGHT_BIT_STEPS if np.allclose(steps, np.rint(steps), atol=1e-3) else 0.0
    tolerance = SUM_TOLERANCE + rounded_by * scores.shape[-1]
    return bool((np.abs(scores.sum(-1) - 1.0) <= tolerance).all())


@contextmanager
def _refusing_to_run() -> Iterator[None]:
    """Translate what the runtimes raise on a damaged or foreign model.

    They verify a file before they trust it, and a broken name in it is a UnicodeDecodeError, thus
    a ValueError.
    """
    try:
        yield
    except (ValueError, RuntimeError) as exc:
        reason = " ".join(str(exc).split())  # they report in several lines
        raise ModelFormatError(f"the TFLite runtime cannot run this model: {reason}") from exc


def _only_tensor(role: str, details: list[dict[str, Any]]) -> tuple[_Tensor, tuple[int, ...]]:
    """Return the model's only input or output and its shape."""
    if len(details) != 1:
        raise ModelShapeError(f"the model has {len(details)} {role}s, a variant has one")
    (tensor,) = details
    dtype = tensor["dtype"]
    if dtype is not np.float32 and dtype not in QUANTISED:
        raise ModelShapeError(
            f"the model's {role} is {np.dtype(dtype)}, a variant's is float32, uint8 or int8"
        )
    scale, zero_point = float(tensor["quantization"][0]), int(tensor["quantization"][1])
    if dtype is np.float32 or scale == 0.0:
        scale, zero_point = 1.0, 0
    if not 0.0 < scale < math.inf:
        raise ModelShapeError(f"the model's {role} has the scale {scale}, which is none")
    # A dynamic axis is 1 in "shape" and −1 in the signature; a fixed graph has no such axis.
    shape = tuple(int(side) for side in tensor["shape"])
    return _Tensor(int(tensor["index"]), dtype, scale, zero_point), shape


def _side(shape: tuple[int, ...]) -> int:
    """Return ρ of an input's shape."""
    match shape:
        case (1, height, width, 3) if height == width > 0:
            return height
        case (1, 3, height, width) if height > 3 and width > 3:
            reason = ": its channels come first, convert it with them last"
        case (1, height, width, 3) if height != width:
            reason = f": its picture is no square, {width} × {height} pixels"
        case (_, _, _, 1):
            reason = ": it takes grey pictures"
        case _:
            reason = ""
    raise ModelShapeError(
        f"the model takes {shape}, a variant takes one square RGB picture, channels last,"
        f" (1, ρ, ρ, 3){reason}"
    )


def _class_count(shape: tuple[int, ...]) -> int:
    """Return C of an output's shape; (1, 1, 1, C) is what a last 1x1 convolution leaves."""
    match shape:
        case (1, class_count) | (1, 1, 1, class_count) if class_count > 0:
            return class_count
    raise ModelShapeError(
        f"the model returns {shape}, a variant returns one score per class: (1, C)"
    )
