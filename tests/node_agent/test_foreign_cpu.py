import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.core_shares import CoreTicks
from node_agent.foreign_cpu import (
    CpuSample,
    ForeignCpuMeter,
    ProcessTimes,
    parse_machine,
    parse_process,
    read_proc,
    read_psutil,
    share_between,
)
from node_agent.readings import ForeignCpu

# proc(5): user nice system idle iowait irq softirq steal guest guest_nice
MACHINE = "cpu  100 20 30 800 50 1 2 7 0 0\ncpu0 50 10 15 400 25 0 1 3 0 0\nintr 1 2 3\n"


def process(utime: int, stime: int, cutime: int = 0, cstime: int = 0, command: str = "py") -> str:
    before = "S 1 1 1 0 -1 4194560 5 0 0 0"
    return f"42 ({command}) {before} {utime} {stime} {cutime} {cstime} 39 19 3 0 100 0 0\n"


def test_waiting_for_the_disk_and_stolen_time_are_not_busy() -> None:
    assert parse_machine(MACHINE) == (153, 1003)


@pytest.mark.parametrize("text", ["", "cpu0 1 2 3\n", "cpu 1 2 3\n", "cpu a b c d e f g\n"])
def test_a_foreign_machine_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_machine(text)


@pytest.mark.parametrize("command", ["py", "a b", "a) R 1 (", ")"])
def test_process_times_whatever_the_command_is_called(command: str) -> None:
    text = process(7, 3, 20, 1, command)
    assert parse_process(text) == ProcessTimes(state="S", own=10, reaped_children=21)


@given(st.text(max_size=80))
def test_any_process_text_parses_or_is_a_value_error(text: str) -> None:
    try:
        parse_process(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("later", "share"),
    [
        (CpuSample(busy=150, total=200, own=50), 1.0),
        (CpuSample(busy=150, total=200, own=150), 0.0),
        (CpuSample(busy=150, total=200, own=100), 0.5),
        (CpuSample(busy=100, total=200, own=150), 0.0),  # own ticks booked before the machine's
        (CpuSample(busy=50, total=100, own=50), None),  # no time passed
        (CpuSample(busy=50, total=90, own=50), None),  # a counter went back
        (CpuSample(busy=60, total=200, own=10), None),  # own time was lost from sight
        (CpuSample(busy=40, total=200, own=50), None),  # a core went offline
    ],
)
def test_foreign_is_busy_without_own(later: CpuSample, share: float | None) -> None:
    assert share_between(CpuSample(busy=50, total=100, own=50), later) == share


def fake_proc(root: Path, machine: str, me: str, workers: dict[int, str]) -> Path:
    for name, text in {"self": me, **{str(pid): text for pid, text in workers.items()}}.items():
        (root / name).mkdir(exist_ok=True)
        (root / name / "stat").write_text(text)
    (root / "stat").write_text(machine)
    return root


def counted(sample: CpuSample | None) -> tuple[float, float, float] | None:
    return None if sample is None else (sample.busy, sample.total, sample.own)


def test_own_time_is_the_agents_its_dead_and_its_living_workers(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, MACHINE, process(5, 5, 30, 0), {7: process(9, 1), 8: process(1, 1)})
    assert counted(read_proc([7, 8], proc)) == (153, 1003, 52)


def test_a_worker_that_has_just_ended_is_left_out(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, MACHINE, process(5, 5), {})
    assert counted(read_proc([7], proc)) == (153, 1003, 10)


def test_a_worker_that_is_reaped_while_reading_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = fake_proc(tmp_path, MACHINE, process(5, 5), {7: process(9, 1)})
    read_text = Path.read_text

    def reap_after_self(path: Path) -> str:
        text = read_text(path)
        if path.parent.name == "self":
            (proc / "self" / "stat").write_text(process(5, 5, 9, 1))
            (proc / "7" / "stat").unlink(missing_ok=True)
        return text

    monkeypatch.setattr(Path, "read_text", reap_after_self)
    assert counted(read_proc([7], proc)) == (153, 1003, 20)


def test_a_hidden_proc_stat_is_an_absent_signal(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, MACHINE, process(5, 5), {})
    (proc / "stat").unlink()
    assert read_proc([], proc) is None
    meter = ForeignCpuMeter(
        lambda pids: read_proc(pids, proc), fast_window_s=0.5, slow_window_s=2.0
    )
    assert meter.measure([], 0.0) is None


def test_cores_and_their_unit_come_with_the_sample(tmp_path: Path) -> None:
    sample = read_proc([], fake_proc(tmp_path, MACHINE, process(5, 5), {}))
    assert sample is not None
    assert sample.cores == (CoreTicks(number=0, busy=76, nice=10, total=501),)
    assert sample.unit_s == 1 / os.sysconf("SC_CLK_TCK")


def test_the_busiest_core_is_averaged_over_the_same_windows() -> None:
    def sample(step: int) -> CpuSample:
        cores = (CoreTicks(0, 0.0, 0.0, 25.0 * step), CoreTicks(1, 25.0 * step, 0.0, 25.0 * step))
        return CpuSample(25.0 * step, 50.0 * step, 0.0, cores)

    script = (sample(step) for step in range(10))
    meter = ForeignCpuMeter(lambda _: next(script), fast_window_s=0.5, slow_window_s=2.0)
    measured = [meter.measure([], 0.25 * step) for step in range(10)]
    assert measured[1] == ForeignCpu(None, None, None, None)
    assert measured[9] == ForeignCpu(0.5, 0.5, 1.0, 1.0)


def scripted(shares: list[float]) -> ForeignCpuMeter:
    """A meter on a machine that uses these shares in each quarter of a second."""

    def samples() -> Iterator[CpuSample]:
        busy = total = 0.0
        yield CpuSample(busy, total, 0)
        for share in shares:
            busy, total = busy + 50 * share, total + 50
            yield CpuSample(busy, total, 0)

    script = samples()

    def read(_pids: Iterable[int]) -> CpuSample:
        return next(script)

    return ForeignCpuMeter(read, fast_window_s=0.5, slow_window_s=2.0)


def test_windows_average_the_last_half_and_the_last_two_seconds() -> None:
    meter = scripted([0.0] * 4 + [1.0] * 4 + [0.0] * 4)
    measured = [meter.measure([], quarter * 0.25) for quarter in range(13)]
    assert measured[1] == ForeignCpu(None, None)
    assert measured[2] == ForeignCpu(0.0, 0.0)  # the slow window is short at first
    assert measured[5] == ForeignCpu(0.5, 0.2)
    assert measured[8] == ForeignCpu(1.0, 0.5)
    assert measured[12] == ForeignCpu(0.0, 0.5)


def test_asking_again_at_once_reads_nothing() -> None:
    meter = scripted([0.0, 1.0])
    for now_s in (0.0, 0.25, 0.26, 0.27, 0.5):
        last = meter.measure([], now_s)
    assert last == ForeignCpu(0.5, 0.5)


def test_a_gap_in_the_samples_is_averaged_over() -> None:
    meter = scripted([0.0, 0.0, 1.0])
    for now_s in (0.0, 0.25, 0.5, 3600.0):
        last = meter.measure([], now_s)
    assert last == ForeignCpu(1.0, 1.0)


def test_a_counter_that_went_back_restarts_the_windows() -> None:
    # A worker's 400 ticks vanish at 1.0 s; what follows it is all own.
    owns = [100, 200, 300, 400, 20, 120, 220]
    script = iter(CpuSample(100.0 * step, 200.0 * step, own) for step, own in enumerate(owns))
    meter = ForeignCpuMeter(lambda _: next(script), fast_window_s=0.5, slow_window_s=2.0)
    measured = [meter.measure([], 0.25 * step) for step in range(len(owns))]
    assert measured[3] == ForeignCpu(0.0, 0.0)
    assert measured[4] == measured[5] == ForeignCpu(None, None)
    assert measured[6] == ForeignCpu(0.0, 0.0)


def burn(seconds: float) -> None:
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc")
def test_own_work_on_this_machine_counts_as_own() -> None:
    before = read_proc([])
    burn(0.3)
    after = read_proc([])
    assert before is not None
    assert after is not None
    assert after.own - before.own >= 25  # ticks of 10 ms
    assert after.busy > before.busy


@pytest.mark.parametrize("read", [read_proc, read_psutil])
@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc")
def test_a_workers_time_stays_own_when_it_ends(
    read: Callable[[Iterable[int]], CpuSample | None],
) -> None:
    script = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        living = read([child.pid])
        child.communicate(b"\n", timeout=30)
    ended = read([child.pid])
    assert living is not None
    assert ended is not None
    # os.times, that of the psutil reader, floors to ticks what psutil gives more exactly.
    assert ended.own >= living.own - 0.02


def test_psutil_serves_where_there_is_no_proc() -> None:
    before = read_psutil([])
    burn(0.2)
    after = read_psutil([])
    assert before is not None
    assert after is not None
    share = share_between(before, after)
    assert share is not None
    assert 0 <= share <= 1
