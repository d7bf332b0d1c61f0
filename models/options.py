"""What options of `idlesight-models` may be, each with one sentence on what is wrong otherwise."""

import argparse
import re
from typing import get_args

from models.manifest import IDENTIFIER, Precision
from models.specs import VARIANTS


def names(text: str) -> tuple[str, ...]:
    """Return variants by their names, `V1,V2`."""
    given = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in given if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is no variant; choose from {', '.join(VARIANTS)}"
        )
    return given


def precisions(text: str) -> tuple[str, ...]:
    """Return precisions, `float32,int8`."""
    given = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in given if name not in get_args(Precision)]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is no precision; choose from {', '.join(get_args(Precision))}"
        )
    return given


def range_(text: str) -> tuple[float, float]:
    """Return two numbers, `LOW,HIGH`."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH, such as -1,1") from None
    return low, high


def identifier(text: str) -> str:
    """Return a name that may be part of a topic."""
    if not re.fullmatch(IDENTIFIER, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: at most 64 letters, digits, - and _"
        )
    return text


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def whole(text: str) -> int:
    """Return a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive_number(text: str) -> float:
    """Return a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """Return a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def positive_share(text: str) -> float:
    """Return a share above 0 and up to a half."""
    value = share(text)
    if not 0 < value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 0.5")
    return value
