import argparse
from collections.abc import Callable

import pytest

from models.options import (
    identifier,
    names,
    positive,
    positive_number,
    positive_share,
    precisions,
    range_,
    share,
    whole,
)


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (names, "V1, V3,V1", ("V1", "V3")),
        (precisions, "int8,float32", ("int8", "float32")),
        (range_, "-1,1", (-1.0, 1.0)),
        (identifier, "front_door-2", "front_door-2"),
        (positive, "7", 7),
        (whole, "0", 0),
        (positive_number, "0.5", 0.5),
        (share, "0", 0.0),
        (positive_share, "0.5", 0.5),
    ],
)
def test_what_is_possible_is_taken(
    option: Callable[[str], object], text: str, value: object
) -> None:
    assert option(text) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (names, "V1,V9"),
        (precisions, "int4"),
        (range_, "1"),
        (identifier, "front door"),
        (positive, "0"),
        (positive, "x"),
        (whole, "-1"),
        (positive_number, "inf"),
        (positive_number, "nan"),
        (share, "1.1"),
        (positive_share, "0"),
    ],
)
def test_what_is_not_is_one_sentence_that_names_it(
    option: Callable[[str], object], text: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        option(text)
    assert any(part in str(refused.value) for part in (repr(text), "is no "))
