import math

import pytest
from pydantic import TypeAdapter, ValidationError

from models.interface import OURS, Interface

ADAPTER = TypeAdapter(Interface)


def test_nothing_said_means_our_own_convention() -> None:
    assert Interface((0.0, 255.0), "probabilities") == OURS
    assert ADAPTER.validate_python({}) == OURS


@pytest.mark.parametrize(
    "given",
    [(1.0, 0.0), (0.0, 0.0), (math.nan, 1.0), (0.0, math.inf), (-math.inf, 0.0), (0.0, 1e9)],
)
def test_a_range_that_is_none_is_refused(given: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="an input range"):
        Interface(given)


@pytest.mark.parametrize(
    "content",
    [
        '{"input_range": [0, 1, 2]}',
        '{"input_range": ["black", "white"]}',
        '{"input_range": [1, 0]}',
        '{"output": "embedding"}',
        '{"surprise": 1}',
        "[]",
    ],
)
def test_a_manifest_cannot_say_anything_else(content: str) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(content)
