import platform
from pathlib import Path

import pytest

from models.evaluation.surroundings import processor, surroundings


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU @ 2 GHz\n", "Some CPU @ 2 GHz"),
        ("processor\t: 0\nBogoMIPS\t: 108\n\nModel\t\t: Some Board 4\n", "Some Board 4"),
    ],
)
def test_the_kernel_names_the_processor(tmp_path: Path, cpuinfo: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert processor(tmp_path / "cpuinfo") == name


def test_where_it_does_not_the_architecture_stands(tmp_path: Path) -> None:
    assert processor(tmp_path / "none") == platform.machine()


def test_the_runtime_and_the_date_are_always_known() -> None:
    found = dict(surroundings())
    assert "litert" in found["TFLite runtime"] or "tflite" in found["TFLite runtime"]
    assert found["date"].count("-") == 2
    assert "numpy" in found["packages"]
