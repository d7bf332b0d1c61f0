import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from models.cli import main
from tests.models.datasets import official


def test_data_shows_the_classes_in_80_columns(
    striped_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "a class whose name is much longer than anybody would want to read in a table at all"
    (striped_folders / long).mkdir()
    for index, pixels in enumerate(official.pictures(5)):
        Image.fromarray(pixels).save(striped_folders / long / f"{index}.png")
    (striped_folders / "red" / "broken.png").write_bytes(b"x")
    assert main(["data", str(striped_folders)]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"{striped_folders}: image folder"
    by_class = {line.split()[0]: line for line in lines if line[:1].strip()}
    assert by_class["red"].split()[1:] == ["20", "█" * 24]
    assert by_class["a"].count("█") == 6
    assert "…" in by_class["a"]
    assert by_class["4"].split() == ["4", "classes", "65"]
    assert "balance     5 to 20 pictures a class in all, median 20" in lines
    assert "sizes       32 × 32 throughout" in lines
    assert "unreadable  1, left out:" in lines
    assert any(line.endswith("broken.png is no picture that can be recognised") for line in lines)
    assert "too few     fewer than 10 pictures, which `train` refuses: 1 of 4 classes" in lines
    assert all(len(line) <= 80 for line in lines if str(striped_folders) not in line)


def test_a_thousand_classes_are_summarised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1000):
        folder = tmp_path / f"n{number:08d}"
        folder.mkdir()
        picture = Image.new("RGB", (2, 2), (number % 256, number // 256, 0))
        for index in range(2 if number == 500 else 1):
            picture.save(folder / f"{index}.png")
    assert main(["data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 50
    assert ["n00000500", "2", "█" * 24] in [line.split() for line in lines], "the largest"
    assert any(line.startswith("… 990 more …") for line in lines)
    assert "  several times in their class: 1" in lines
    assert "    and 990 more, which --json names" in lines


def test_data_as_json_says_everything(
    striped_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (striped_folders / "red" / "broken.png").write_bytes(b"x")
    with Image.open(striped_folders / "red" / "00.png") as image:
        image.save(striped_folders / "blue" / "red.png")
    assert main(["data", str(striped_folders), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["format"] == "image folder"
    assert said["counts"] == {"all": {"blue": 21, "green": 20, "red": 20}}
    assert said["sizes"] == {"smallest": [32, 32], "median": [32, 32], "largest": [32, 32]}
    assert [Path(one["file"]).name for one in said["unreadable"]] == ["broken.png"]
    assert [one["kind"] for one in said["duplicates"]] == ["several classes"]
    assert said["too_few"] == {}
    assert said["missing"] == {"all": []}


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (None, "is not a folder"),
        ([], "holds no class folders"),
        (["one"], "one holds no pictures"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    folders: list[str] | None,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "root"
    if folders is not None:
        root.mkdir()
    for name in folders or []:
        (root / name).mkdir()
    assert main(["data", str(root)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_evaluate_takes_the_test_part_of_official_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = official.pictures(70)
    official.write_cifar10(tmp_path / "c", pixels[:50], pixels[50:], range(10))
    archive = official.archived(tmp_path / "c", tmp_path / "cifar-10-python.tar.gz")
    assert main(["evaluate", str(archive), "--pack", "cifar10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 20
    assert main(["evaluate", str(archive), "--pack", "cifar10", "--json", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "pictures", "--limit", "9"], "has 9 readable pictures"),
        (["train", "pictures/test"], "'blue' has 4 readable pictures"),
        (["train", "cifar"], "data_batch_2 is missing"),
        (["evaluate", "train-only"], "has a train part and no test part"),
    ],
)
def test_each_command_takes_its_own_part(
    striped_folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(striped_folders, "train-only/train")
    striped_folders.rename("whole")
    shutil.copytree("whole", "pictures/train")
    for file in Path("whole").glob("*/*"):
        part = Path("pictures/test") / file.relative_to("whole")
        part.parent.mkdir(parents=True, exist_ok=True)
        if file.stem < "04":
            shutil.copy(file, part)
    pixels = official.pictures(20)
    official.write_cifar10(Path("cifar"), pixels, pixels, range(10))
    Path("cifar/data_batch_2").unlink()
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]
