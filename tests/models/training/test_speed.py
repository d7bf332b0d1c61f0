import pytest
import torch

from models.training import speed
from models.training.machine import Machine, Speed
from models.training.recipe import Recipe
from models.training.speed import choose


def test_the_fastest_way_is_taken_and_every_variants_own_speed_told() -> None:
    choice = choose(Recipe(("V1", "V2", "V2-s1")), 100, 3, device="cpu", compiled="no")
    first, second, seeded = choice.pictures_per_s
    assert first > second == seeded > 0
    assert choice.machine.device == "cpu"
    assert not choice.machine.compiled


def test_what_is_asked_for_is_not_measured_away() -> None:
    choice = choose(Recipe(("V1",)), 100, 3, device="cpu", precision="bfloat16", compiled="yes")
    assert choice.machine.dtype is torch.bfloat16
    assert choice.machine.compiled


@pytest.mark.parametrize(
    ("pictures", "gain", "compiled"), [(10**9, 2.0, True), (10**9, 0.5, False), (10, 2.0, False)]
)
def test_compiling_is_chosen_where_the_run_is_long_and_it_is_faster(
    pictures: int, gain: float, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measured speeds are made up: what is tested is what follows from them."""

    def measured(machines: list[Machine], *_: object) -> list[Speed]:
        speeds = [Speed(one, 100.0 * (gain if one.compiled else 1.0)) for one in machines]
        return sorted(speeds, key=lambda one: one.pictures_per_s, reverse=True)

    monkeypatch.setattr(speed, "measure", measured)
    choice = choose(Recipe(("V1",)), pictures, 3, device="cpu")
    assert choice.machine.compiled is compiled
    assert choice.pictures_per_s == pytest.approx((85.0 * (gain if compiled else 1.0),))
