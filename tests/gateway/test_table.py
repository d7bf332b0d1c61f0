import io
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from broker.payloads import Contributor, LabelScore, Result
from gateway.table import Scoreboard, answers, line

BASE: dict[str, Any] = {
    "camera": "porch",
    "frame": 7,
    "captured_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "status": "answered",
    "label": "cat",
    "confidence": 0.91,
    "top": [LabelScore(label="cat", score=0.91)],
    "decided": "all",
    "contributors": [Contributor(node="tablet", variant="V2", ms=26.54)],
    "expected": 2,
    "missing": ["nas"],
    "latency_ms": 41.26,
    "deadline_ms": 500,
    "pack": "cifar10",
}
NOBODY: dict[str, Any] = {
    "status": "no_answer",
    "label": None,
    "confidence": None,
    "top": [],
    "contributors": [],
    "decided": "deadline",
    "latency_ms": 500.0,
}


def test_a_line_says_what_was_seen_by_whom_and_who_is_missing() -> None:
    assert line(Result(**BASE)) == (
        "frame 7: cat (91%), tablet 26.5 · nas –; decided by all in 41.3 ms"
    )


def test_a_node_that_was_not_needed_does_not_look_as_if_it_failed() -> None:
    assert line(Result(**BASE | {"decided": "certain"})) == (
        "frame 7: cat (91%), tablet 26.5 · nas …; decided by certain in 41.3 ms"
    )


def test_no_answer_is_called_no_answer_and_unsure_is_marked() -> None:
    assert line(Result(**BASE | NOBODY)).startswith("frame 7: no answer (–), nas –;")
    assert "cat ? (91%)" in line(Result(**BASE | {"status": "unsure"}))
    assert answers([], []) == "nobody"


def test_summary_counts_frames_with_an_answer_and_their_latencies_alone() -> None:
    scoreboard = Scoreboard()
    assert scoreboard.summary() == "answered 0 of 0 frames"
    scoreboard.add(Result(**BASE | NOBODY))
    assert scoreboard.summary() == "answered 0 of 1 frames"
    for latency_ms in (10.0, 20.0, 30.0):
        scoreboard.add(Result(**BASE | {"latency_ms": latency_ms, "status": "unsure"}))
    assert scoreboard.summary() == "answered 3 of 4 frames, p50 20.0 ms, p95 29.0 ms"
    assert scoreboard.unsure == 3


def test_the_table_holds_the_newest_rows_and_fits_a_terminal() -> None:
    scoreboard = Scoreboard(rows=2)
    for frame in (1, 2, 3):
        scoreboard.add(Result(**BASE | {"frame": frame}))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(scoreboard.render("Ctrl-C ends"))
    text = console.export_text()
    assert "│     1 │" not in text
    assert "│     3 │ cat" in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.rstrip().endswith("Ctrl-C ends")
