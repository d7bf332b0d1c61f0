import pytest

from broker.payloads import Counts, NodeState, OwnerReport
from node_agent.inquiry import Inquiry
from node_agent.report import status_lines

STATE = NodeState(
    node="kitchen",
    state="working",
    up_s=93_784.0,
    reason="nobody else needs the processor",
    pack="cifar10",
    variant="V2",
    inference_ms_p50=4.25,
    inference_ms_p95=6.0,
    foreign_cpu=0.12,
    foreign_cpu_core=0.4,
    temperature_c=54.3,
    battery=0.81,
    battery_discharging=False,
    memory_available_mib=812.0,
    variants=["V1", "V2"],
    counts=Counts(frames=10, answered=7, skipped=1, evicted=1, dropped=1),
    owner=OwnerReport(cpu_s=3.21, idle_share=0.004, yields=4, yield_ms_p50=0, yield_ms_max=80),
    version="0.1.0",
)


def test_a_node_at_work() -> None:
    assert status_lines("kitchen", Inquiry("5", True, STATE, True)) == [
        "kitchen: working (online)",
        "  reason       nobody else needs the processor",
        "  variant      V2 of pack cifar10, a picture takes 4.2 ms (6.0 ms at p95)",
        "  others use   12% of the processor, 40% of its busiest core",
        "  device       54 °C, battery at 81% is not in use, 812 MiB of memory available",
        "  frames       10 came, 7 answered, 1 skipped, 1 overtaken by a newer one, 1 not usable",
        "  owner gave   3.2 s of processor time, 0.40% of what was idle; it stopped 4 times for "
        "others, nothing ran 80 ms after the decision at the latest",
        "  program      idlesight 0.1.0, at work for 1 d 2 h 3 min",
    ]


@pytest.mark.parametrize(
    ("online", "state", "alive", "first"),
    [
        (None, None, False, "kitchen: the broker knows no node of this name"),
        (False, STATE, False, "kitchen: was working (offline)"),
        (True, STATE, False, "kitchen: working (does not answer)"),
    ],
)
def test_a_node_that_is_not_there(
    online: bool | None, state: NodeState | None, alive: bool, first: str
) -> None:
    assert status_lines("kitchen", Inquiry("5", online, state, alive))[0] == first


def test_what_a_device_does_not_tell_is_left_out() -> None:
    bare = NodeState(node="kitchen", state="unassigned", up_s=5.0, version="0.1.0")
    lines = status_lines("kitchen", Inquiry("3.1.1", True, bare, True))
    assert lines[1:] == [
        "  others use   what the device does not tell",
        "  frames       0 came, 0 answered, 0 skipped, 0 overtaken by a newer one, 0 not usable",
        "  program      idlesight 0.1.0, at work for 5 s",
    ]
