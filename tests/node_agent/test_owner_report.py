import pytest

from node_agent.foreign_cpu import CpuSample
from node_agent.objections import Cause
from node_agent.owner_report import OwnerLedger


def sample(busy: float, total: float, own: float) -> CpuSample:
    return CpuSample(busy, total, own, unit_s=0.01)


def test_an_account_begins_empty() -> None:
    report = OwnerLedger().report()
    assert (report.cpu_s, report.idle_share, report.yields) == (None, None, 0)
    assert (report.yield_ms_p50, report.yield_ms_max) == (None, None)


def test_time_taken_and_its_share_of_the_time_that_nobody_else_used() -> None:
    ledger = OwnerLedger()
    ledger.add(sample(1000, 2000, 50))
    ledger.add(None)
    ledger.add(sample(1200, 2400, 100))  # 200 idle, 150 foreign, 50 own
    report = ledger.report()
    assert report.cpu_s == 1.0  # the start included
    assert report.idle_share == pytest.approx(50 / 250)


def test_a_counter_that_went_back_is_not_counted() -> None:
    ledger = OwnerLedger()
    ledger.add(sample(1000, 2000, 100))
    ledger.add(sample(1100, 2200, 20))
    ledger.add(sample(1100, 2400, 20))
    report = ledger.report()
    assert report.cpu_s == 1.0
    assert report.idle_share == 0.0


def test_a_yield_lasts_until_the_inference_in_hand_ends() -> None:
    ledger = OwnerLedger()
    ledger.ended(0.5)
    ledger.stopped("cpu", 1.0, in_hand=False)
    ledger.stopped("core", 10.0, in_hand=True)
    ledger.ended(10.08)
    ledger.ended(11.0)  # a later inference
    report = ledger.report()
    assert report.yields == 2
    assert (report.yield_ms_p50, report.yield_ms_max) == (0.0, 80.0)


def test_what_its_owner_set_is_no_yield() -> None:
    ledger = OwnerLedger()
    causes: tuple[Cause, ...] = ("pause", "quiet_hours", "battery", "temperature")
    for cause in causes:
        ledger.stopped(cause, 1.0, in_hand=True)
        ledger.ended(2.0)
    assert ledger.report().yields == 0
    assert ledger.report().yield_ms_max is None
