import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from gateway import video as video_module
from gateway.camera_settings import CameraSettings
from gateway.errors import SourceLostError, SourceOpenError
from gateway.shot import Taking
from gateway.sources import shots
from gateway.video import to_picture, video_frames
from tests.gateway.rtsp_server import RtspServer

# The identity in a track header's matrix (ISO/IEC 14496-12), and a turn by 90° clockwise.
UPRIGHT = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000".replace(" ", ""))
TURNED = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000".replace(" ", ""))


def encode(
    file: Path, *, codec: str = "mpeg2video", pix_fmt: str = "yuv420p", frames: int = 50
) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        pixels = np.zeros((48, 64, 3), dtype=np.uint8)
        pixels[:16, :16] = 255  # its upper left corner is white
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file


def camera(source: object, **changes: Any) -> CameraSettings:
    return CameraSettings.model_validate({"source": str(source), "fps": 60} | changes)


def frames(settings: CameraSettings, count: int) -> list[Any]:
    with closing(video_frames(settings, lambda: None)) as source:  # type: ignore[type-var]
        return list(islice(source, count))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "OPEN_TIMEOUT_S", 3.0)
    monkeypatch.setattr(video_module, "READ_TIMEOUT_S", 1.0)


def test_rtsp_goes_over_tcp(tmp_path: Path) -> None:
    with RtspServer(encode(tmp_path / "clip.ts"), hang_up=False) as server:
        taken = frames(camera(server.url), 5)
        assert [frame.width for _, frame in taken] == [64] * 5
        assert "TCP" in server.transports[0]


def test_options_reach_ffmpeg(tmp_path: Path) -> None:
    with RtspServer(encode(tmp_path / "clip.ts"), hang_up=False) as server:
        with pytest.raises(SourceOpenError):
            frames(camera(server.url, options={"rtsp_transport": "udp"}), 1)
        assert "TCP" not in server.transports[0]


def test_rtsp_camera_that_falls_silent_is_lost(tmp_path: Path, impatient: None) -> None:
    with (
        RtspServer(encode(tmp_path / "clip.ts"), hang_up=False) as server,
        pytest.raises(SourceLostError, match="broke off"),
    ):
        frames(camera(server.url), 1000)


def test_rtsp_camera_that_hangs_up_ends_its_stream(tmp_path: Path, impatient: None) -> None:
    with RtspServer(encode(tmp_path / "clip.ts"), hang_up=True) as server:
        try:
            taken = frames(camera(server.url), 1000)
        except SourceLostError:
            return
        assert 0 < len(taken) <= 50


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody takes the connection and never says a word."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def accept() -> None:
            links = []
            while not done.is_set():
                try:
                    links.append(listener.accept()[0])
                except TimeoutError:
                    continue
            for link in links:
                link.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        done.set()
        thread.join()


@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "rtmp", "http", "tcp"])
def test_source_that_never_answers_is_given_up(silent: int, scheme: str, impatient: None) -> None:
    with pytest.raises(SourceOpenError, match="cannot be opened"):
        frames(camera(f"{scheme}://127.0.0.1:{silent}/live", kind="video"), 1)


def test_grey_video_is_shown_in_rgb(tmp_path: Path) -> None:
    file = encode(tmp_path / "grey.avi", codec="ffv1", pix_fmt="gray", frames=2)
    (_, frame), *_ = frames(camera(file), 1)
    picture = to_picture(frame, 96)
    assert picture.mode == "RGB"
    assert np.asarray(picture)[4, 4] == pytest.approx([255] * 3, abs=4)


def test_video_taken_sideways_is_turned(tmp_path: Path) -> None:
    content = encode(tmp_path / "clip.mp4", codec="mpeg4", frames=3).read_bytes()
    at = content.index(UPRIGHT, content.index(b"tkhd"))
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content[:at] + TURNED + content[at + len(TURNED) :])
    (_, frame), *_ = frames(camera(turned), 1)
    picture = to_picture(frame, 96)
    assert picture.size == (48, 64)
    pixels = np.asarray(picture).mean(axis=2)
    assert pixels[4, -5] > 200  # clockwise: the upper left corner is now the upper right
    assert pixels[4, 4] < 60


def test_frames_of_too_many_pixels_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.stills.MAX_PIXELS", 1000)
    skipped: list[int] = []
    file = encode(tmp_path / "clip.avi", codec="ffv1", frames=4)
    with pytest.raises(SourceOpenError, match="no video frame"):
        list(shots(camera(file), Taking(96, on_skip=lambda: skipped.append(1))))
    assert len(skipped) == 4


def test_device_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(SourceOpenError, match="/dev/video87 does not exist; check `source`"):
        list(shots(camera("/dev/video87"), Taking(96)))


def test_which_paths_are_devices() -> None:
    assert camera("/dev/video0").is_device
    assert camera("/dev/v4l/by-id/usb-cam").is_device
    assert not camera("/dev/shm/clip.mp4").is_device


def test_device_is_opened_as_video4linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No camera hangs on every machine; in its place a video that FFmpeg would open as a file.
    clip = encode(tmp_path / "clip.avi", codec="ffv1", frames=2)
    assert frames(camera(clip), 1)
    monkeypatch.setattr("gateway.camera_settings._DEVICES", (str(tmp_path),))
    with pytest.raises(SourceOpenError, match="cannot be opened"):
        frames(camera(clip), 1)
