import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gateway.camera_settings import CameraSettings
from gateway.errors import SourceError, SourceLostError, SourceOpenError
from gateway.folder import PAN_S
from gateway.shot import Taking
from gateway.sources import endless, shots
from gateway.stills import MAX_PIXELS

SHARED_CLIP = Path(__file__).parents[3] / "shared" / "media" / "bottle-detection.mp4"
COLOURS = {"a": (255, 0, 0), "b": (0, 255, 0), "c": (0, 0, 255)}


class Skips:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def taking(side: int = 96, skips: Callable[[], None] = lambda: None) -> Taking:
    return Taking(side, on_skip=skips)


def camera(source: Path | str, **settings: object) -> CameraSettings:
    return CameraSettings.model_validate({"source": str(source), **settings})


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, suffix in (("c", "png"), ("a", "JPG"), ("b", "webp")):
        Image.new("RGB", (40, 30), COLOURS[name]).save(folder / f"{name}.{suffix}")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 10 frames a second, from black to white."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            pixels = np.full((48, 64, 3), number * 12, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file


@pytest.fixture
def served(clip: Path) -> Iterator[Callable[[str], str]]:
    """Serve the clip's directory over HTTP; returns the URL of a file in it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # whoever asks what a URL is hangs up when it knows

    handler = functools.partial(Quiet, directory=str(clip.parent))
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield lambda name: f"http://127.0.0.1:{server.server_port}/{name}"
        server.shutdown()
        thread.join()


def colour(picture: Image.Image) -> tuple[int, ...]:
    return tuple(round(value) for value in np.asarray(picture).mean((0, 1)))


def test_directory_shows_its_images_in_the_order_of_their_names(pictures: Path) -> None:
    taken = list(shots(camera(pictures, fps=2), taking()))
    assert [shot.media_s for shot in taken] == [0, 0.5, 1]
    for shot, expected in zip(taken, COLOURS.values(), strict=True):
        assert shot.picture.size == (40, 30)
        assert colour(shot.picture) == pytest.approx(expected, abs=3)


def test_directory_starts_again_when_it_loops(pictures: Path) -> None:
    taken = list(islice(shots(camera(pictures, fps=1, loop=True), taking()), 7))
    assert [shot.media_s for shot in taken] == list(range(7))
    assert colour(taken[6].picture) == colour(taken[0].picture)


def test_unreadable_images_are_skipped_and_counted(pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"no png at all")
    (pictures / "cut.png").write_bytes((pictures / "c.png").read_bytes()[:60])
    (pictures / "empty.jpg").touch()
    (pictures / "folder.png").mkdir()
    skips = Skips()
    assert len(list(shots(camera(pictures), taking(skips=skips)))) == 3
    assert skips.count == 4


def test_an_image_of_too_many_pixels_is_skipped(pictures: Path) -> None:
    side = int(MAX_PIXELS**0.5) + 10
    Image.new("1", (side, side)).save(pictures / "huge.png")
    skips = Skips()
    assert len(list(shots(camera(pictures), taking(skips=skips)))) == 3
    assert skips.count == 1


def test_a_large_jpeg_is_decoded_small_but_not_too_small(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 1200)).save(tmp_path / "a.jpg")
    (shot,) = shots(camera(tmp_path), taking())
    assert shot.picture.size == (400, 300)


def test_a_photograph_taken_sideways_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90°
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    (shot,) = shots(camera(tmp_path), taking())
    assert shot.picture.size == (20, 40)


def test_pan_shows_moving_crops_of_each_image(tmp_path: Path) -> None:
    gradient = np.zeros((300, 400, 3), dtype=np.uint8)
    gradient[..., 0] = np.linspace(0, 255, 400)
    Image.fromarray(gradient).save(tmp_path / "a.png")
    taken = list(shots(camera(tmp_path, fps=2, pan=True), taking()))
    assert len(taken) == 2 * PAN_S
    assert all(shot.picture.width == shot.picture.height <= 270 for shot in taken)
    reds = [colour(shot.picture)[0] for shot in taken]
    assert len(set(reds)) > 5
    assert max(reds) - min(reds) > 30


def test_video_file_gives_the_frames_asked_for_in_media_time(clip: Path) -> None:
    taken = list(shots(camera(clip, fps=2), taking()))
    assert [shot.media_s for shot in taken] == pytest.approx([0, 0.5, 1, 1.5], abs=0.01)
    levels = [colour(shot.picture)[0] for shot in taken]
    assert levels == pytest.approx([0, 60, 120, 180], abs=12)


def test_video_file_starts_again_when_it_loops(clip: Path) -> None:
    taken = list(islice(shots(camera(clip, fps=2, loop=True), taking()), 6))
    times = [shot.media_s for shot in taken]
    assert times == sorted(times, key=lambda at: at or 0)
    assert colour(taken[4].picture) == colour(taken[0].picture)


def test_video_is_scaled_on_the_way_to_what_is_needed(clip: Path) -> None:
    first = next(iter(shots(camera(clip), taking(16))))
    assert first.picture.size == (43, 32)


def test_damaged_video_loses_what_is_damaged(clip: Path, tmp_path: Path) -> None:
    content = bytearray(clip.read_bytes())
    for at in range(600, min(1600, len(content) - 1200)):
        content[at] ^= 0x5A
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    try:
        taken = list(shots(camera(damaged, fps=10), taking()))
    except SourceError:
        return
    assert len(taken) <= 20


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.mp4", None, "does not exist; check `source`"),
        ("noise.mp4", b"\0" * 5000, "cannot be opened: Invalid data found"),
        ("empty.mp4", b"", "cannot be opened: "),
    ],
)
def test_a_file_that_is_no_video_is_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceOpenError, match=problem) as caught:
        list(shots(camera(file), taking()))
    assert str(file) in str(caught.value)


def test_sound_alone_is_no_camera(tmp_path: Path) -> None:
    file = tmp_path / "sound.wav"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(SourceOpenError, match="has no picture, only sound or data"):
        list(shots(camera(file), taking()))


def test_pan_needs_a_directory(clip: Path) -> None:
    with pytest.raises(SourceOpenError, match="is not a directory of images; remove `pan`"):
        list(shots(camera(clip, pan=True), taking()))


def test_an_empty_directory_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match=r"holds no images; put some there \(\.bmp"):
        list(shots(camera(tmp_path), taking()))


def test_a_directory_of_broken_images_does_not_spin(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(SourceOpenError, match="none of the 1 images"):
        list(shots(camera(tmp_path, loop=True), taking()))


def test_url_gives_live_frames(served: Callable[[str], str]) -> None:
    taken = list(shots(camera(served("clip.mp4"), fps=60), taking()))
    assert taken
    assert {shot.media_s for shot in taken} == {None}
    assert taken[0].picture.size == (64, 48)


def test_url_of_a_single_picture_gives_that_picture(
    served: Callable[[str], str], clip: Path
) -> None:
    Image.new("RGB", (64, 48), (200, 10, 10)).save(clip.parent / "snapshot.jpg")
    taken = list(islice(shots(camera(served("snapshot.jpg"), fps=50), taking()), 2))
    for shot in taken:  # asked for again and again
        assert colour(shot.picture) == pytest.approx((200, 10, 10), abs=4)
        assert shot.media_s is None


def test_url_that_does_not_answer_is_one_sentence_without_the_password() -> None:
    with pytest.raises(SourceOpenError, match="cannot be opened: Connection refused") as caught:
        list(shots(camera("http://me:hush@127.0.0.1:9/x.mp4"), taking()))
    assert "hush" not in str(caught.value)


def test_url_that_is_not_found_is_one_sentence(served: Callable[[str], str]) -> None:
    with pytest.raises(SourceOpenError, match=r"cannot be opened: .*404"):
        list(shots(camera(served("none.mp4")), taking()))


def test_errors_have_one_root() -> None:
    assert issubclass(SourceOpenError, SourceError)
    assert issubclass(SourceLostError, SourceError)


@pytest.mark.parametrize(
    ("source", "loop", "expected"),
    [
        ("rtsp://h/x", False, True),
        ("/dev/video0", False, True),
        ("clip.mp4", True, True),
        ("clip.mp4", False, False),
    ],
)
def test_which_sources_are_endless(source: str, loop: bool, expected: bool) -> None:
    assert endless(camera(source, loop=loop)) is expected


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_CLIP.exists(), reason=f"{SHARED_CLIP.name} is not in ../shared")
def test_a_real_camera_clip() -> None:
    taken = list(islice(shots(camera(SHARED_CLIP, fps=1), taking(160)), 4))
    assert [shot.media_s for shot in taken] == pytest.approx([0, 1, 2, 3], abs=0.05)
    assert all(min(shot.picture.size) == 320 for shot in taken)
