"""What a model's input and output mean, for models that others have made.

Ours take RGB 0–255 as it is and return probabilities. Another's may want 0–1 or −1–1, and may
return logits. A quantised tensor's scale and zero point stand in the file itself; what its real
numbers mean does not, and is said here.

Standard library only: the manifest reads it through pydantic, a worker process without.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

OutputKind = Literal["probabilities", "logits"]

# Far beyond what any model wants; a manifest's 1e30 would only make infinities.
MAX_INPUT = 32_768.0


@dataclass(frozen=True, slots=True)
class Interface:
    """How pixels become a model's input and what its output is.

    Attributes:
        input_range: what RGB 0 and 255 become, (low, high); in between it is linear.
        output: "probabilities", or "logits", of which the softmax is taken.

    Raises:
        ValueError: the range is empty, turned round or not finite.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    input_range: tuple[float, float] = (0.0, 255.0)
    output: OutputKind = "probabilities"

    def __post_init__(self) -> None:
        low, high = self.input_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"an input range goes from a lower number to a higher, not {low:g} to {high:g}"
            )
        if max(abs(low), abs(high)) > MAX_INPUT:
            raise ValueError(f"an input range lies within ±{MAX_INPUT:g}, not {low:g} to {high:g}")


OURS = Interface()
"""RGB 0–255 in, probabilities out: what training exports, and a pack means that says nothing."""
