"""From a float32 `.tflite` file to the same network in float16 or INT8.

float16 keeps the weights in half the bytes and computes in float32, or in float16 where the
processor can. INT8 is static: weights (a scale a channel) and activations are eight-bit integers,
the latter's ranges read off calibration pictures; the pixels still come in and the probabilities
still go out as float32, and the softmax itself stays float32, because in steps of 1/256 a hundred
classes no longer add to 1.

Tried and not used, on the `cifar10` pack's V1 and V3 (LiteRT 2.3, x86-64, one thread): weights
alone in eight bits lose as much as static INT8 and are no faster than float32; weights in eight
bits with activations quantised on the fly take four times as long, because depthwise
convolutions then miss the fast kernels; other ways to choose the weights' scales (MSE, OCTAV)
lose more or the same.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.manifest import Precision
from models.runtime import load_interpreter
from models.training.errors import QuantizeError
from models.training.quiet import quiet

if TYPE_CHECKING:
    from ai_edge_quantizer.recipe_manager import RecipeManager

KEPT_SHARE = 0.99
"""An activation's range holds the extremes of so many of the calibration pictures."""

Floats = npt.NDArray[np.float32]

MADE: tuple[Precision, ...] = ("float16", "int8")
"""What can be made of a float32 file."""


def quantize(model: bytes, precision: Precision, calibration: Sequence[Floats]) -> bytes:
    """Return the network of a float32 file in another precision, still float32 in and out.

    Args:
        model: the `.tflite` file's bytes.
        precision: "float16" or "int8".
        calibration: the model's inputs (1, ρ, ρ, 3) for some hundred typical pictures; only INT8
            looks at them, and needs at least one.

    Raises:
        QuantizeError: the file is not float32, or the quantiser cannot work on it.
        ModelFormatError: the bytes are no TFLite model that runs.
    """
    if precision not in MADE:
        raise ValueError(f"made are {' and '.join(MADE)}, not {precision}")
    if precision == "int8" and not calibration:
        raise ValueError("INT8 needs at least one calibration picture")
    signature, argument = _signature(model)
    with quiet():
        try:
            from ai_edge_quantizer import quantizer, recipe_manager
        except ModuleNotFoundError as exc:
            raise QuantizeError(
                f"quantising needs {exc.name}: pip install 'idlesight[train]'"
            ) from exc

        recipe = recipe_manager.RecipeManager()
        _RECIPES[precision](recipe)
        named = with_short_names(model)  # it knows tensors by name; a foreign file may have none
        try:
            tool = quantizer.Quantizer(named, recipe.get_quantization_recipe())
            ranges = None
            if tool.need_calibration:
                ranges = tool.calibrate({signature: [{argument: calibration[0]}]}, num_threads=1)
                _widen(ranges, named, calibration)
            made = tool.quantize(ranges, enable_progress_report=False).quantized_model
        except (ValueError, RuntimeError, KeyError) as exc:
            reason = " ".join(str(exc).split())
            raise QuantizeError(f"the quantiser cannot make it {precision}: {reason}") from exc
    return with_short_names(bytes(made))


def with_short_names(model: bytes) -> bytes:
    """Return the same file with its tensors named by number.

    A converted PyTorch module's tensors carry the path of every layer they passed: 137 kB of V1's
    1,258 kB, and a quarter of its INT8 file. No runtime reads them.
    """
    with quiet():
        from ai_edge_litert.tools import flatbuffer_utils

        content = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
        for subgraph in content.subgraphs:
            for number, tensor in enumerate(subgraph.tensors):
                tensor.name = str(number)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(content))


def _widen(ranges: dict[str, Any], model: bytes, calibration: Sequence[Floats]) -> None:
    """Set the ranges of activations to what the calibration pictures make of them.

    The quantiser's own are running averages of each picture's extremes: half of the pictures reach
    beyond them, and even white would be cut off at the input.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        # A delegate would keep what passes between its layers to itself.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (pixels,) = interpreter.get_input_details()
    wanted = [one for one in interpreter.get_tensor_details() if ranges.get(one["name"])]
    extremes = np.empty((len(calibration), len(wanted), 2))
    for number, picture in enumerate(calibration):
        interpreter.set_tensor(pixels["index"], picture)
        interpreter.invoke()
        for place, tensor in enumerate(wanted):
            value = interpreter.get_tensor(tensor["index"])
            extremes[number, place] = value.min(), value.max()
    low = np.quantile(extremes[..., 0], 1 - KEPT_SHARE, axis=0)
    high = np.quantile(extremes[..., 1], KEPT_SHARE, axis=0)
    for place, tensor in enumerate(wanted):
        if tensor["index"] == pixels["index"]:  # black and white are no outliers
            low[place], high[place] = extremes[:, place, 0].min(), extremes[:, place, 1].max()
        known = ranges[tensor["name"]]
        known["min"] = np.full_like(known["min"], low[place])
        known["max"] = np.full_like(known["max"], high[place])


def _signature(model: bytes) -> tuple[str, str]:
    """Return the names of the file's only signature and of its only argument."""
    interpreter: Any = load_interpreter(model)
    types = {np.dtype(one["dtype"]).name for one in interpreter.get_input_details()}
    if types != {"float32"}:
        raise QuantizeError(f"its input is {', '.join(types)}: only float32 files are quantised")
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        raise QuantizeError(
            f"the file has {len(signatures)} signatures, the quantiser needs one: convert it anew"
        )
    ((name, tensors),) = signatures.items()
    (argument,) = tensors["inputs"]
    return name, argument


def _float16(recipe: "RecipeManager") -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=16, dtype=qtyping.TensorDataType.FLOAT
        ),
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    recipe.add_quantization_config(".*", every, config, AlgorithmName.FLOAT_CASTING)


def _int8(recipe: "RecipeManager") -> None:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Operation

    recipe.add_static_config(
        ".*", Operation.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8
    )
    for kept in (Operation.INPUT, Operation.OUTPUT, Operation.SOFTMAX):
        recipe.add_quantization_config(".*", kept, algorithm_key=AlgorithmName.NO_QUANTIZE)


_RECIPES = {"float16": _float16, "int8": _int8}
