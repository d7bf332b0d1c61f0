"""A report as values, and what it is written as: Markdown for people, CSV for programs."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

RIGHT, LEFT = "---:", "---"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ready text; the first `text_columns` columns are words, the others figures."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure.

    Attributes:
        file: the name it gets beside the report.
        alt: what it shows, for those who can't see it.
        draw: writes it to the path given.
    """

    file: str
    alt: str
    draw: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class DataFile:
    """The figures behind a table or picture, unrounded, as a CSV file."""

    file: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]


Block = str | Table | Picture | DataFile


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Attributes:
        key: by which the command line names it.
        title: its heading.
        blocks: its contents in order; strings are paragraphs of Markdown.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]


def to_markdown(
    title: str, preface: Sequence[Block], sections: Sequence[Section], ending: str
) -> str:
    """Return the report as one page that GitHub shows well, with its contents listed."""
    parts = [f"# {title}", *(_block(block) for block in preface)]
    parts.append("\n".join(f"* [{one.title}](#{_anchor(one.title)})" for one in sections))
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join([*parts, ending]) + "\n"


def to_csv(data: DataFile) -> str:
    """Return the data as CSV, with a header line; what is not known is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(data.header)
    writer.writerows(data.rows)
    return stream.getvalue()


def _block(block: Block) -> str:
    match block:
        case Table():
            return _table(block)
        case Picture():
            return f"![{block.alt}]({block.file})"
        case DataFile():
            return f"Unrounded: [`{block.file}`]({block.file})."
        case _:
            return block


def _table(table: Table) -> str:
    marks = [LEFT if index < table.text_columns else RIGHT for index in range(len(table.header))]
    lines = [table.header, marks, *table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
