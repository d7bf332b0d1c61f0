import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.cli import main
from models.evaluation import latency_run, score_cache
from models.evaluation.report.commands import SECTIONS
from models.pack import Pack
from models.specs import VariantSpec

TINY_TIMED = (VariantSpec("V1", 32, 0.35, 256), VariantSpec("V2", 32, 0.35, 320))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two dozen pictures that are 180 pixels high."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for index in range(24):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        coarse.resize((240, 180), Image.Resampling.BICUBIC).save(folder / f"{index:02d}.jpg")
    (folder / "25.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def arguments(tiny_pack: Pack, labelled_pictures: Path, tmp_path: Path) -> list[str]:
    return [
        "reproduce", "--packs", str(tiny_pack.path), "--data", str(labelled_pictures.parents[1]),
        "--out", str(tmp_path / "report"), "--cache", str(tmp_path / "cache"),
    ]  # fmt: skip


def test_one_command_writes_the_whole_report(
    arguments: list[str],
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(latency_run, "TIMED", TINY_TIMED)  # nothing has to be exported
    assert main([*arguments, "--frames", str(photographs)]) == 0
    assert "wrote " in capsys.readouterr().out
    report = tmp_path / "report"
    page = (report / "README.md").read_text()
    for link in re.findall(r"\]\(([\w.-]+\.(?:png|csv))\)", page):
        assert (report / link).stat().st_size > 0
    linked = set(re.findall(r"\]\(([\w.-]+\.(?:png|csv))\)", page))
    assert {file.name for file in report.iterdir()} == linked | {"README.md"}
    assert str(tmp_path) not in page

    assert main(["evaluate", arguments[4] + "/cifar10/test", "--pack", arguments[2], "--json"]) == 0
    evaluated = {
        "+".join(one["variants"]): one["top_1"]
        for one in json.loads(capsys.readouterr().out)["subsets"]
    }
    with (report / "table6-cifar10.csv").open() as stream:
        written = {row["variants"]: float(row["top_1"]) for row in csv.DictReader(stream)}
    assert written == evaluated
    assert f"| V1 | {100 * evaluated['V1']:.2f} |" in page


def test_a_second_run_classifies_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments += ["--only", "table6,fig5,fig6,fig7,availability"]
    assert main(arguments) == 0
    first = {file.name: file.read_bytes() for file in (tmp_path / "report").glob("*-cifar10.*")}
    assert len(first) == 9
    monkeypatch.setattr(score_cache, "classify", None)
    assert main(arguments) == 0
    second = {file.name: file.read_bytes() for file in (tmp_path / "report").glob("*-cifar10.*")}
    assert first == second


def test_ctrl_c_says_where_what_is_done_is_kept(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(score_cache, "classify", stop)
    assert main(arguments) == 130
    said = capsys.readouterr().err
    assert f"kept in {tmp_path / 'cache'}" in said
    assert "Traceback" not in said
    assert not (tmp_path / "report").exists()


def test_what_is_missing_is_a_sentence_of_the_report(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "data")
    monkeypatch.setattr(latency_run, "TIMED", ())
    assert main(arguments) == 0
    page = (tmp_path / "report" / "README.md").read_text()
    assert page.count("Pack `cifar10` is not measured: there is no folder `cifar10/test`") == 5
    assert "no folder of photographs was given" in page
    assert not list((tmp_path / "report").glob("fig*"))


def test_small_photographs_are_a_sentence_too(
    arguments: list[str], labelled_pictures: Path, tmp_path: Path
) -> None:
    frames = str(labelled_pictures / "class-0")
    assert main([*arguments, "--only", "bandwidth", "--frames", frames]) == 0
    page = (tmp_path / "report" / "README.md").read_text()
    assert "fewer than 20 of the photographs have 96 pixels" in page


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--only", "table6,fig9"], "fig9 is no section; choose from table2, table6"),
        (["--frames", "nowhere"], "nowhere is not a folder: --frames takes one of photographs"),
        (["--only", "bandwidth", "--frames", "."], ". holds no photographs"),
        (["--packs", "nowhere"], "the pack nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    more: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, *more]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert sentence in said[-1]
    assert said[-1].startswith("idlesight-models: ")


def test_two_packs_of_one_name_are_refused(
    arguments: list[str], tiny_pack: Pack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--packs", str(tiny_pack.path), str(tiny_pack.path)]) == 2
    assert "two packs are named cifar10" in capsys.readouterr().err


def test_only_what_is_asked_for_is_in_the_report(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--only", "fig6,table2"]) == 0
    page = (tmp_path / "report" / "README.md").read_text()
    assert re.findall(r"^## (.*?)[:\n]", page, re.MULTILINE) == [
        "Table II", "Fig. 6", "How this page is made",
    ]  # fmt: skip


def test_a_rough_report_says_so(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--only", "table6", "--limit", "2"]) == 0
    page = (tmp_path / "report" / "README.md").read_text()
    assert "Only the first 2 test pictures a class" in page
    assert "20 test pictures" in page


def test_help_names_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ", ".join(SECTIONS) in said
    assert "unpack.py" in said
