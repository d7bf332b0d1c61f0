from pathlib import Path

from node_agent.readers.memory import Memory, read_memory

MEMINFO = """\
MemTotal:        3884344 kB
MemFree:          206712 kB
MemAvailable:    1048576 kB
SwapTotal:             0 kB
"""


def test_available_is_what_counts(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert read_memory(tmp_path) == Memory(available_mib=1024.0, total_mib=3884344 / 1024)


def test_a_kernel_that_does_not_tell_lacks_the_signal(tmp_path: Path) -> None:
    assert read_memory(tmp_path) is None  # a /proc that hides it
    (tmp_path / "meminfo").write_text(MEMINFO.replace("MemAvailable", "MemOther"))
    assert read_memory(tmp_path) is None


def test_psutil_serves_where_there_is_no_proc(tmp_path: Path) -> None:
    found = read_memory(tmp_path / "proc")
    assert found is not None
    assert 0 < found.available_mib <= found.total_mib
