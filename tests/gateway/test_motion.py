from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.motion import APPEARANCES, CLIP, measure
from gateway.camera_settings import MotionSettings
from gateway.motion import ABSORB_S, WORKING_SIDE, MotionGate, Sighting, Why, working_size

HEIGHT, WIDTH = 90, 160
Grey = npt.NDArray[np.uint8]


class Scene:
    """A textured place with a camera's noise, in which a textured square may stand."""

    def __init__(self, seed: int = 0, noise: float = 2.0) -> None:
        self.rng = np.random.default_rng(seed)
        coarse = self.rng.uniform(40, 200, (HEIGHT // 6, WIDTH // 8))
        self.place = np.kron(coarse, np.ones((6, 8)))[:HEIGHT, :WIDTH]
        self.thing = np.kron(self.rng.uniform(0, 255, (6, 6)), np.ones((5, 5)))
        self.noise = noise
        self.gain, self.offset = 1.0, 0.0

    def frame(self, at: tuple[int, int] | None = None, side: int = 20) -> Grey:
        levels = self.place.copy()
        if at is not None:
            x, y = at
            levels[y : y + side, x : x + side] = self.thing[:side, :side]
        levels = levels * self.gain + self.offset
        return np.clip(levels + self.rng.normal(0, self.noise, levels.shape), 0, 255).astype(
            np.uint8
        )


def gate(**changes: Any) -> MotionGate:
    return MotionGate(MotionSettings.model_validate({"full_every_s": None} | changes))


def run(
    one: MotionGate,
    scene: Scene,
    frames: int,
    at: Callable[[int], tuple[int, int] | None] = lambda _: None,
    *,
    begin_s: float = 0.0,
    step_s: float = 0.5,
) -> list[Sighting]:
    return [
        one.look(scene.frame(at(number)), begin_s + number * step_s) for number in range(frames)
    ]


def walk(number: int) -> tuple[int, int]:
    return 10 + 5 * number, 40


def test_first_frame_is_sent_and_a_still_place_is_not() -> None:
    seen = run(gate(), Scene(), 60)
    assert seen[0].why is Why.FIRST
    assert {one.why for one in seen[1:]} == {Why.STILL}
    assert {one.region for one in seen} == {None}


def test_thing_that_moves_is_sent_with_its_region() -> None:
    scene, one = Scene(), gate()
    run(one, scene, 20)
    for number, sighting in enumerate(run(one, scene, 20, walk, begin_s=10)):
        assert sighting.why is Why.MOTION
        x, y = walk(number)
        region = sighting.region
        assert region is not None
        assert region.x * WIDTH <= x + 5
        assert region.y * HEIGHT <= y + 5
        assert (region.x + region.width) * WIDTH >= x + 15
        assert (region.y + region.height) * HEIGHT >= y + 15
        assert region.width * WIDTH <= 36
        assert 0.005 < sighting.moving < 0.06


def test_frames_are_held_after_the_last_motion() -> None:
    scene, one = Scene(), gate(hold_s=2)
    run(one, scene, 20)
    run(one, scene, 4, walk, begin_s=10)  # to 11.5 s
    after = run(one, scene, 10, begin_s=12)
    assert [sighting.why for sighting in after] == [Why.HOLD] * 4 + [Why.STILL] * 6
    assert {sighting.region for sighting in after} == {None}


@pytest.mark.parametrize("at", [None, (50, 40)])
def test_whole_frame_comes_at_its_interval(at: tuple[int, int] | None) -> None:
    scene, one = Scene(), gate(full_every_s=5, hold_s=0)
    seen = run(one, scene, 41, lambda number: at if number > 2 else None)
    whole = [number for number, sighting in enumerate(seen) if sighting.why is Why.INTERVAL]
    assert whole == [10, 20, 30, 40]
    assert all(seen[number].region is None for number in whole)


@pytest.mark.parametrize(
    ("gain", "offset"), [(1.0, 40), (1.0, -30), (0.6, 0), (1.25, 0), (0.5, 20)]
)
def test_light_that_changes_all_at_once_is_no_motion(gain: float, offset: float) -> None:
    scene, one = Scene(), gate()
    run(one, scene, 20)
    scene.gain, scene.offset = gain, offset
    after = run(one, scene, 40, begin_s=10)
    assert {sighting.why for sighting in after} == {Why.STILL}
    assert run(one, scene, 1, walk, begin_s=30)[0].why is Why.MOTION  # and it sees again


def test_lamp_that_lights_a_part_is_no_motion() -> None:
    scene, one = Scene(), gate()
    run(one, scene, 20)
    scene.place[:, :60] = np.clip(scene.place[:, :60] * 1.2 + 15, 0, 255)
    assert {sighting.why for sighting in run(one, scene, 30, begin_s=10)} == {Why.STILL}


def test_camera_that_turns_to_another_place_knows_it_after_a_while() -> None:
    one = gate(hold_s=0)
    run(one, Scene(seed=1), 20)
    elsewhere = Scene(seed=2)
    elsewhere.place = 255 - elsewhere.place
    after = run(one, elsewhere, 150, begin_s=10)
    assert after[-1].why is Why.STILL
    assert run(one, elsewhere, 1, walk, begin_s=90)[0].why is Why.MOTION


def test_covered_lens_begins_anew_at_once() -> None:
    scene, one = Scene(), gate(hold_s=0)
    scene.place += 50
    run(one, scene, 20)
    bright = scene.place
    scene.place = np.full_like(bright, 5)
    assert {sighting.why for sighting in run(one, scene, 20, begin_s=10)} == {Why.STILL}
    scene.place = bright
    assert {sighting.why for sighting in run(one, scene, 20, begin_s=20)} == {Why.STILL}


def test_light_that_changes_slowly_is_no_motion() -> None:
    scene, one = Scene(), gate()
    for number in range(200):
        scene.gain = 1 - number / 400
        assert one.look(scene.frame(), number * 0.5).why in (Why.FIRST, Why.STILL)


def test_thing_that_stays_becomes_a_part_of_the_place() -> None:
    scene, one = Scene(), gate(hold_s=0)
    run(one, scene, 20)
    stays = run(one, scene, 300, lambda _: (60, 40), begin_s=10)
    sent_s = sum(sighting.send for sighting in stays) * 0.5
    assert sent_s == pytest.approx(ABSORB_S, abs=2)
    assert stays[-1].why is Why.STILL


def test_who_stood_for_half_a_minute_leaves_no_ghost() -> None:
    scene, one = Scene(), gate(hold_s=0)
    run(one, scene, 20)
    assert all(sighting.send for sighting in run(one, scene, 60, lambda _: (60, 40), begin_s=10))
    assert not any(sighting.send for sighting in run(one, scene, 20, begin_s=40))


def test_leaf_in_the_wind_is_learnt() -> None:
    scene, one = Scene(), gate(hold_s=0)
    run(one, scene, 20)
    scene.thing[:] = 0
    scene.place[40:60, 60:80] = 45
    flutter = run(one, scene, 300, lambda n: (60, 40) if n % 2 else None, begin_s=10)
    assert sum(sighting.send for sighting in flutter[-100:]) < 10


@pytest.mark.parametrize(
    ("areas", "sent"),
    [
        ({"mask": [[(0, 0), (1, 0), (1, 1), (0.3, 1), (0.3, 0)]]}, False),
        ({"mask": [[(0, 0), (0.2, 0), (0.2, 1), (0, 1)]]}, True),
        ({"include": [[(0, 0), (0.2, 0), (0.2, 1), (0, 1)]]}, False),
        ({"include": [[(0.3, 0.3), (0.9, 0.3), (0.9, 0.9), (0.3, 0.9)]]}, True),
    ],
)
def test_areas_decide_where_motion_counts(areas: dict[str, Any], sent: bool) -> None:
    scene, one = Scene(), gate(hold_s=0, **areas)
    run(one, scene, 20)
    seen = run(one, scene, 6, lambda number: (80 + 3 * number, 40), begin_s=10)
    assert {sighting.send for sighting in seen} == {sent}


@pytest.mark.parametrize(("min_area", "sent"), [(0.01, True), (0.05, False)])
def test_what_is_too_small_does_not_count(min_area: float, sent: bool) -> None:
    scene, one = Scene(), gate(hold_s=0, min_area=min_area)
    run(one, scene, 20)
    seen = run(one, scene, 6, walk, begin_s=10)  # 20 × 20 of 160 × 90 px: 2.8 %
    assert {sighting.send for sighting in seen} == {sent}


def test_more_sensitive_sees_fainter_things() -> None:
    def sees(sensitivity: float, contrast: float) -> bool:
        scene = Scene(noise=1)
        scene.place[:] = 100
        scene.thing[:] = 100 + contrast
        one = gate(hold_s=0, sensitivity=sensitivity)
        run(one, scene, 20)
        return run(one, scene, 1, walk, begin_s=10)[0].send

    assert [sees(0.1, contrast) for contrast in (20, 36, 60)] == [False, False, True]
    assert [sees(0.5, contrast) for contrast in (20, 36, 60)] == [False, True, True]
    assert [sees(0.9, contrast) for contrast in (20, 36, 60)] == [True, True, True]


def test_noise_is_no_motion_at_the_highest_sensitivity() -> None:
    assert not any(one.send for one in run(gate(sensitivity=1), Scene(noise=4), 100)[1:])


def test_frame_of_another_size_begins_anew() -> None:
    scene, one = Scene(), gate()
    run(one, scene, 5)
    assert one.look(scene.frame()[:80], 5).why is Why.FIRST


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(-1, 1e6), st.integers(0, 2**32 - 1)), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_any_frames_at_any_times_are_decided(
    frames: list[tuple[float, int]], height: int, width: int
) -> None:
    one = MotionGate(MotionSettings(hold_s=0.5))
    for now_s, seed in frames:
        grey = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
        sighting = one.look(grey, now_s)
        assert 0 <= sighting.moving <= 1
        assert sighting.region is None or sighting.send
        box = sighting.region
        if box is not None:
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= 1 + 1e-9
            assert box.y + box.height <= 1 + 1e-9


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (WORKING_SIDE, 90)),
        ((1080, 1920), (90, WORKING_SIDE)),
        ((64, 48), (64, 48)),
        ((10_000, 8), (WORKING_SIDE, 1)),
    ],
)
def test_working_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size) == expected


@pytest.mark.shared
@pytest.mark.skipif(not CLIP.exists(), reason=f"{CLIP.name} is not in ../shared")
def test_a_real_camera_sends_who_comes_by_and_keeps_the_rest() -> None:
    figures = measure()
    assert figures.seen == 1.0
    assert len(APPEARANCES) == 6
    assert figures.person_sent >= 0.95
    assert figures.empty_sent < 0.4 * figures.empty
    assert figures.bytes_sent < figures.bytes_all
