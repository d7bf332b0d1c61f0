"""A message as it comes in, and one that is kept to be published for us."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came in."""

    topic: str
    payload: bytes
    retain: bool
    qos: int


@dataclass(frozen=True, slots=True)
class Will:
    """A message the broker, or a farewell, publishes for us."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
