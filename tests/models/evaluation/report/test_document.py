import csv
import io
import re
from pathlib import Path

from models.evaluation.report.document import (
    DataFile,
    Picture,
    Section,
    Table,
    to_csv,
    to_markdown,
)


def draw_nothing(_file: Path) -> None:
    raise AssertionError("a page draws nothing")


SECTION = Section(
    "one",
    "Fig. 5: accuracy, over k",
    (
        "A sentence.",
        Table(("name", "kind", "figure"), (("a", "x", "1"), ("b", "y", "2")), text_columns=2),
        Picture("one.png", "What it shows", draw_nothing),
        DataFile("one.csv", ("name", "figure"), (("a", 1.25), ("b, c", None))),
    ),
)


def test_a_page_has_its_parts_in_order() -> None:
    page = to_markdown("Title", ["Preface."], [SECTION], "## The end")
    assert page == (
        "# Title\n\nPreface.\n\n* [Fig. 5: accuracy, over k](#fig-5-accuracy-over-k)\n\n"
        "## Fig. 5: accuracy, over k\n\nA sentence.\n\n"
        "| name | kind | figure |\n| --- | --- | ---: |\n| a | x | 1 |\n| b | y | 2 |\n\n"
        "![What it shows](one.png)\n\nUnrounded: [`one.csv`](one.csv).\n\n## The end\n"
    )


def test_every_entry_of_the_contents_leads_to_a_heading() -> None:
    sections = [
        SECTION,
        Section("two", "When nodes fail", ()),
        Section("three", "Table II (2)", ()),
    ]
    page = to_markdown("Title", [], sections, "")
    anchors = re.findall(r"\]\(#(.*?)\)", page)
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert anchors == ["fig-5-accuracy-over-k", "when-nodes-fail", "table-ii-2"]
    assert len(headings) == 3


def test_csv_is_unrounded_and_what_is_not_known_is_empty() -> None:
    data = DataFile("one.csv", ("name", "figure"), (("a", 1 / 3), ("b, c", None)))
    rows = list(csv.reader(io.StringIO(to_csv(data))))
    assert rows == [["name", "figure"], ["a", repr(1 / 3)], ["b, c", ""]]
