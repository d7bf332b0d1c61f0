"""The commands of `idlesight-models` that look into data sets and compose them."""

import argparse
import json
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.datasets.composition import plan, write
from models.datasets.data_map import load_map
from models.datasets.found import find
from models.datasets.report import as_json, findings, table_of
from models.datasets.survey import survey


def data_command(options: argparse.Namespace) -> int:
    """Say what is in a data set."""
    found = find(options.data)
    with _bar() as bar:
        tasks = {name: bar.add_task(name, total=None) for name in found.parts}
        result = survey(
            found,
            options.limit,
            on_progress=lambda name, done, of: bar.update(tasks[name], completed=done, total=of),
        )
    if options.json:
        print(json.dumps(as_json(result), ensure_ascii=False))
        return 0
    print(f"{result.path}: {result.format}\n")
    Console(highlight=False).print(table_of(result))
    print()
    for line in findings(result):
        print(line)
    return 0


def compose_command(options: argparse.Namespace) -> int:
    """Write the data set that a map describes and say how many pictures each label has."""
    data_map = load_map(options.map)
    parts = data_map.parts if options.split is None else _split(options.split)
    placements = plan(data_map, options.root, parts)
    with _bar() as bar:
        task = bar.add_task(data_map.name, total=len(placements))
        write(
            placements,
            options.out,
            on_progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    counts = Counter(one.target.parent for one in placements)
    width = max(len(label) for label in data_map.labels)
    print(f"{'label':{width}} " + " ".join(f"{part:>7}" for part in parts))
    for label in data_map.labels:
        row = (sum(n for f, n in counts.items() if f.parts == (part, label)) for part in parts)
        print(f"{label:{width}} " + " ".join(f"{n:7,}" for n in row))
    sums = (sum(n for folder, n in counts.items() if folder.parts[0] == part) for part in parts)
    print(f"{'':{width}} " + " ".join(f"{n:7,}" for n in sums))
    print(f"wrote {options.out}")
    return 0


def _split(split: str) -> tuple[str, ...]:
    return ("train", "test") if split == "both" else (split,)


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
