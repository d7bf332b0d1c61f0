"""What share of the pictures any set of a pack's variants gets right together.

Measured where the manifest lists it (`ensembles`); estimated elsewhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.manifest import PackManifest

# An assumption: of the errors that a set leaves, one variant more removes this share. In the paper
# V1 + V2 + V3 removes 22 % of V3's errors on CIFAR-10 (11 % a variant), V1 … V5 at least 10 % of
# V5's (3 % a variant); in the pack cifar10, whose variants began as copies of each other, all
# three remove 3 % of V3's (1.3 % a variant).
FURTHER_VARIANT_REMOVES = 0.03

# Also assumptions, for packs whose variants were never measured: the order is what matters, by
# which a variant that costs more is a little better.
UNMEASURED_ACCURACY = 0.8
NEXT_VARIANT_REMOVES = 0.05


def accuracy_table(manifest: PackManifest, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the expected accuracy of every subset of these variants.

    A subset that the manifest does not list is estimated: the best of its own subsets with one
    variant fewer, and `FURTHER_VARIANT_REMOVES` of the errors removed by the one more.

    Args:
        manifest: the pack's.
        names: V of its variants, in any order.

    Returns:
        Shape (2^V,): at index m that of the variants whose bit is set in m (bit 0 for `names[0]`);
        0 for none of them, since no answer is never right.
    """
    bit = {name: 1 << place for place, name in enumerate(names)}
    listed = {
        sum(bit[name] for name in entry.variants): entry.accuracy
        for entry in manifest.ensembles
        if all(name in bit for name in entry.variants)
    }
    alone = {
        bit[entry.name]: _alone(entry.validation_accuracy, place)
        for place, entry in enumerate(manifest.variants)
        if entry.name in bit
    }
    table = np.zeros(1 << len(names))
    for subset in range(1, len(table)):
        if subset in listed:
            table[subset] = listed[subset]
        elif subset in alone:
            table[subset] = alone[subset]
        else:
            best = max(table[subset ^ one] for one in bit.values() if subset & one)
            table[subset] = 1 - (1 - best) * (1 - FURTHER_VARIANT_REMOVES)
    return table


def _alone(measured: float | None, place: int) -> float:
    if measured is not None:
        return measured
    return 1 - (1 - UNMEASURED_ACCURACY) * (1 - NEXT_VARIANT_REMOVES) ** place
