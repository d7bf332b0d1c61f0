"""The names of the rules by which answers combine; numpy-free, so that a link can read a pack."""

from typing import Literal

Rule = Literal["paper", "residual"]
