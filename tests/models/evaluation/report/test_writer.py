from pathlib import Path

import pytest

from models.evaluation.report.document import DataFile, Picture, Section
from models.evaluation.report.writer import ReportError, write_report


def section(text: str) -> Section:
    def draw(file: Path) -> None:
        file.write_text(text)

    return Section(
        "one",
        "One",
        (
            Picture("one.png", "", draw),
            DataFile("one.csv", ("figure",), ((1,),)),
        ),
    )


def test_a_report_is_a_page_and_its_files_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "report"
    page = write_report(folder, "Title", [], [section("drawn")], "")
    assert page == folder / "README.md"
    assert {file.name for file in folder.iterdir()} == {"README.md", "one.png", "one.csv"}
    assert (folder / "one.png").read_text() == "drawn"
    assert (folder / "one.csv").read_text() == "figure\n1\n"


def test_the_page_that_is_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write_report(tmp_path, "Title", [], [section("old")], "")
    before = (tmp_path / "README.md").read_text()

    def stop(_file: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, "New", [], [Section("a", "A", (Picture("b.png", "", stop),))], "")
    assert (tmp_path / "README.md").read_text() == before


def test_where_nothing_can_be_written_it_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReportError, match="name another folder with --out"):
        write_report(tmp_path / "file", "Title", [], [], "")
