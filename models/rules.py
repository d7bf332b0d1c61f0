"""The names of the rules by which answers combine; numpy-free, so that a link can read a pack."""

from typing import Final, Literal

Rule = Literal["paper", "residual", "product"]

CONFIDENCE_RULE: Final[dict[Rule, Rule]] = {
    "paper": "residual",
    "residual": "residual",
    "product": "product",
}
"""By which rule's probability the winner's confidence is stated. The paper's own level means
nothing: it stays close to 1/C."""
