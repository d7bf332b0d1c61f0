"""Tables II and VII of the report, and bytes on the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

import numpy as np

from models.evaluation import paper
from models.evaluation.bandwidth import (
    ANSWER_HEADER_BYTES,
    FRAME_HEADER_BYTES,
    FRAME_QUALITY,
    FULL_COLOUR_SIDE,
    answer_bytes,
    body_bytes,
)
from models.evaluation.latency import ratio_of_medians, spread
from models.evaluation.latency_run import LatencyRun
from models.evaluation.report import figures
from models.evaluation.report.document import Block, DataFile, Picture, Section, Table
from models.evaluation.stopwatch import CALLS_A_TURN
from models.pack import Pack
from models.specs import BASELINE, VARIANTS, macs, parameters, trainable_parameters

NODES_SHOWN = 5
FRAMES_A_SECOND = 2
KS_SHOWN = (1, 2, 3, 5)


def table2() -> Section:
    """Return parameters and MACs of every variant, worked out from its layers."""
    rows = []
    data: list[tuple[str | int | float | None, ...]] = []
    for spec in (*VARIANTS.values(), BASELINE):
        published = paper.TABLE_II[spec.name]
        # The paper counts what is stored at width 0.35 and what is trained at width 0.5.
        count = (trainable_parameters if spec.width == 0.5 else parameters)(
            spec, published.class_count
        )
        work = macs(spec, published.class_count)
        rows.append(
            (
                spec.name, f"{spec.resolution}", f"{spec.width:g}", f"{published.class_count}",
                f"{count:,}", _printed(published.parameters),
                f"{work / 1e6:.1f} M", f"{published.million_macs:g} M",
            )
        )  # fmt: skip
        data.append(
            (spec.name, spec.resolution, spec.width, published.class_count, count,
             published.parameters, work, 1e6 * published.million_macs)
        )  # fmt: skip
    return Section(
        "table2",
        "Table II: parameters and multiply-accumulates",
        (
            "Worked out from the layers of each specification, for the number of classes C that "
            "the paper's own figures fit. At width 0.35 stored numbers are counted, at width 0.5 "
            "trained ones, as the paper's figures are.",
            Table(
                ("variant", "ρ", "width", "C", "parameters", "paper", "MACs", "paper"),
                tuple(rows),
            ),
            DataFile(
                "table2.csv",
                ("variant", "resolution", "width", "classes", "parameters", "paper_parameters",
                 "macs", "paper_macs"),
                tuple(data),
            ),
        ),
    )  # fmt: skip


def table7(run: LatencyRun | None, missing: Sequence[str], class_count: int) -> Section:
    """Return one-thread latencies and their ratios to MobileNetV2's.

    Args:
        run: what was measured; None where there was nothing to measure.
        missing: the networks that could not be made here.
        class_count: C of all of them.
    """
    title = "Table VII: latency on one core"
    excuse = [
        f"Not timed, because exporting them needs the extra `idlesight[train]`: "
        f"{', '.join(missing)}."
    ] if missing else []  # fmt: skip
    if run is None:
        return Section("table7", title, tuple(excuse))
    rows, data, bars = [], [], []
    baseline = run.samples_ms.get(BASELINE.name)
    rng = np.random.default_rng(0)
    for name, samples_ms in run.samples_ms.items():
        here = spread(samples_ms)
        goal = paper.TARGET_SPEED_UPS.get(name)
        tablet = paper.TABLE_VII.get(name)
        ratio = None if baseline is None else ratio_of_medians(baseline, samples_ms, rng)
        rows.append(
            (
                name,
                run.sources[name],
                f"{here.median_ms:.3f}",
                f"{here.lower_quartile_ms:.3f} – {here.upper_quartile_ms:.3f}",
                "–" if ratio is None else f"{ratio.value:.1f} ×",
                "–" if ratio is None else f"{ratio.low:.1f} – {ratio.high:.1f}",
                "–" if goal is None else f"≥ {goal:g} ×",
                "–" if tablet is None else f"{tablet.speed_up:g} × ({tablet.latency_ms:g} ms)",
            )
        )
        data.append(
            (name, run.sources[name], here.median_ms, here.lower_quartile_ms,
             here.upper_quartile_ms, *((None,) * 3 if ratio is None
             else (ratio.value, ratio.low, ratio.high)), goal,
             None if tablet is None else tablet.speed_up)
        )  # fmt: skip
        if ratio is not None and name != BASELINE.name:
            bars.append(
                figures.SpeedUp(
                    name, ratio.value, ratio.low, ratio.high, goal,
                    None if tablet is None else tablet.speed_up,
                )
            )  # fmt: skip
    blocks: list[Block] = [_how_timed(run, class_count)]
    if bars:
        blocks.append(
            Picture(
                "table7.png",
                "Speed-up of each variant over MobileNetV2 1.0 at 224 px, beside the goals and "
                "the paper",
                partial(figures.speed_ups, title="One thread, one core", rows=bars),
            )
        )
    blocks += [
        Table(
            ("network", "file", "median, ms", "quartiles, ms", "speed-up", "95 % interval",
             "goal", "paper, tablet"),
            tuple(rows),
            text_columns=2,
        ),
        *excuse,
        DataFile(
            "table7.csv",
            ("network", "file", "median_ms", "lower_quartile_ms", "upper_quartile_ms", "speed_up",
             "speed_up_low", "speed_up_high", "goal", "paper_speed_up"),
            tuple(data),
        ),
    ]  # fmt: skip
    return Section("table7", title, tuple(blocks))


def bandwidth(
    packs: Sequence[Pack],
    frames: Mapping[int, Mapping[int, Sequence[int]]],
    too_few: Sequence[int],
    excuse: str | None,
) -> Section:
    """Return the bytes that one frame causes.

    Args:
        packs: for whose classes answers are counted.
        frames: the sizes of the frame messages by JPEG quality and side.
        too_few: the sides for which too few pictures are large enough.
        excuse: why there are no frames; None where there are.
    """
    blocks: list[Block] = [
        f"Payload bytes. A frame message has {FRAME_HEADER_BYTES} bytes and a JPEG; an answer "
        f"{ANSWER_HEADER_BYTES} and h(k) (Eq. 3). MQTT adds a topic and some five bytes a message."
    ]
    if excuse is not None:
        blocks.append(excuse)
    elif frames:
        blocks += _frames(frames, too_few)
    for pack in packs:
        blocks += _answers(pack, frames)
    return Section("bandwidth", "Bandwidth", tuple(blocks))


def _how_timed(run: LatencyRun, class_count: int) -> str:
    rounds = len(next(iter(run.samples_ms.values())))
    measured_at = datetime.fromisoformat(run.measured_at)
    where = "on no particular core" if run.core is None else "pinned to one core"
    sources = set(run.sources.values())
    random = (
        " Where no pack at hand holds a network, it was exported the same way with random weights:"
        " how long it takes depends on its shape."
        if "random weights" in sources
        else ""
    )
    return (
        f"Whole calls as a node makes them (pixels in, {class_count} probabilities out), one "
        f"thread, {where}, in {rounds} rounds: in each, every network had a turn of one call to "
        f"warm up and {CALLS_A_TURN} timed ones, in a new random order. Counted is the thread's "
        "own time on the core; others had it for "
        f"{100 * (1 - run.core_share):.0f} % of the run. Speed-ups are ratios of medians over "
        "rounds, their intervals bootstrapped. MobileNetV2 1.0 at 224 px is built from the same "
        f"layers and exported the same way; it has {macs(BASELINE, class_count) / 1e6:.1f} million "
        f"MACs.{random} Measured {measured_at:%Y-%m-%d %H:%M} UTC."
    )


def _frames(
    frames: Mapping[int, Mapping[int, Sequence[int]]], too_few: Sequence[int]
) -> list[Block]:
    sides = sorted({side for by_side in frames.values() for side in by_side})
    lines = [
        figures.Line(f"quality {quality}", [float(np.median(by_side[side])) for side in sides])
        for quality, by_side in frames.items()
    ]
    counts = {side: len(next(iter(frames.values()))[side]) for side in sides}
    note = (
        f" Too few of the pictures have {', '.join(str(side) for side in too_few)} pixels a side,"
        " and the gateway enlarges none."
        if too_few
        else ""
    )
    return [
        f"Photographs, cut square, scaled and encoded with Pillow as the gateway does it: "
        f"baseline JPEG, quality {FRAME_QUALITY} by default, colour at full resolution up to "
        f"{FULL_COLOUR_SIDE} pixels and at half above.{note}",
        Picture(
            "bandwidth-frames.png",
            "Median bytes of a frame message over its side, by JPEG quality",
            partial(figures.frame_bytes, title="A frame on the wire", sides=sides, qualities=lines),
        ),
        Table(
            ("side, px", "pictures", *(f"{line.label}, kB" for line in lines)),
            tuple(
                (str(side), str(counts[side]),
                 *(f"{line.values[index] / 1000:.1f}" for line in lines))
                for index, side in enumerate(sides)
            ),
        ),
        DataFile(
            "bandwidth-frames.csv",
            ("quality", "side", "pictures", "median_bytes", "p10_bytes", "p90_bytes"),
            tuple(
                (quality, side, len(sizes), *(float(np.percentile(sizes, p)) for p in (50, 10, 90)))
                for quality, by_side in frames.items()
                for side, sizes in by_side.items()
            ),
        ),
    ]  # fmt: skip


def _answers(pack: Pack, frames: Mapping[int, Mapping[int, Sequence[int]]]) -> list[Block]:
    class_count = len(pack.labels)
    nodes = NODES_SHOWN
    side = pack.largest_resolution
    sizes = frames.get(FRAME_QUALITY, {}).get(side)
    frame = None if sizes is None else float(np.median(sizes))
    dense = nodes * answer_bytes(class_count, class_count)
    rows = []
    data: list[tuple[str | int | float | None, ...]] = []
    for k in dict.fromkeys((*(k for k in KS_SHOWN if 2 * k <= class_count), class_count)):
        total = nodes * answer_bytes(k, class_count)
        share = None if frame is None else total / (nodes * frame + total)
        name = "whole vector" if k == class_count else str(k)
        rows.append(
            (
                name,
                f"{body_bytes(k, class_count)}",
                f"{answer_bytes(k, class_count)}",
                f"{total:,}",
                f"{dense / total:.1f} ×",
                "–" if share is None else f"{100 * share:.1f} %",
            )
        )
        data.append((k, body_bytes(k, class_count), answer_bytes(k, class_count), total, share))
    blocks: list[Block] = [
        f"### {paper.TITLES.get(pack.name, pack.name)}: {class_count} classes, {nodes} nodes",
        Table(
            ("k", "h(k), B", "an answer, B", f"{nodes} answers, B", "whole vectors take",
             "share of the traffic"),
            tuple(rows),
        ),
    ]  # fmt: skip
    if frame is not None:
        answers = nodes * answer_bytes(pack.manifest.k, class_count)
        kilobits = 8 * (frame * (nodes + 1) + 2 * answers) / 1000
        blocks.append(
            f"The share is of what the nodes receive and send: the frame at {side} pixels goes to "
            f"each of them. At {FRAMES_A_SECOND} frames a second the broker takes in and gives out "
            f"{FRAMES_A_SECOND * kilobits:,.0f} kbit/s in all with k = {pack.manifest.k}: "
            f"the frame once in and {nodes} times out, every answer once in and once out."
        )
    blocks.append(
        DataFile(
            f"bandwidth-{pack.name}.csv",
            ("k", "body_bytes", "answer_bytes", f"bytes_of_{nodes}_answers", "share_of_traffic"),
            tuple(data),
        )
    )
    return blocks


def _printed(count: float) -> str:
    return f"{count / 1e6:g} M" if count >= 1e6 else f"{count / 1e3:g} K"
