"""One loaded variant as the worker serves it: a JPEG in, its top k out.

Only the worker process imports this module: it brings numpy, Pillow and the TFLite runtime.
"""

import time

import numpy as np

from models.ensemble import compress
from models.errors import DecodeError, ModelShapeError
from models.preprocess import decode_jpeg
from models.runtime import Classifier, are_probabilities
from node_agent.worker_protocol import Kind, LoadRequest, WorkerAnswer, encode_answer


class ServedModel:
    """A model that has been loaded and has the shape that its pack promises.

    Raises:
        ModelShapeError: it has another one.
        ModelFormatError: its bytes are no TFLite model.
        RuntimeMissingError: no TFLite runtime is installed.
    """

    def __init__(self, request: LoadRequest) -> None:
        self._classifier = Classifier(
            request.model, threads=request.threads, interface=request.interface
        )
        self._resolution = request.resolution
        self._input_offset = request.input_offset
        self._k = request.k
        found = (self._classifier.resolution, self._classifier.class_count)
        if found != (request.resolution, request.class_count):
            raise ModelShapeError(
                f"the model takes {found[0]} pixels and returns {found[1]} classes, its pack says "
                f"{request.resolution} pixels and {request.class_count} classes"
            )

    def trial_ms(self) -> float:
        """Run the model on a grey picture and return the time.

        Raises:
            ModelShapeError: what it returns are no probabilities.
        """
        side = self._resolution
        grey = np.full((1, side, side, 3), 127.5, dtype=np.float32)
        started_s = time.perf_counter()
        scores = self._classifier.classify(grey)
        elapsed_ms = (time.perf_counter() - started_s) * 1000
        if not are_probabilities(scores):
            raise ModelShapeError("the model returns no probabilities: its scores do not add to 1")
        return elapsed_ms

    def respond(self, jpeg: bytes) -> tuple[Kind, bytes]:
        """Return the reply to one picture: ANSWER, or BAD_FRAME and why."""
        started_ns, started_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        try:
            pixels = decode_jpeg(jpeg, self._resolution, self._input_offset)
        except DecodeError as exc:
            return Kind.BAD_FRAME, str(exc).encode()
        decoded_ns = time.perf_counter_ns()
        scores = self._classifier.classify(pixels)
        inferred_ns, inferred_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        if not np.isfinite(scores).all():
            return Kind.BAD_FRAME, b"the model returns no numbers for this picture"
        values, indices = compress(np.clip(scores, 0.0, 1.0), self._k)
        answer = WorkerAnswer(
            decode_us=(decoded_ns - started_ns) // 1000,
            inference_us=(inferred_ns - decoded_ns) // 1000,
            cpu_us=(inferred_cpu_ns - started_cpu_ns) // 1000,
            class_count=scores.size,
            indices=tuple(indices.tolist()),
            values=tuple(values.tolist()),
        )
        return Kind.ANSWER, encode_answer(answer)
