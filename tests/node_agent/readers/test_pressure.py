from pathlib import Path

import pytest

from node_agent.readers.pressure import WINDOW_S, PressureReader
from node_agent.readings import Pressure


def stalls(proc: Path, resource: str, total_us: int) -> None:
    folder = proc / "pressure"
    folder.mkdir(exist_ok=True)
    text = (
        f"some avg10=0.15 avg60=0.51 avg300=0.93 total={total_us}\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=99999999\n"
    )
    (folder / resource).write_text(text)


def test_the_share_over_a_whole_window_of_rest(tmp_path: Path) -> None:
    reader = PressureReader(tmp_path)
    measured = []
    for step in range(5):
        stalls(tmp_path, "cpu", 7_000_000 + 500_000 * step)
        stalls(tmp_path, "memory", 125_000 * step)
        measured.append(reader.read(100.0 + step * WINDOW_S / 4))
    assert measured[:4] == [None] * 4
    assert measured[4] == Pressure(cpu=0.5, memory=0.125)


def test_it_begins_anew_after_the_guest_ran(tmp_path: Path) -> None:
    stalls(tmp_path, "cpu", 0)
    reader = PressureReader(tmp_path)
    reader.read(0.0)
    reader.forget()
    stalls(tmp_path, "cpu", 4_000_000)  # the guest's own threads waited
    assert reader.read(WINDOW_S) is None
    assert reader.read(2 * WINDOW_S) == Pressure(cpu=0.0)


def test_an_old_stall_leaves_the_window(tmp_path: Path) -> None:
    stalls(tmp_path, "cpu", 0)
    reader = PressureReader(tmp_path)
    reader.read(0.0)
    stalls(tmp_path, "cpu", 4_000_000)
    assert reader.read(WINDOW_S) == Pressure(cpu=1.0)
    assert reader.read(2 * WINDOW_S) == Pressure(cpu=0.0)


def test_a_kernel_without_psi_lacks_the_signal(tmp_path: Path) -> None:
    reader = PressureReader(tmp_path)
    assert [reader.read(now_s) for now_s in (0.0, 10.0)] == [None, None]


@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="this kernel has no PSI")
def test_this_kernels_own_counters_are_understood() -> None:
    reader = PressureReader(Path("/proc"))
    reader.read(0.0)
    found = reader.read(WINDOW_S)
    assert found is not None
    assert 0 <= found.cpu <= 1
