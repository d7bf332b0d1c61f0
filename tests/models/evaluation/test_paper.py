import pytest

from models.evaluation import paper
from models.specs import BASELINE, VARIANTS, macs, parameters, trainable_parameters


@pytest.mark.parametrize("name", [*VARIANTS, BASELINE.name])
def test_table_ii_and_the_specifications_agree(name: str) -> None:
    spec = BASELINE if name == BASELINE.name else VARIANTS[name]
    row = paper.TABLE_II[name]
    count = trainable_parameters if spec.width == 0.5 else parameters
    assert count(spec, row.class_count) == pytest.approx(row.parameters, rel=0.025)
    assert macs(spec, row.class_count) / 1e6 == pytest.approx(row.million_macs, rel=0.04)


def test_every_accuracy_is_of_a_variant_or_the_baseline() -> None:
    for name, row in paper.TABLE_VI.items():
        assert set(row) <= {*VARIANTS, paper.BASELINE_NAME}, name
        assert all(0 < percent < 100 for percent in row.values()), name
    assert paper.TABLE_VI["imagenet"]["Vim7"] == 64.9
    assert paper.TABLE_VI["cifar10"] == {
        "MobileNetV2": 95.16, "V1": 91.76, "V2": 93.07, "V3": 93.81, "V4": 94.43, "V5": 94.62,
    }  # fmt: skip


def test_claims_of_ensembles_refer_to_the_baseline_of_their_data() -> None:
    for name, claims in paper.ENSEMBLE_CLAIMS.items():
        for claim in claims:
            assert claim.reference_percent == paper.TABLE_VI[name][paper.BASELINE_NAME]
            assert set(claim.variants) < set(paper.TABLE_VI[name])


def test_the_tablets_speed_ups_are_its_latencies() -> None:
    baseline = paper.TABLE_VII[paper.BASELINE_NAME].latency_ms
    for row in paper.TABLE_VII.values():
        assert row.speed_up == pytest.approx(baseline / row.latency_ms, rel=0.02)


def test_data_sets_have_a_title() -> None:
    assert set(paper.TITLES) == set(paper.TABLE_VI)
