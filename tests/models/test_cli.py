from pathlib import Path

import pytest

from models.cli import main


def test_specs_prints_the_table_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["specs", "--classes", "101"]) == 0
    out = capsys.readouterr().out
    assert "317,381" in out
    assert len(out.splitlines()) == 15


def test_pack_verifies_the_one_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack"]) == 0
    out = capsys.readouterr().out
    assert "every file matches its SHA-256" in out
    assert all(name in out for name in ("V1", "V2", "V3"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pack", "nowhere"], "the pack nowhere"),
        (["evaluate", "nowhere"], "nowhere is not a folder"),
        (["train", "nowhere"], "nowhere is not a folder"),
        (
            ["export", "nowhere", "--data", ".", "--name", "x", "--out", "y"],
            "holds no training run",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", ".", "--variants", "V9"],
        ["train", ".", "--epochs", "0"],
        ["specs", "--classes", "x"],
    ],
)
def test_impossible_options_are_refused_with_what_is_possible(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert "choose from V1" in err or "at least 1" in err


def test_train_export_and_evaluate_lead_from_pictures_to_a_pack(
    striped_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(tmp_path / "run"), str(tmp_path / "pack")
    data = str(striped_folders)
    train = ["train", data, "--variants", "V1", "--epochs", "1", "--batch-size", "16", "--run", run]
    assert main(train) == 0
    said = capsys.readouterr().out
    assert "together" in said
    assert f"wrote {run}/pack: V1" in said
    assert main(["evaluate", data, "--pack", f"{run}/pack"]) == 0
    assert main(["export", run, "--data", data, "--name", "stripes", "--out", out]) == 0
    assert main(["evaluate", data, "--pack", out]) == 0
    assert main(["pack", out]) == 0
    assert "labels: blue, green, red" in capsys.readouterr().out
