import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.core_shares import CoreTicks, busiest_foreign_share, parse_cores

# proc(5): user nice system idle iowait irq softirq steal guest guest_nice
MACHINE = (
    "cpu  100 20 30 800 50 1 2 7 0 0\n"
    "cpu0 50 10 15 400 25 1 1 3 0 0\n"
    "cpu3 50 10 15 400 25 0 1 4 0 0\n"
    "intr 1 2 3\ncpufreq 1\n"
)


def core(number: int, busy: float, nice: float = 0.0, total: float = 100.0) -> CoreTicks:
    return CoreTicks(number, busy, nice, total)


ZERO = tuple(core(number, 0.0, 0.0, 0.0) for number in range(4))


def test_cores_keep_the_kernels_numbers() -> None:
    assert parse_cores(MACHINE) == (core(0, 77, 10, 502), core(3, 76, 10, 501))


def test_a_short_line_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cpu0"):
        parse_cores("cpu  1 2 3 4 5 6 7\ncpu0 1 2 3\n")


@pytest.mark.parametrize(
    ("later", "own", "share"),
    [
        ([core(0, 100), core(1, 0)], 0, 1.0),
        ([core(0, 90, nice=90), core(1, 20)], 90, 0.2),  # the worker's core is not foreign
        ([core(0, 90, nice=60), core(1, 20)], 60, 0.3),  # a third of it is somebody else's
        ([core(0, 80, nice=80), core(1, 80, nice=80)], 80, 0.4),  # half of what is nice is ours
        ([core(0, 50), core(1, 50)], 100, 0.0),  # a worker at normal priority
        ([core(0, 0), core(1, 0)], 30, 0.0),
        ([core(0, 50, total=0)], 0, None),
        ([core(9, 50)], 0, None),  # it was not there before
        ([], 0, None),
    ],
)
def test_busiest(later: list[CoreTicks], own: float, share: float | None) -> None:
    found = busiest_foreign_share(ZERO, later, own)
    assert found == (None if share is None else pytest.approx(share))


def test_a_core_whose_counter_went_back_is_left_out() -> None:
    earlier = [core(0, 50, 10), core(1, 0, 0, 0)]
    assert busiest_foreign_share(earlier, [core(0, 40, 5, 200), core(1, 30)], 0) == 0.3


ticks = st.integers(0, 1000)


@given(
    st.lists(st.tuples(ticks, ticks, ticks), min_size=1, max_size=8),
    st.floats(-100, 10000),
)
def test_a_share_is_a_share(columns: list[tuple[int, int, int]], own: float) -> None:
    later = [
        core(number, normal + nice, nice, normal + nice + idle + 1)
        for number, (normal, nice, idle) in enumerate(columns)
    ]
    earlier = [core(number, 0, 0, 0) for number in range(len(columns))]
    share = busiest_foreign_share(earlier, later, own)
    assert share is not None
    assert 0 <= share <= 1
