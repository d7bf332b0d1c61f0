import pytest

from models.evaluation.report.prose import counted, listed, percent, plus, signed


@pytest.mark.parametrize(
    ("names", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_stand_as_in_a_sentence(names: list[str], text: str) -> None:
    assert listed(names) == text


def test_figures_stand_as_in_a_table() -> None:
    assert percent(0.93244) == "93.24"
    assert (signed(0.184), signed(-2.331)) == ("+0.18", "−2.33")
    assert plus(("V1", "V2")) == "V1+V2"
    assert (counted(1, "node"), counted(3, "node")) == ("1 node", "3 nodes")
