from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.payloads import NodeState
from gateway.speed import MATURE_ANSWERS, UNMEASURED_FACTOR, Speed, Times, cost_ratio
from models.manifest import VariantEntry


def entry(name: str, resolution: int, macs: int) -> VariantEntry:
    return VariantEntry(
        name=name,
        file=f"{name}.tflite",
        sha256="0" * 64,
        precision="float32",
        resolution=resolution,
        width=0.35,
        weight=1,
        parameters=0,
        macs=macs,
    )


PACK = {
    one.name: one
    for one in (
        entry("V1", 96, 10_000_000),
        entry("V2", 128, 17_000_000),
        entry("V3", 160, 27_000_000),
    )
}


def state(variant: str | None, p95_ms: float | None, answered: int, **changes: Any) -> NodeState:
    return NodeState.model_validate(
        {
            "node": "a",
            "state": "working",
            "session": "0badcafe",
            "variant": variant,
            "inference_ms_p50": None if p95_ms is None else p95_ms / 1.5,
            "inference_ms_p95": p95_ms,
            "counts": {"answered": answered},
            "version": "1",
        }
        | changes
    )


def learned(*states: NodeState) -> Speed:
    speed = Speed()
    for one in states:
        speed.learn(one)
    return speed


def p95(speed: Speed, variant: str) -> float | None:
    times = speed.times(PACK[variant], PACK)
    return None if times is None else round(times.p95_ms, 3)


def test_chance_at_the_two_percentiles_and_beyond() -> None:
    times = Times(100, 150)
    assert times.chance(100) == pytest.approx(0.5, abs=0.001)
    assert times.chance(150) == pytest.approx(0.95, abs=0.001)
    assert times.chance(1000) > 0.9999
    assert times.chance(20) < 0.0001


@pytest.mark.parametrize("times", [Times(0, 0), Times(0, 5), Times(5, 5), Times(9, 5)])
def test_odd_percentiles_are_no_fault(times: Times) -> None:
    assert times.chance(100) > 0.95
    assert 0 <= times.chance(0.1) <= 1


@given(st.floats(0.01, 1e4), st.floats(0.01, 1e4), st.floats(1, 1e5), st.floats(1, 10))
def test_more_time_is_never_a_smaller_chance(
    p50_ms: float, p95_ms: float, limit_ms: float, factor: float
) -> None:
    times = Times(p50_ms, p95_ms)
    assert 0 <= times.chance(limit_ms) <= times.chance(limit_ms * factor) <= 1


def test_what_a_node_has_not_run_is_scaled_by_its_cost() -> None:
    speed = learned(state("V1", 100, MATURE_ANSWERS))
    assert p95(speed, "V1") == 100
    assert p95(speed, "V3") == pytest.approx(100 * 2.7 * UNMEASURED_FACTOR)
    measured = [times.measured for name in PACK if (times := speed.times(PACK[name], PACK))]
    assert measured == [True, False, False]


def test_nothing_is_known_before_there_are_enough_answers() -> None:
    assert p95(learned(), "V1") is None
    assert p95(learned(state("V1", 100, MATURE_ANSWERS - 1)), "V1") is None
    assert p95(learned(state("V1", None, 1000)), "V1") is None
    assert p95(learned(state(None, 100, 1000)), "V1") is None


def test_answers_before_a_change_do_not_count_for_the_new_variant() -> None:
    cold = [state("V1", 100, 500), state("V3", 900, 501), state("V3", 900, 520)]
    assert p95(learned(*cold), "V3") == pytest.approx(100 * 2.7 * UNMEASURED_FACTOR)
    assert p95(learned(*cold, state("V3", 300, 521)), "V3") == pytest.approx(300)
    assert p95(learned(*cold, state("V3", 300, 521)), "V1") == 100
    restarted = state("V3", 300, 19, session="0badf00d")
    assert p95(learned(*cold, restarted), "V3") != 300


def test_what_was_measured_stands_and_moves_along_with_the_device() -> None:
    there_and_back = [state("V1", 100, 100), state("V3", 700, 100), state("V3", 700, 120)]
    speed = learned(*there_and_back, state("V1", 100, 121), state("V1", 100, 141))
    assert (p95(speed, "V1"), p95(speed, "V3")) == (100, 700)
    speed.learn(state("V1", 50, 200))  # it has cooled down
    assert (p95(speed, "V1"), p95(speed, "V3")) == (50, 350)


@given(st.lists(st.tuples(st.sampled_from(["V1", "V3"]), st.floats(0, 1.7e308)), max_size=6))
def test_absurd_figures_of_a_node_are_no_fault(told: list[tuple[str, float]]) -> None:
    states = [
        state(variant, p95_ms, 100 * place + more)
        for place, (variant, p95_ms) in enumerate(told, 1)
        for more in (0, MATURE_ANSWERS)
    ]
    speed = learned(*states)
    for one in PACK.values():
        times = speed.times(one, PACK)
        assert times is None or 0 <= times.chance(500) <= 1


def test_a_variant_of_another_pack_says_nothing() -> None:
    assert p95(learned(state("X9", 100, 100)), "V1") is None


def test_cost_is_taken_from_the_size_where_a_pack_does_not_say() -> None:
    assert cost_ratio(PACK["V3"], PACK["V1"]) == 2.7
    assert cost_ratio(entry("A", 192, 0), PACK["V1"]) == pytest.approx(4)
