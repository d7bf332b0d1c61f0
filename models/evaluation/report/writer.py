"""Writing a report: every file beside the page, the page last and whole."""

import os
from collections.abc import Sequence
from pathlib import Path

from models.errors import ModelsError
from models.evaluation.report.document import Block, DataFile, Picture, Section, to_csv, to_markdown

PAGE = "README.md"
"""The name under which GitHub shows a folder's page."""


class ReportError(ModelsError):
    """The report cannot be written there."""


def write_report(
    folder: Path, title: str, preface: Sequence[Block], sections: Sequence[Section], ending: str
) -> Path:
    """Write the report's pictures, CSV files and page; return the page.

    The page that is there already stays until all of the new one's files are written.

    Raises:
        ReportError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for section in sections:
            for block in section.blocks:
                match block:
                    case Picture():
                        beside = folder / f".{block.file}"
                        block.draw(beside)
                        os.replace(beside, folder / block.file)
                    case DataFile():
                        _replace(folder / block.file, to_csv(block))
        _replace(folder / PAGE, to_markdown(title, preface, sections, ending))
    except OSError as exc:
        raise ReportError(
            f"the report can't be written to {folder} ({exc.strerror or exc}): "
            "name another folder with --out"
        ) from exc
    return folder / PAGE


def _replace(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, file)
