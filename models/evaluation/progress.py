"""What a long command shows while it works: a bar a step, or a line as each step ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

OnProgress = Callable[[str, int, int], None]


@contextmanager
def shown_progress() -> Iterator[OnProgress]:
    """Yield what is to be called with (what, done, of); it shows that on stderr.

    Nothing is drawn between two calls: a thread that did would be in the way of what is timed.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        disable=not console.is_terminal,
    )
    steps: dict[str, TaskID] = {}
    ended: set[str] = set()

    def on_progress(what: str, done: int, of: int) -> None:
        if what not in steps:
            steps[what] = bar.add_task(what, total=of)
        bar.update(steps[what], completed=done, total=of, refresh=True)
        if done == of and what not in ended and not console.is_terminal:
            ended.add(what)
            console.print(f"{what}: {done} of {of}", highlight=False)

    with bar:
        yield on_progress
