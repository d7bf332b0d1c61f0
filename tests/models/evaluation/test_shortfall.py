import pytest

from models.evaluation.shortfall import Shortfall, explain, shortfalls


def test_only_what_is_beyond_doubt_falls_short() -> None:
    found = shortfalls(
        {"V1": 89.0, "V2": 93.0, "V3": 95.0, "own": 10.0},
        {"V1": 0.6, "V2": 0.6, "V3": 0.6, "own": 0.6},
        {"V1": 91.76, "V2": 93.07, "V3": 93.81},
        {"V1": "one", "V2": "two", "V3": "three", "own": "four"},
    )
    assert [(one.variant, one.provenance) for one in found] == [("V1", "one")]
    assert found[0].points == pytest.approx(2.76)


@pytest.mark.parametrize(
    ("provenance", "sentence"),
    [
        (
            "from x.npz; 47500 pictures, 5 epochs of the head and 4 of all layers (ascending)",
            "V1 is 2.33 points below the paper: by its record it trained for 5 epochs of the head "
            "and 4 of all layers, the paper's for 30 and 105.",
        ),
        ("distilled", "V1 is 2.33 points below the paper; its record says: distilled."),
        ("", "V1 is 2.33 points below the paper; its pack does not say how it was trained."),
    ],
)
def test_the_cause_is_what_the_pack_records(provenance: str, sentence: str) -> None:
    assert explain(Shortfall("V1", 2.331, provenance)) == sentence
