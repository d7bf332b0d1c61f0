"""What a benchmark says: one row, a figure beside its peer or its target."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        what: what was measured, and how.
        measured: the figure with its unit.
        target: what it should be at most or at least.
        met: whether it is.
        peer: the same done by something else in the same run; empty where there is none.
    """

    what: str
    measured: str
    target: str
    met: bool
    peer: str = ""


def show(rows: list[Row]) -> None:
    """Print the rows as a table."""
    table = Table(title="benchmarks, all measured in this run")
    for column in ("what", "measured", "peer", "target", "met"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.what, row.measured, row.peer, row.target, "yes" if row.met else "no")
    Console().print(table)
