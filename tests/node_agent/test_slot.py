from hypothesis import given
from hypothesis import strategies as st

from broker.codecs import FrameMessage
from node_agent.slot import FrameSlots, WaitingFrame


def frame(camera: str, number: int = 0, *, arrived_s: float = 0.0) -> WaitingFrame:
    return WaitingFrame(camera, FrameMessage(1, number, 500, b"jpeg"), arrived_s)


def test_nothing_waits_at_first() -> None:
    assert FrameSlots().take() is None


def test_newest_frame_of_a_camera_evicts_the_older_one() -> None:
    slots = FrameSlots()
    for number in range(3):
        slots.put(frame("porch", number))
    assert slots.take() == frame("porch", 2)
    assert slots.take() is None
    assert slots.evicted == 2


def test_a_fast_camera_does_not_push_a_slow_one_back() -> None:
    slots = FrameSlots()
    slots.put(frame("fast", 0))
    slots.put(frame("slow", 0))
    served = []
    for number in range(1, 5):
        slots.put(frame("fast", number))
        taken = slots.take()
        assert taken is not None
        served.append(taken.camera)
        slots.put(frame("slow", number))
    assert served == ["fast", "slow", "fast", "slow"]


def test_cameras_beyond_the_bound_evict_the_one_that_waits_longest() -> None:
    slots = FrameSlots(max_cameras=2)
    for camera in ("a", "b", "c"):
        slots.put(frame(camera))
    assert [slots.take(), slots.take(), slots.take()] == [frame("b"), frame("c"), None]
    assert slots.evicted == 1


def test_a_frame_is_late_from_its_deadline_on() -> None:
    waiting = frame("porch", arrived_s=10.0)
    assert not waiting.is_late(10.499)
    assert waiting.is_late(10.5)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60))
def test_every_frame_is_taken_evicted_or_still_waits(steps: list[str | None]) -> None:
    slots = FrameSlots(max_cameras=2)
    put = taken = 0
    for camera in steps:
        if camera is None:
            taken += slots.take() is not None
        else:
            slots.put(frame(camera))
            put += 1
    assert put == taken + slots.evicted + len(slots)
