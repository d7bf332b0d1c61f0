import asyncio
import io
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from gateway import camera as camera_module
from gateway.camera import LONGEST_BACKOFF_S, SHORTEST_BACKOFF_S, Camera, Capture, backoff_s
from gateway.camera_settings import CameraSettings
from gateway.errors import SourceLostError
from gateway.shot import Shot

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]


def pictures(directory: Path, count: int) -> Path:
    for number in range(count):
        Image.new("RGB", (64, 48), (number * 10, 0, 0)).save(directory / f"{number:03}.png")
    return directory


def make(source: Path | str, *, retry: bool = True, **settings: object) -> Camera:
    return Camera(
        "porch",
        CameraSettings.model_validate({"source": str(source), "fps": 50, **settings}),
        side=32,
        rng=random.Random(0),
        retry=retry,
    )


async def take_all(camera: Camera) -> list[Capture]:
    return [capture async for capture in camera.captures()]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("camera")]


async def test_captures_are_square_jpegs_with_an_aware_time(
    tmp_path: Path, until_true: Until
) -> None:
    captures = await take_all(make(pictures(tmp_path, 3)))
    assert len(captures) == 3
    for capture in captures:
        assert capture.captured_at.tzname() == "UTC"
        with Image.open(io.BytesIO(capture.jpeg)) as image:
            assert (image.format, image.size) == ("JPEG", (32, 32))
    await until_true(lambda: threads() == [])


async def test_camera_is_available_while_it_gives_pictures(tmp_path: Path) -> None:
    seen: list[bool] = []
    camera = Camera(
        "porch",
        CameraSettings(source=str(pictures(tmp_path, 2)), fps=50),
        side=32,
        rng=random.Random(0),
        on_change=lambda: seen.append(camera.available),
    )
    await take_all(camera)
    await asyncio.sleep(0)
    assert seen[-1] is False
    assert camera.counts.taken == 2
    assert not camera.failed


async def test_newest_picture_of_a_live_camera_replaces_one_that_was_not_taken(
    monkeypatch: pytest.MonkeyPatch, until_true: Until
) -> None:
    def live(*_: object) -> Iterator[Shot]:
        for shade in range(250):
            time.sleep(0.002)  # a camera's own pace
            yield Shot(Image.new("RGB", (32, 32), (shade, 0, 0)), None)

    monkeypatch.setattr(camera_module, "shots", live)
    camera = make("http://camera/", motion="off")
    feed = camera.captures()
    first = await anext(feed)
    await until_true(lambda: camera.counts.replaced >= 5)  # the consumer is busy
    second = await anext(feed)
    assert second.captured_at > first.captured_at
    await feed.aclose()  # type: ignore[attr-defined]
    await until_true(lambda: threads() == [])


async def test_replay_leaves_no_picture_out(tmp_path: Path) -> None:
    camera = make(pictures(tmp_path, 10), fps=60)
    taken = []
    async for capture in camera.captures():
        await asyncio.sleep(0.05)  # slower than the pictures come
        taken.append(capture.jpeg)
    assert len(set(taken)) == 10
    assert camera.counts.replaced == 0


async def test_cancelled_camera_ends_its_thread(tmp_path: Path, until_true: Until) -> None:
    camera = make(pictures(tmp_path, 2), loop=True, fps=0.05)
    task = asyncio.create_task(take_all(camera))
    await until_true(lambda: camera.counts.taken > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_true(lambda: threads() == [])


async def test_camera_that_never_opens_says_so_once_and_tries_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    until_true: Until,
) -> None:
    attempts: list[int] = []

    def soon(attempt: int, _: random.Random) -> float:
        attempts.append(attempt)
        return 0.01

    monkeypatch.setattr(camera_module, "backoff_s", soon)
    folder = tmp_path / "later"
    task = asyncio.create_task(take_all(make(folder)))
    await until_true(lambda: "does not exist" in caplog.text)
    await until_true(lambda: len(attempts) >= 3)
    partial = tmp_path / "partial"
    partial.mkdir()
    pictures(partial, 3).rename(folder)
    assert len(await asyncio.wait_for(task, 20)) == 3
    assert caplog.text.count("does not exist") == 1
    assert attempts[:3] == [1, 2, 3]


async def test_camera_that_is_not_tried_again_ends_as_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = make(tmp_path / "none", retry=False)
    assert await take_all(camera) == []
    assert camera.failed
    assert "camera porch:" in caplog.text


async def test_fault_in_the_thread_is_raised_in_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(camera_module, "encode_jpeg", explode)
    with pytest.raises(ZeroDivisionError):
        await take_all(make(pictures(tmp_path, 1)))


async def test_unreadable_pictures_are_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures(tmp_path, 2)
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"nothing")
    camera = make(tmp_path)
    assert len(await take_all(camera)) == 2
    assert camera.counts.unreadable == 2
    assert caplog.text.count("cannot be read and is skipped") == 1


async def test_dead_url_is_an_outage_without_its_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, until_true: Until
) -> None:
    monkeypatch.setattr(camera_module, "backoff_s", lambda attempt, rng: 0.01)
    camera = make("rtsp://me:hush@127.0.0.1:9/x", retry=False)  # a URL is tried again all the same
    task = asyncio.create_task(take_all(camera))
    await until_true(lambda: bool(camera.counts.outages))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "rtsp://***@127.0.0.1:9/x cannot be opened" in caplog.text
    assert "hush" not in caplog.text


def test_backoff_grows_to_its_cap_with_jitter() -> None:
    rng = random.Random(0)
    longest = [max(backoff_s(attempt, rng) for _ in range(300)) for attempt in (1, 3, 5, 50)]
    assert longest == sorted(longest)
    assert longest[0] <= 1.0
    assert LONGEST_BACKOFF_S * 0.9 < longest[3] <= LONGEST_BACKOFF_S
    assert min(backoff_s(50, rng) for _ in range(300)) >= SHORTEST_BACKOFF_S


def film(file: Path, shown: Callable[[int], bool], frames: int = 40) -> Path:
    """Encode a still place, 20 frames a second, in which a bright thing is there or not."""
    rng = np.random.default_rng(0)
    place = np.kron(rng.uniform(40, 120, (12, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(frames):
            pixels = place.copy()
            if shown(number):
                pixels[100:160, 200 : 250 + number] = (255, 200, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file


async def test_still_frames_stay_at_home_and_what_moves_is_cropped(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.avi", lambda number: 20 <= number < 26)
    camera = make(clip, fps=20, motion={"hold_s": 0})
    captures = await take_all(camera)
    assert camera.counts.taken == 40
    assert camera.counts.still == 40 - len(captures)
    first, *rest = captures
    assert first.region is None
    assert len(rest) == 6
    for capture in rest:
        assert capture.region is not None
        assert capture.region.x < 0.63
        assert capture.region.x + capture.region.width > 0.75
    assert [one.captured_s for one in captures] == sorted(one.captured_s for one in captures)


async def test_motion_off_sends_every_frame_whole(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.avi", lambda number: number > 5, frames=10)
    captures = await take_all(make(clip, fps=20, motion="off"))
    assert [capture.region for capture in captures] == [None] * 10


async def test_who_stands_there_when_a_camera_comes_back_is_seen(
    monkeypatch: pytest.MonkeyPatch, until_true: Until
) -> None:
    coarse = np.random.default_rng(0).integers(40, 120, (12, 16, 3), dtype=np.uint8)
    place = coarse.repeat(20, axis=0).repeat(20, axis=1)
    somebody = np.array(place)
    somebody[100:160, 200:250, :] = 250
    openings = iter(range(10_000))

    def live(*_args: object) -> Iterator[Shot]:
        shown = place if next(openings) == 0 else somebody
        for _number in range(5):
            yield Shot(Image.fromarray(shown), None)
        raise SourceLostError("it broke off")

    monkeypatch.setattr(camera_module, "shots", live)
    monkeypatch.setattr(camera_module, "backoff_s", lambda attempt, rng: 0.01)
    camera = make("rtsp://camera/", motion={"hold_s": 0})
    feed = camera.captures()
    assert (await anext(feed)).region is None
    await until_true(lambda: camera.counts.outages >= 1)
    assert (await anext(feed)).region is not None
    await feed.aclose()  # type: ignore[attr-defined]


async def test_a_camera_that_is_off_has_its_source_closed_and_takes_no_old_picture(
    until_true: Until,
) -> None:
    camera = make("door/picture", kind="mqtt")
    shades: list[int] = []

    async def watch() -> None:
        async for capture in camera.captures():
            with Image.open(io.BytesIO(capture.jpeg)) as image:
                shades.append(round(float(np.asarray(image.convert("L"))[16, 16]) / 50))

    def picture(shade: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (64, 48), shade * 50).save(buffer, "PNG")
        return buffer.getvalue()

    task = asyncio.get_running_loop().create_task(watch())
    try:
        await until_true(lambda: camera.available)
        camera.deliver(picture(1))
        await until_true(lambda: shades == [1])
        camera.switch(False)
        camera.deliver(picture(2))
        await until_true(lambda: not camera.available)
        await until_true(lambda: camera.trouble == "switched off")
        camera.deliver(picture(3))
        camera.switch(True)
        await until_true(lambda: camera.available and camera.trouble == "")
        camera.deliver(picture(4))
        await until_true(lambda: len(shades) == 2)
        assert shades == [1, 4]
        assert (camera.counts.taken, camera.counts.outages) == (2, 0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until_true(lambda: threads() == [])


async def test_a_camera_that_is_off_ends_when_it_is_cancelled(
    tmp_path: Path, until_true: Until
) -> None:
    camera = make(pictures(tmp_path, 1))
    camera.switch(False)
    task = asyncio.get_running_loop().create_task(take_all(camera))
    await until_true(lambda: camera.trouble == "switched off")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until_true(lambda: threads() == [])
    assert camera.counts.taken == 0
