import pytest

from models.specs import (
    BASELINE,
    VARIANTS,
    macs,
    parameters,
    round_channels,
    seed_of,
    spec_of,
    trainable_parameters,
)

# PAPER, Table II. The width-0.35 rows hold for Food-101's 101 classes and count what the network
# stores; the exact figures were worked out from the published layers. The width-0.5 rows hold for
# 1000 classes and count what is trained. MACs in millions, as printed there.
EXACT_PARAMETERS_C101 = {"V1": 317_381, "V6": 386_821, "V7": 400_709}
PRINTED_MACS_C101 = {"V1": 10, "V2": 17, "V3": 27, "V4": 40, "V5": 54, "V6": 71, "V7": 112}
PRINTED_C1000 = {
    "Vim1": (1.15e6, 17),
    "Vim2": (1.3e6, 30),
    "Vim3": (1.45e6, 47),
    "Vim4": (1.59e6, 69),
    "Vim5": (1.75e6, 95),
    "Vim6": (1.9e6, 125),
    "Vim7": (1.97e6, 196),
}


@pytest.mark.parametrize(("name", "expected"), EXACT_PARAMETERS_C101.items())
def test_width_035_stores_exactly_the_published_parameters(name: str, expected: int) -> None:
    assert parameters(VARIANTS[name], 101) == expected


@pytest.mark.parametrize(("name", "millions"), PRINTED_MACS_C101.items())
def test_width_035_macs_match_table_ii(name: str, millions: int) -> None:
    # 1 %, and half of the last digit printed.
    assert macs(VARIANTS[name], 101) / 1e6 == pytest.approx(millions, abs=0.01 * millions + 0.5)


@pytest.mark.parametrize(("name", "row"), PRINTED_C1000.items())
def test_width_05_matches_table_ii(name: str, row: tuple[float, int]) -> None:
    trained, millions = row
    assert trainable_parameters(VARIANTS[name], 1000) == pytest.approx(trained, rel=0.01)
    assert macs(VARIANTS[name], 1000) / 1e6 == pytest.approx(millions, rel=0.01, abs=1)


def test_resolutions_and_heads_are_the_papers() -> None:
    assert [VARIANTS[f"V{i}"].resolution for i in range(1, 8)] == [96, 128, 160, 192, 224, 256, 320]
    assert [VARIANTS[f"V{i}"].head_channels // 64 for i in range(1, 8)] == [4, 5, 6, 7, 8, 9, 10]
    assert [VARIANTS[f"Vim{i}"].head_channels // 64 for i in range(1, 8)] == [
        9, 11, 13, 15, 17, 19, 20,
    ]  # fmt: skip


def test_trunk_has_seventeen_bottlenecks_and_halves_five_times() -> None:
    spec = VARIANTS["V1"]
    assert len(spec.bottlenecks) == 17
    assert sum(block.stride == 2 for block in spec.bottlenecks) == 4  # and the stem
    assert spec.feature_channels == 112


@pytest.mark.parametrize(("channels", "rounded"), [(11.2, 16), (5.6, 8), (8.4, 8), (112.0, 112)])
def test_channels_round_to_eight_and_lose_at_most_a_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


@pytest.mark.parametrize(
    ("name", "variant", "seed"), [("V1", "V1", 0), ("V3-s2", "V3", 2), ("Vim7-s11", "Vim7", 11)]
)
def test_a_seeded_variant_is_the_same_network_by_another_name(
    name: str, variant: str, seed: int
) -> None:
    spec = spec_of(name)
    assert (spec.name, seed_of(name)) == (name, seed)
    assert macs(spec, 10) == macs(VARIANTS[variant], 10)


@pytest.mark.parametrize("name", ["", "V9", "V1-s0", "V1-s", "V1-s100", "V1-s1-s2", "V1 "])
def test_other_names_are_no_variants(name: str) -> None:
    with pytest.raises(KeyError):
        spec_of(name)


def test_the_baseline_counts_as_published() -> None:
    # Keras Applications' MobileNetV2: total and trainable; 300 million MACs (arXiv 1801.04381).
    assert parameters(BASELINE, 1000) == 3_538_984
    assert trainable_parameters(BASELINE, 1000) == 3_504_872
    assert macs(BASELINE, 1000) / 1e6 == pytest.approx(300, rel=0.01)
