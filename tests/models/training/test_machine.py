import platform
import subprocess
import sys

import pytest
import torch

from models.specs import VARIANTS
from models.training.errors import TrainingError
from models.training.machine import (
    Machine,
    candidates,
    measure,
    peak_memory_bytes,
    pick_device,
    threads,
)
from models.training.network import Variant


def test_every_way_is_measured_and_the_fastest_comes_first() -> None:
    ways = candidates("cpu", [torch.float32, torch.bfloat16])
    assert len(ways) == 4
    state = torch.get_rng_state()
    speeds = measure(ways, VARIANTS["V1"], 3, 4)
    assert torch.equal(torch.get_rng_state(), state), "measuring must not move a run's random state"
    assert {speed.machine for speed in speeds} == set(ways)
    rates = [speed.pictures_per_s for speed in speeds]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


def test_a_machine_says_what_it_is() -> None:
    assert str(Machine()) == "cpu, float32, channels last"
    other = Machine(dtype=torch.bfloat16, channels_last=False, compiled=True)
    assert str(other) == "cpu, bfloat16, channels first, compiled"


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_changes_nothing_but_the_layout(channels_last: bool) -> None:
    machine = Machine(channels_last=channels_last)
    network = Variant(VARIANTS["V1"], 3).eval()
    pictures = torch.rand(2, 3, 96, 96)
    expected = network(pictures)
    placed = machine.place(pictures)
    assert placed.is_contiguous(memory_format=machine.memory_format)
    torch.testing.assert_close(machine.host(network)(placed), expected, atol=1e-5, rtol=1e-4)


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    assert pick_device("cpu") == "cpu"
    if torch.cuda.is_available():
        assert pick_device("auto") == "cuda"
    else:
        assert pick_device("auto") == "cpu"
        with pytest.raises(TrainingError, match="no CUDA device"):
            pick_device("cuda")


def test_threads_are_as_many_as_asked_for_and_only_within() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    with threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_freed_memory_is_kept_on_glibc() -> None:
    if not sys.platform.startswith("linux") or "glibc" not in platform.libc_ver()[0]:
        pytest.skip("only glibc has mallopt")
    # In a process of its own: the setting cannot be taken back.
    script = """if True:
        import resource
        from models.training.machine import keep_freed_memory
        assert keep_freed_memory()
        import torch
        def work():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        work()
        faults = work()
        assert faults < 1000, f"{faults} page faults; handed back it would be 160,000"
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_peak_memory_is_at_least_what_this_process_plainly_holds() -> None:
    assert peak_memory_bytes() > 50e6
