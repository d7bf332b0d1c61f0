"""Results as a table for the terminal: pure, from results to what rich shows."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from broker.payloads import Contributor, Result

STATUS_STYLES = {"answered": "green", "unsure": "yellow", "no_answer": "red"}


class Scoreboard:
    """Counts results and keeps the newest for show."""

    def __init__(self, rows: int = 12) -> None:
        self.newest: deque[Result] = deque(maxlen=rows)
        self.latencies_ms: list[float] = []
        self.frames = 0
        self.unsure = 0

    def add(self, result: Result) -> None:
        """Count one result; a frame is answered when at least one node contributed to it."""
        self.newest.append(result)
        self.frames += 1
        if result.contributors:
            self.latencies_ms.append(result.latency_ms)
            self.unsure += result.status == "unsure"

    @property
    def answered(self) -> int:
        """How many frames have an answer of at least one node."""
        return len(self.latencies_ms)

    def summary(self) -> str:
        """Return the closing line: frames answered, median and 95th percentile latency."""
        line = f"answered {self.answered} of {self.frames} frames"
        if not self.latencies_ms:
            return line
        p50, p95 = np.percentile(self.latencies_ms, [50, 95])
        return f"{line}, p50 {p50:.1f} ms, p95 {p95:.1f} ms"

    def render(self, caption: str) -> RenderableType:
        """Return the newest results as a table, the summary and a caption below it."""
        table = Table(expand=False, title="idlesight", title_justify="left")
        table.add_column("frame", justify="right")
        table.add_column("label", min_width=10)
        table.add_column("confidence", justify="right")
        table.add_column("who answered, inference ms")
        table.add_column("decided")
        table.add_column("latency ms", justify="right")
        for result in self.newest:
            table.add_row(*row(result), style=None)
        return Group(table, Text(self.summary()), Text(caption, style="dim"))


def row(result: Result) -> tuple[Text, ...]:
    """Return a result's cells: frame, label, confidence, contributors, decided, latency."""
    style = STATUS_STYLES[result.status]
    label = result.label or result.status.replace("_", " ")
    if result.status == "unsure":
        label += " ?"
    confidence = "–" if result.confidence is None else f"{result.confidence:.0%}"
    return (
        Text(str(result.frame)),
        Text(label, style=style),
        Text(confidence),
        Text(answers(result.contributors, result.missing, awaited=result.decided != "certain")),
        Text(result.decided),
        Text(f"{result.latency_ms:.1f}"),
    )


def line(result: Result) -> str:
    """Return a result as one line, for where there is no terminal."""
    frame, label, confidence, contributors, decided, latency = (cell.plain for cell in row(result))
    return (
        f"frame {frame}: {label} ({confidence}), {contributors}; "
        f"decided by {decided} in {latency} ms"
    )


def answers(
    contributors: Sequence[Contributor], missing: Sequence[str], *, awaited: bool = True
) -> str:
    """Return who answered in how many milliseconds, and who did not, or was not needed (…)."""
    parts = [f"{one.node} {one.ms:.1f}" for one in contributors]
    parts += [f"{node} {'–' if awaited else '…'}" for node in missing]
    return " · ".join(parts) or "nobody"
