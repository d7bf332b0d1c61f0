import os
import shutil
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from gateway import folder as folder_module
from gateway.camera_settings import CameraSettings
from gateway.errors import SourceLostError, SourceOpenError
from gateway.folder import MAX_PENDING, Watch, watched_shots
from gateway.shot import Shot, Taking


def picture(file: Path, shade: int = 0, at_s: int | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), (shade, shade, shade)).save(file)
    if at_s is not None:
        os.utime(file, (at_s, at_s))
    return file


def shade(shot: Shot) -> int:
    pixel = shot.picture.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return int(pixel[0])


def looks(watch: Watch, count: int = 2) -> list[str]:
    return [file.name for _ in range(count) for file in watch.look()]


def test_new_images_are_seen_once_the_oldest_first(tmp_path: Path) -> None:
    picture(tmp_path / "old.png")
    watch = Watch(tmp_path)
    picture(tmp_path / "b.png", at_s=2000)
    picture(tmp_path / "a.png", at_s=3000)
    (tmp_path / "note.txt").write_text("no image")
    assert looks(watch) == ["b.png", "a.png"]
    assert looks(watch) == []


def test_image_that_is_still_being_written_waits(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    file = tmp_path / "a.jpg"
    for size in range(1, 4):
        file.write_bytes(b"x" * size)
        assert watch.look() == []
    assert watch.look() == [file]


def test_image_that_is_written_over_is_new_again(tmp_path: Path) -> None:
    file = picture(tmp_path / "latest.png", at_s=1000)
    watch = Watch(tmp_path)
    for at_s in (2000, 3000):
        picture(file, at_s=at_s)
        assert looks(watch) == ["latest.png"]


def test_directories_below_are_watched_too(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    picture(tmp_path / "2025" / "06" / "a.png")
    assert looks(watch) == ["a.png"]


def test_deleted_images_are_forgotten(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png", at_s=1000)
    watch = Watch(tmp_path)
    file.unlink()
    assert looks(watch) == []
    picture(file, at_s=1000)
    assert looks(watch) == ["a.png"]


def test_empty_and_oversized_files_are_no_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "MAX_PICTURE_BYTES", 100)
    watch = Watch(tmp_path)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "huge.jpg").write_bytes(bytes(101))
    assert looks(watch) == []


def test_directory_that_vanishes_is_an_outage(tmp_path: Path) -> None:
    place = tmp_path / "uploads"
    place.mkdir()
    watch = Watch(place)
    shutil.rmtree(place)
    with pytest.raises(SourceLostError, match="cannot be listed"):
        watch.look()


def test_looking_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("gateway.folder.time.monotonic", lambda: float(next(ticks)))
    watch = Watch(tmp_path)
    watch.look()  # took one second
    assert watch.rest_s == pytest.approx(1 / folder_module.LOOK_SHARE)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, list[str], Iterator[Shot]]]:
    """A watched directory into which each look's wait writes what `script` holds next."""
    script: list[str] = []
    stop = threading.Event()
    written = iter(range(1, 1000))

    def wait(_: float) -> bool:
        if script:
            name = script.pop(0)
            if name.startswith("broken"):
                (tmp_path / name).write_bytes(b"x")
            elif name:
                number = next(written)
                picture(tmp_path / name, shade=number, at_s=number)
        return stop.is_set()

    skipped: list[int] = []
    camera = CameraSettings(kind="watch", source=str(tmp_path), fps=50)
    taking = Taking(32, on_skip=lambda: skipped.append(1), wait=wait)
    yield tmp_path, script, watched_shots(tmp_path, camera, taking)
    stop.set()
    assert len(skipped) <= 1


def test_watched_directory_yields_new_pictures_and_skips_broken_ones(
    watched: tuple[Path, list[str], Iterator[Shot]],
) -> None:
    _, script, source = watched
    script += ["a.png", "broken.png", "b.png", ""]
    taken = list(islice(source, 2))
    assert [shade(shot) for shot in taken] == [1, 2]
    assert {shot.media_s for shot in taken} == {None}


def test_a_flood_gives_up_its_oldest(tmp_path: Path) -> None:
    skipped: list[int] = []
    waits = iter(range(10_000))
    taking = Taking(
        32, on_skip=lambda: skipped.append(1), wait=lambda _: flood() if next(waits) == 0 else False
    )

    def flood() -> bool:
        for number in range(MAX_PENDING + 4):
            picture(tmp_path / f"{number:03}.png", shade=number, at_s=number + 1)
        return False

    camera = CameraSettings(kind="watch", source=str(tmp_path), fps=60)
    taken = list(islice(watched_shots(tmp_path, camera, taking), MAX_PENDING))
    assert [shade(shot) for shot in taken] == list(range(4, MAX_PENDING + 4))
    assert len(skipped) == 4


def test_only_a_directory_can_be_watched(tmp_path: Path) -> None:
    camera = CameraSettings(kind="watch", source=str(tmp_path / "none"))
    with pytest.raises(SourceOpenError, match="is no directory that could be watched"):
        list(watched_shots(tmp_path / "none", camera, Taking(32)))
