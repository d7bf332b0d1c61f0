"""Figures are looked at by people; here each is drawn, of the right size and the same each time."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from models.evaluation.report import figures
from models.evaluation.report.figures import Line, SpeedUp, SubsetPoint
from models.evaluation.subsets import LeftOut

ONE_POINT = [SubsetPoint(1, "V1", 10.0, 90.0, on_front=True)]
POINTS = [
    *ONE_POINT,
    SubsetPoint(1, "V2", 17.0, 89.0, on_front=False),
    SubsetPoint(2, "V1+V2", 13.5, 92.0, on_front=True),
]
DRAWN: dict[str, Callable[[Path], None]] = {
    "few ks": partial(
        figures.accuracy_over_k, title="t", ks=[1, 2, 10], sizes=[1, 10, 40],
        accuracies=[Line("top-1", [92, 93, 93]), Line("top-2", [95, 97, 97])],
    ),
    "many ks": partial(
        figures.accuracy_over_k, title="t", ks=range(1, 52), sizes=range(51),
        accuracies=[Line("top-1", range(51))],
    ),
    "subsets": partial(figures.accuracy_over_macs, title="t", points=POINTS),
    "one subset": partial(figures.accuracy_over_macs, title="t", points=ONE_POINT),
    "left out": partial(
        figures.cost_of_leaving_out, title="t",
        costs=[LeftOut("V1", -0.1, 0.2), LeftOut("V2", 1.0, 0.2)],
    ),
    "speed-ups": partial(
        figures.speed_ups, title="t",
        rows=[SpeedUp("V1", 20, 19, 21, 14, 13.2), SpeedUp("V7", 2, 1.9, 2.2, None, None)],
    ),
    "no goals": partial(figures.speed_ups, title="t", rows=[SpeedUp("V9", 2, 2, 2, None, None)]),
    "failures": partial(
        figures.under_failures, title="t", failing=[0, 0.25, 0.5],
        right=[Line("a", [90, 88, 80]), Line("b", [90, 50, 20])],
        answered=[Line("a", [100, 99, 90]), Line("b", [100, 60, 25])],
    ),
    "frames": partial(
        figures.frame_bytes, title="t", sides=[96, 160, 224],
        qualities=[Line("quality 50", [2e3, 4e3, 7e3]), Line("quality 85", [4e3, 9e3, 14e3])],
    ),
    "small frames": partial(
        figures.frame_bytes, title="t", sides=[96], qualities=[Line("quality 50", [2e3])]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_a_page_wide_and_the_same_each_time(name: str, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    DRAWN[name](first)
    DRAWN[name](second)
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.width == figures.WIDTH_INCHES * figures.DOTS_PER_INCH
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[0, 0] == 255).all()
    coloured = np.ptp(pixels.astype(int), axis=-1) > 60
    assert coloured.sum() > 100
    assert dict(mpl.rcParams) == before


def test_names_too_close_on_the_front_are_not_written_over_each_other() -> None:
    close = [SubsetPoint(2, str(i), float(i), 91 + i / 100, on_front=True) for i in range(5)]
    single = SubsetPoint(1, "V3", 5.0, 91.001, on_front=True)
    labelled = [(p.label, above) for p, above in figures._labelled([*POINTS, *close, single])]
    assert sorted(labelled) == [
        ("0", True), ("V1", True), ("V1+V2", True), ("V2", False), ("V3", False),
    ]  # fmt: skip
