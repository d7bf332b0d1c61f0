"""The report's figures: values in, a PNG out, all in one style.

Colours are Okabe and Ito's, which people of every colour vision tell apart; shapes and labels say
the same again. Eight inches at 10 points read well at the 800 pixels of a page on GitHub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from models.evaluation.bandwidth import FULL_COLOUR_SIDE
from models.evaluation.subsets import LeftOut

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE, GREY = "#E69F00", "#56B4E9", "#CC79A7", "#767676"
BY_SIZE = (SKY, GREEN, ORANGE, VERMILLION, PURPLE, BLUE, GREY, "#000000")
"""The colour of subsets of 1, 2, … variants."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

WIDTH_INCHES = 8.0
DOTS_PER_INCH = 160

LABEL_HEIGHT = 0.05
"""Of the range of accuracies: closer ones would write over each other."""


_styled = mpl.rc_context(
    {
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#444444",
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": "#E3E3E3",
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "legend.frameon": False,
        "savefig.facecolor": "white",
    }
)
"""Decorates what draws: the style holds while it does and nobody else's figures change."""


@dataclass(frozen=True, slots=True)
class SubsetPoint:
    """A dot of Fig. 6.

    Attributes:
        size: how many variants.
        label: their names.
        million_macs: average of a device.
        percent: top-1.
        on_front: no other set has more accuracy for no more work.
    """

    size: int
    label: str
    million_macs: float
    percent: float
    on_front: bool


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """A row of the speed-up figure; None where the paper or the goals have no such figure."""

    name: str
    value: float
    low: float
    high: float
    goal: float | None
    paper: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A labelled line of values over a shared axis."""

    label: str
    values: Sequence[float]


@_styled
def accuracy_over_k(
    file: Path, title: str, ks: Sequence[int], accuracies: Sequence[Line], sizes: Sequence[int]
) -> None:
    """Draw Fig. 5: accuracies in percent and an answer's bytes h(k), over k."""
    figure, (upper, lower) = _figure(4.8, rows=2, height_ratios=(3, 1.6), share_x=True)
    size = 5 if len(ks) <= 20 else 3
    for line, colour, marker in zip(accuracies, (BLUE, VERMILLION), MARKERS, strict=False):
        upper.plot(
            ks, line.values, color=colour, marker=marker, markersize=size, label=line.label
        )  # fmt: skip
    upper.set_ylabel("accuracy, %")
    upper.set_title(title)
    upper.legend(loc="lower right")
    _room_below(upper, 0.25)
    lower.step(ks, sizes, where="post", color=GREY)
    lower.plot(ks, sizes, color=GREY, marker="o", linestyle="none", markersize=size)
    lower.set_ylim(0, 1.15 * max(sizes))
    lower.set_ylabel("h(k), bytes")
    lower.set_xlabel("k, scores an answer keeps")
    if max(ks) > 20:
        lower.set_xscale("log")
        lower.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    else:
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    _save(figure, file)


@_styled
def accuracy_over_macs(file: Path, title: str, points: Sequence[SubsetPoint]) -> None:
    """Draw Fig. 6: every subset's accuracy over the average work of its devices."""
    figure, (axes,) = _figure(4.6)
    front = sorted((p.million_macs, p.percent) for p in points if p.on_front)
    axes.plot(*zip(*front, strict=True), color="#444444", linewidth=1.2, label="Pareto front")
    for size in sorted({point.size for point in points}):
        chosen = [point for point in points if point.size == size]
        axes.plot(
            [point.million_macs for point in chosen],
            [point.percent for point in chosen],
            color=BY_SIZE[size - 1],
            marker=MARKERS[size - 1],
            linestyle="none",
            markersize=7,
            label=f"{size} variant{'s' if size > 1 else ''}",
        )
    for point, above in _labelled(points):
        axes.annotate(
            point.label,
            (point.million_macs, point.percent),
            xytext=(-6, 7) if above else (0, -15),
            textcoords="offset points",
            ha="right" if above else "center",
            fontsize=9,
            color="#333333",
        )
    axes.set_title(title)
    axes.set_xlabel("multiply-accumulates of a device, average over the subset, millions")
    axes.set_ylabel("top-1 accuracy, %")
    axes.set_xlim(left=0)
    axes.margins(x=0.06, y=0.12)
    axes.legend(loc="lower right")
    _save(figure, file)


@_styled
def cost_of_leaving_out(file: Path, title: str, costs: Sequence[LeftOut]) -> None:
    """Draw Fig. 7: the points lost without each variant, with 95 % intervals."""
    figure, (axes,) = _figure(0.42 * len(costs) + 1.4)
    names = [f"without {cost.variant}" for cost in costs]
    axes.barh(
        names,
        [cost.points for cost in costs],
        xerr=[cost.margin for cost in costs],
        color=BLUE,
        height=0.55,
        error_kw={"ecolor": "#333333", "capsize": 3, "elinewidth": 1.2},
    )
    axes.axvline(0, color="#444444", linewidth=1)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title(title)
    axes.set_xlabel("top-1 accuracy lost, percentage points (whiskers: 95 % interval)")
    _save(figure, file)


@_styled
def speed_ups(file: Path, title: str, rows: Sequence[SpeedUp]) -> None:
    """Draw Table VII: how many times faster than MobileNetV2, beside the goals and the paper."""
    figure, (axes,) = _figure(0.42 * len(rows) + 1.7)
    places = range(len(rows))
    values = [row.value for row in rows]
    axes.barh(
        places,
        values,
        xerr=[[r.value - r.low for r in rows], [r.high - r.value for r in rows]],
        color=BLUE,
        height=0.55,
        error_kw={"ecolor": "#333333", "capsize": 3, "elinewidth": 1.2},
        label="measured here, with its 95 % interval",
    )
    for attribute, marker, colour, label in (
        ("goal", "D", ORANGE, "goal"),
        ("paper", "o", VERMILLION, "paper, on a tablet"),
    ):
        known = [
            (getattr(row, attribute), i) for i, row in enumerate(rows) if getattr(row, attribute)
        ]
        if known:
            xs, ys = zip(*known, strict=True)
            axes.plot(
                xs, ys, color=colour, marker=marker, linestyle="none", markersize=7,
                markeredgecolor="white", label=label,
            )  # fmt: skip
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row.value:.1f} ×", (row.high, place), xytext=(7, 0),
            textcoords="offset points", va="center", fontsize=9, color="#333333",
        )  # fmt: skip
    axes.set_yticks(list(places), [row.name for row in rows])
    axes.set_xlim(0, 1.12 * max(row.high for row in rows))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title(title)
    axes.set_xlabel("times as fast as MobileNetV2 1.0 at 224 px")
    axes.legend(loc="lower right")
    _save(figure, file)


@_styled
def under_failures(
    file: Path,
    title: str,
    failing: Sequence[float],
    right: Sequence[Line],
    answered: Sequence[Line],
) -> None:
    """Draw what is left when nodes fail: frames right and frames answered, in percent."""
    figure, (left, other) = _figure(4.0, columns=2)
    for axes, lines, what in (
        (left, right, "answered rightly"),
        (other, answered, "answered at all"),
    ):
        for line, colour, style in zip(lines, (BLUE, VERMILLION), ("-", "--"), strict=True):
            axes.plot(failing, line.values, color=colour, linestyle=style, label=line.label)
        axes.set_xlabel("a node fails with probability")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(0, max(failing))
        axes.set_ylim(0, 102)
        axes.set_ylabel("share of frames, %")
        axes.set_title(f"{title}: {what}")
    left.legend(loc="lower left")
    _save(figure, file)


@_styled
def frame_bytes(file: Path, title: str, sides: Sequence[int], qualities: Sequence[Line]) -> None:
    """Draw the median bytes of a frame message over its side, a line a JPEG quality."""
    figure, (axes,) = _figure(3.8)
    colours = (SKY, GREEN, BLUE, VERMILLION)
    for line, colour, marker in zip(qualities, colours, MARKERS, strict=False):
        axes.plot(
            sides, [size / 1000 for size in line.values], color=colour, marker=marker,
            label=line.label,
        )  # fmt: skip
        axes.annotate(
            line.label, (sides[-1], line.values[-1] / 1000), xytext=(8, 0),
            textcoords="offset points", va="center", fontsize=9, color=colour,
        )  # fmt: skip
    axes.set_xticks(list(sides))
    axes.margins(x=0.04)
    axes.set_ylim(bottom=0)
    if sides[0] <= FULL_COLOUR_SIDE < sides[-1]:
        between = min(side for side in sides if side > FULL_COLOUR_SIDE) + FULL_COLOUR_SIDE
        axes.axvline(between / 2, color=GREY, linewidth=1, linestyle=":")
        axes.annotate(
            "full colour  ", (between / 2, 1), xycoords=("data", "axes fraction"),
            ha="right", va="top", fontsize=9, color=GREY,
        )  # fmt: skip
        axes.annotate(
            "  colour halved", (between / 2, 1), xycoords=("data", "axes fraction"),
            ha="left", va="top", fontsize=9, color=GREY,
        )  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("side of the frame, pixels")
    axes.set_ylabel("frame message, kB (median)")
    _save(figure, file)


def _figure(
    height_inches: float,
    *,
    rows: int = 1,
    columns: int = 1,
    height_ratios: Sequence[float] | None = None,
    share_x: bool = False,
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    axes = figure.subplots(
        rows, columns, sharex=share_x, squeeze=False, height_ratios=height_ratios
    )
    return figure, list(axes.flat)


def _labelled(points: Sequence[SubsetPoint]) -> list[tuple[SubsetPoint, bool]]:
    """Return the points to name, each with whether above it.

    Above the front and below the rest there is room. Single variants are named in any case, others
    where they are on the front and not too close to the one named below them.
    """
    height = max(p.percent for p in points) - min(p.percent for p in points)
    above: list[SubsetPoint] = []
    for point in sorted((p for p in points if p.on_front), key=lambda p: p.percent):
        if not above or point.percent - above[-1].percent >= LABEL_HEIGHT * height:
            above.append(point)
    others = [point for point in points if point.size == 1 and point not in above]
    return [*((point, True) for point in above), *((point, False) for point in others)]


def _room_below(axes: Axes, share: float) -> None:
    """Leave that share of the height free below the lines, for a legend."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - share * (high - low), high)


def _save(figure: Figure, file: Path) -> None:
    # No version in it: the same figures make the same file.
    figure.savefig(file, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})
