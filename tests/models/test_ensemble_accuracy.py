import numpy as np
import pytest

from models.ensemble_accuracy import (
    FURTHER_VARIANT_REMOVES,
    UNMEASURED_ACCURACY,
    accuracy_table,
)
from models.manifest import EnsembleEntry, PackManifest, VariantEntry


def manifest(
    accuracies: tuple[float | None, ...], ensembles: dict[tuple[str, ...], float] | None = None
) -> PackManifest:
    return PackManifest(
        name="p",
        version="1",
        labels=("a", "b"),
        rule="paper",
        k=2,
        variants=tuple(
            VariantEntry(
                name=f"V{number}",
                file=f"V{number}.tflite",
                sha256=f"{number:064x}"[::-1],
                precision="float32",
                resolution=96,
                width=0.35,
                weight=1,
                parameters=0,
                macs=0,
                validation_accuracy=accuracy,
            )
            for number, accuracy in enumerate(accuracies, 1)
        ),
        ensembles=tuple(
            EnsembleEntry(variants=names, accuracy=accuracy)
            for names, accuracy in (ensembles or {}).items()
        ),
    )


def test_what_is_listed_is_taken_as_it_is_whatever_its_order() -> None:
    listed = {("V1", "V2"): 0.5, ("V3", "V1"): 0.6, ("V2", "V3"): 0.7, ("V1", "V2", "V3"): 0.65}
    table = accuracy_table(manifest((0.1, 0.2, 0.3), listed), ("V1", "V2", "V3"))
    assert table.tolist() == [0, 0.1, 0.2, 0.5, 0.3, 0.6, 0.7, 0.65]


def test_the_order_of_the_names_is_the_order_of_the_bits() -> None:
    table = accuracy_table(manifest((0.1, 0.2, 0.3), {("V1", "V3"): 0.6}), ("V3", "V1"))
    assert table.tolist() == [0, 0.3, 0.1, 0.6]


def test_what_is_not_listed_is_a_little_better_than_its_best_part() -> None:
    left = 1 - FURTHER_VARIANT_REMOVES
    table = accuracy_table(manifest((0.5, 0.9, 0.8)), ("V1", "V2", "V3"))
    assert table[0b011] == pytest.approx(1 - 0.1 * left)
    assert table[0b101] == pytest.approx(1 - 0.2 * left)
    assert table[0b111] == pytest.approx(1 - 0.1 * left**2)
    better = accuracy_table(manifest((0.5, 0.9, 0.8), {("V1", "V3"): 0.95}), ("V1", "V2", "V3"))
    assert better[0b111] == pytest.approx(1 - 0.05 * left)


def test_without_any_figure_a_costlier_variant_is_taken_to_be_better() -> None:
    table = accuracy_table(manifest((None, None, None)), ("V1", "V2", "V3"))
    assert table[0b001] == UNMEASURED_ACCURACY
    assert table[0b001] < table[0b010] < table[0b100] < table[0b111] < 1
    assert np.argmax(table) == 0b111
