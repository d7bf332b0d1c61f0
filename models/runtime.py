"""A classifier on whichever TFLite runtime the device has.

ai-edge-litert is tried first, tflite-runtime serves older 32-bit ARM images; both run the same
files, with the XNNPACK delegate that they switch on by themselves. That delegate announces itself
with one INFO line on stderr at the first load: the runtimes offer no switch against it.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import ModelFormatError, ModelShapeError, RuntimeMissingError

# In order of preference; each has a class Interpreter of the same interface.
BACKENDS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")

# A TFLite file is a flatbuffer: root offset in bytes 0 to 3, this identifier in bytes 4 to 7.
FILE_IDENTIFIER = b"TFL3"

Floats = npt.NDArray[np.float32]


class Interpreter(Protocol):
    """The part of tf.lite.Interpreter that both runtimes share and a classifier needs."""

    def allocate_tensors(self) -> None:
        """Make the tensors that the calls below read and write."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return index, shape and dtype of each input."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return index, shape and dtype of each output."""

    def set_tensor(self, tensor_index: int, value: Floats) -> None:
        """Copy the value into a tensor."""

    def get_tensor(self, tensor_index: int) -> Floats:
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
    """

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        """Load a .tflite file's bytes.

        Raises:
            ModelFormatError: the bytes are not a TFLite model that the runtime can load.
            ModelShapeError: it does not take (1, ρ, ρ, 3) and return (1, C), both float32.
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
        match in_shape:
            case (1, height, width, 3) if height == width > 0:
                self.resolution = height
            case _:
                raise ModelShapeError(
                    f"the model takes {in_shape}, a variant takes one square RGB picture,"
                    " channels last: (1, ρ, ρ, 3)"
                )
        match out_shape:
            case (1, class_count) if class_count > 0:
                self.class_count = class_count
            case _:
                raise ModelShapeError(
                    f"the model returns {out_shape}, a variant returns one score per class: (1, C)"
                )

    def classify(self, pixels: Floats) -> Floats:
        """Return the class probabilities of one picture.

        Args:
            pixels: shape (ρ, ρ, 3) or (1, ρ, ρ, 3), RGB in [0, 255], float32.

        Returns:
            Shape (C,), the caller's own copy.

        Raises:
            ValueError: the pixels have another shape or type.
        """
        shape = (1, self.resolution, self.resolution, 3)
        if pixels.dtype != np.float32 or pixels.shape not in (shape, shape[1:]):
            raise ValueError(f"pixels are {shape} float32, not {pixels.shape} {pixels.dtype}")
        self._interpreter.set_tensor(self._input, pixels.reshape(shape))
        self._interpreter.invoke()
        scores: Floats = self._interpreter.get_tensor(self._output)[0]
        return scores


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


def _only_tensor(role: str, details: list[dict[str, Any]]) -> tuple[int, tuple[int, ...]]:
    """Return the index and shape of the model's only input or output."""
    if len(details) != 1:
        raise ModelShapeError(f"the model has {len(details)} {role}s, a variant has one")
    (tensor,) = details
    if tensor["dtype"] is not np.float32:
        raise ModelShapeError(
            f"the model's {role} is {np.dtype(tensor['dtype'])}, a variant's is float32"
        )
    # A dynamic axis is 1 in "shape" and −1 in the signature; a fixed graph has no such axis.
    return int(tensor["index"]), tuple(int(side) for side in tensor["shape"])
