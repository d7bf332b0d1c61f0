import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.datasets import TEST, TRAIN, read_dataset, reading
from models.errors import DatasetError
from tests.models.datasets import official


def test_folder_names_are_the_labels_and_pictures_keep_their_size(striped_folders: Path) -> None:
    seen: list[tuple[int, int]] = []
    dataset = read_dataset(
        striped_folders, TRAIN, 96, on_progress=lambda done, of: seen.append((done, of))
    )
    assert dataset.labels == ("blue", "green", "red")
    assert dataset.pixels.shape == (60, 3, 32, 32)
    assert np.bincount(dataset.targets).tolist() == [20, 20, 20]
    brightest = dataset.pixels.mean((2, 3)).argmax(1)
    assert (brightest == 2 - dataset.targets).all()
    assert seen == [(0, 60), (60, 60)]


def test_large_pictures_shrink_to_the_largest_side_from_their_centre(tmp_path: Path) -> None:
    for label, value in (("dark", 10), ("light", 240)):
        (tmp_path / label).mkdir()
        picture = np.zeros((100, 300, 3), np.uint8)
        picture[:, 100:200] = value  # the centre; the sides stay black
        Image.fromarray(picture).save(tmp_path / label / "a.png")
    dataset = read_dataset(tmp_path, TRAIN, 64)
    assert dataset.pixels.shape == (2, 3, 64, 64)
    assert dataset.pixels.min((1, 2, 3)).tolist() == [10, 240]


def test_a_large_jpeg_scaled_while_it_is_decoded_looks_the_same(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:1200, 0:1600]
    smooth = np.stack([rows / 5, columns / 7, (rows + columns) / 12], -1).astype(np.uint8)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
    Image.fromarray(smooth).save(tmp_path / "a" / "photo.jpg", quality=95)
    Image.fromarray(smooth).save(tmp_path / "b" / "photo.png")
    jpeg, png = read_dataset(tmp_path, TRAIN, 96).pixels.astype(int)
    assert abs(jpeg - png).max() <= 3


def test_a_phones_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its left side: turn it by 90° clockwise
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        picture = Image.new("RGB", (40, 40), "black")
        picture.paste("white", (0, 0, 20, 40))  # the left half
        picture.save(tmp_path / label / "a.jpg", exif=exif)
    upright = read_dataset(tmp_path, TRAIN, 96).pixels[0].mean(0)
    assert upright[:15].min() > 200 > 50 > upright[25:].max(), "what was left is now on top"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    for label, value in (("a", 255), ("b", 0)):
        (tmp_path / label).mkdir()
        if mode == "I;16":
            picture = Image.fromarray(np.full((16, 16), value * 257, np.uint16))
        else:
            picture = Image.new("RGB", (16, 16), (value,) * 3).convert(mode)
        picture.save(tmp_path / label / f"a.{suffix}")
    pixels = read_dataset(tmp_path, TRAIN, 96).pixels
    assert pixels.shape == (2, 3, 16, 16)
    assert pixels[0].min() > 150 > 10 > pixels[1].max()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says it is enormous."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no picture"),
        (b"\x89PNG and no more", "is no picture"),
        (b"words", "is no picture"),
        (bomb(16, 16)[:-30], "cannot be decoded"),
        (bomb(200, 200), "cannot be decoded"),
        (bomb(9_500, 9_500), "has more than 89 million pixels|too many"),
        (bomb(60_000, 60_000), "has more than 89 million pixels"),
    ],
)
def test_unreadable_pictures_and_bombs_are_named_and_left_out(
    striped_folders: Path, caplog: pytest.LogCaptureFixture, content: bytes, reason: str
) -> None:
    (striped_folders / "red" / "broken.png").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        dataset = read_dataset(striped_folders, TRAIN, largest_side=96)
    assert len(dataset) == 60
    assert len(dataset.files) == len(dataset.targets) == 60
    (record,) = caplog.records
    assert "broken.png" in record.getMessage()
    assert any(part in record.getMessage() for part in reason.split("|"))


@pytest.mark.parametrize("cut", [2, 4, 20, 100, 300, 600])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_truncated_pictures_of_every_format_are_left_out(
    striped_folders: Path, cut: int, suffix: str
) -> None:
    whole = striped_folders / "red" / f"broken.{suffix}"
    Image.fromarray(official.pictures(1, 32)[0]).save(whole)
    content = whole.read_bytes()
    assert len(content) > 600
    whole.write_bytes(content[:cut])
    assert whole not in read_dataset(striped_folders, TRAIN, 96).files


def test_many_unreadable_pictures_are_counted(
    striped_folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(15):
        (striped_folders / "red" / f"broken{index:02d}.png").write_bytes(b"x")
    read_dataset(striped_folders, TRAIN, 96)
    assert len(caplog.records) == 11
    assert caplog.messages[-1] == "left out 5 more that cannot be read"


def test_given_labels_fix_the_order_and_foreign_folders_are_refused(striped_folders: Path) -> None:
    labels = ("red", "green", "blue", "black")
    dataset = read_dataset(striped_folders, TEST, 96, labels=labels)
    assert dataset.targets.tolist() == [2] * 20 + [1] * 20 + [0] * 20
    assert dataset.labels == labels
    with pytest.raises(DatasetError, match="classes that the model lacks: blue, green"):
        read_dataset(striped_folders, TEST, 96, labels=("red",))


def test_a_limit_takes_the_first_of_each_class(striped_folders: Path) -> None:
    dataset = read_dataset(striped_folders, TRAIN, 96, limit=3)
    assert [file.name for file in dataset.files] == ["00.png", "01.png", "02.png"] * 3


def test_more_than_the_memory_holds_is_refused_with_what_would_fit(
    striped_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "free_memory_bytes", lambda: 200_000)
    with pytest.raises(DatasetError, match=r"need 0\.0 GB .* --limit 8 .* or --side 21") as refused:
        read_dataset(striped_folders, TRAIN, 96)
    assert "60 pictures of 32 pixels" in str(refused.value)
    assert len(read_dataset(striped_folders, TRAIN, 96, limit=8)) == 24
    assert read_dataset(striped_folders, TRAIN, 21).pixels.shape == (60, 3, 21, 21)


def test_the_memory_that_is_free_is_known_here() -> None:
    free = reading.free_memory_bytes()
    assert free is not None
    assert 2**20 < free < 2**50


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (None, "is not a folder"),
        ([], "holds no class folders"),
        (["one"], "holds 1 class: at least two"),
        (["one", "empty"], "empty holds no pictures"),
        (["one", "broken"], None),
        (["broken"], "holds no picture that can be read"),
    ],
)
def test_unusable_folders_are_refused_in_one_sentence(
    tmp_path: Path, folders: list[str] | None, sentence: str | None
) -> None:
    root = tmp_path / "root"
    for name in folders or []:
        (root / name).mkdir(parents=True)
        if name == "one":
            Image.new("RGB", (8, 8)).save(root / name / "a.png")
        if name == "broken":
            (root / name / "a.png").write_bytes(b"x")
    if folders == []:
        root.mkdir()
    labels = ("one", "broken") if folders and "broken" in folders else None
    if sentence is None:
        assert len(read_dataset(root, TEST, 96, labels=labels)) == 1
        return
    with pytest.raises(DatasetError, match=sentence) as refused:
        read_dataset(root, TEST, 96, labels=labels)
    assert "\n" not in str(refused.value)
