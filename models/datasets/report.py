"""A survey as people and as programs read it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from models.dataset import MINIMUM_PER_CLASS
from models.datasets.survey import Duplicate, Repetition, Survey

ALL_SHOWN = 40
"""With more classes, only the largest and the smallest are shown."""

ENDS = 5
NAMED = 10
LABEL_WIDTH = 30
BAR_WIDTH = 24

_SENTENCES = {
    Repetition.ACROSS_PARTS: "in train and in test, which flatters test: {n}",
    Repetition.SEVERAL_CLASSES: "in several classes at once: {n}",
    Repetition.WITHIN_CLASS: "several times in their class: {n}",
}


def table_of(survey: Survey) -> Table:
    """Return the classes with their counts; a bar shows the part that is trained on."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    shown.add_column("class", no_wrap=True, max_width=LABEL_WIDTH)
    for part in survey.counts:
        shown.add_column(part, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    trained = survey.counts[survey.training_part]
    most = max(trained.values(), default=0) or 1
    for label in _shown_labels(survey):
        if label is None:
            left_out = len(survey.labels) - 2 * ENDS
            shown.add_row(f"… {left_out:,} more …", *[""] * (len(survey.counts) + 1))
            continue
        counts = [f"{of_part.get(label, 0):,}" for of_part in survey.counts.values()]
        bar = "█" * round(BAR_WIDTH * trained.get(label, 0) / most)
        shown.add_row(Text(label, overflow="ellipsis"), *counts, bar)
    totals = [f"{sum(of_part.values()):,}" for of_part in survey.counts.values()]
    shown.add_row(f"{len(survey.labels):,} classes", *totals, "")
    return shown


def findings(survey: Survey) -> Iterator[str]:
    """Yield the lines below the table: balance, sizes, and what is wrong or doubtful."""
    counts = sorted(survey.counts[survey.training_part].values())
    yield (
        f"balance     {counts[0]:,} to {counts[-1]:,} pictures a class in "
        f"{survey.training_part}, median {counts[len(counts) // 2]:,}"
    )
    smallest, median, largest = (f"{width:,} × {height:,}" for width, height in survey.sizes)
    if smallest == largest:
        yield f"sizes       {smallest} throughout"
    else:
        yield f"sizes       smallest {smallest}, median {median}, largest {largest}"
    yield f"unreadable  {f'{len(survey.unreadable):,}, left out:' if survey.unreadable else 'none'}"
    yield from _first([str(problem) for problem in survey.unreadable])
    yield f"duplicates  {'' if survey.duplicates else 'none'}".rstrip()
    for kind in Repetition:
        if groups := survey.repeated(kind):
            yield "  " + _SENTENCES[kind].format(n=f"{len(groups):,}")
            yield from _first([_files(one) for one in groups])
    if few := survey.few():
        yield (
            f"too few     fewer than {MINIMUM_PER_CLASS} pictures, which `train` refuses: "
            f"{_of_all(few, survey)}"
        )
        yield from _first([f"{label:.60}: {count:,}" for label, count in few.items()])
    for part in survey.counts:
        if missing := survey.missing(part):
            yield f"missing     without pictures in {part}: {_of_all(missing, survey)}"
            yield from _first(missing)


def as_json(survey: Survey) -> dict[str, Any]:
    """Return the whole survey as JSON's types; nothing is shortened."""
    return {
        "path": str(survey.path),
        "format": survey.format,
        "labels": list(survey.labels),
        "counts": {part: dict(counts) for part, counts in survey.counts.items()},
        "sizes": dict(zip(("smallest", "median", "largest"), map(list, survey.sizes), strict=True)),
        "unreadable": [
            {"file": str(one.file), "problem": one.problem} for one in survey.unreadable
        ],
        "duplicates": [
            {
                "kind": str(group.kind),
                "pictures": [
                    {"part": one.part, "label": one.label, "file": str(one.file)}
                    for one in group.pictures
                ],
            }
            for group in survey.duplicates
        ],
        "too_few": survey.few(),
        "missing": {part: list(survey.missing(part)) for part in survey.counts},
    }


def _shown_labels(survey: Survey) -> Iterable[str | None]:
    """Return the classes to show; None stands for those that are left out."""
    if len(survey.labels) <= ALL_SHOWN:
        return survey.labels
    trained = survey.counts[survey.training_part]
    ordered = sorted(survey.labels, key=lambda label: -trained.get(label, 0))
    return [*ordered[:ENDS], None, *ordered[-ENDS:]]


def _first(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines[:NAMED])
    if len(lines) > NAMED:
        yield f"    and {len(lines) - NAMED:,} more, which --json names"


def _of_all(some: Collection[str], survey: Survey) -> str:
    return f"{len(some):,} of {len(survey.labels):,} classes"


def _files(group: Duplicate) -> str:
    return " = ".join(f"{one.part}/{one.label}/{one.file.name}" for one in group.pictures)
