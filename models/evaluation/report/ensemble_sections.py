"""Figures 5 to 7 of the report, and what is left when nodes fail."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from models.evaluation import paper
from models.evaluation.availability import needing_every_machine, under_failures
from models.evaluation.bandwidth import body_bytes
from models.evaluation.report import figures
from models.evaluation.report.document import Block, DataFile, Picture, Section, Table
from models.evaluation.report.prose import counted, listed, percent, plus
from models.evaluation.study import Study
from models.evaluation.subsets import average_macs, ks_of, leave_one_out, pareto_front

FAILING_PLOTTED = tuple(float(p) for p in np.linspace(0, 0.5, 51))
FAILING_SHOWN = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


def fig5(studies: Sequence[Study], absent: Sequence[str]) -> Section:
    """Return the ensemble's accuracy over k, with an answer's bytes."""
    blocks: list[Block] = [
        "All variants together, when each sends its k highest scores. An answer's scores take "
        "h(k) bytes (Eq. 3); above C/2 the whole vector is sent, so those k are all the same."
    ]
    for study in studies:
        class_count, rule = len(study.pack.labels), study.pack.manifest.rule
        ks = ks_of(class_count)
        found = [study.together(k=k, rule=rule) for k in ks]
        sizes = [body_bytes(k, class_count) for k in ks]
        dense, two = found[-1], study.together(k=paper.DEFAULT_K, rule=rule)
        cost = 100 * (dense.top_1 - two.top_1)
        blocks += [
            f"### {study.title}: accuracy over k",
            Picture(
                f"fig5-{study.name}.png",
                f"Top-1 and top-{study.m} accuracy of {plus(study.variants)} on {study.title} "
                "over k, with the bytes of an answer",
                partial(
                    figures.accuracy_over_k,
                    title=f"{study.title}: {plus(study.variants)}, rule {rule}",
                    ks=ks,
                    accuracies=[
                        figures.Line("top-1", [100 * one.top_1 for one in found]),
                        figures.Line(f"top-{study.m}", [100 * one.top_m for one in found]),
                    ],
                    sizes=sizes,
                ),
            ),
            f"k = {paper.DEFAULT_K} takes {body_bytes(paper.DEFAULT_K, class_count)} bytes in "
            f"place of {sizes[-1]} and costs {cost:.2f} points of top-1 "
            f"({percent(two.top_1)} in place of {percent(dense.top_1)} %). The paper's bound is "
            f"{paper.LARGEST_COST_OF_K_POINTS} points: "
            f"{'kept' if cost < paper.LARGEST_COST_OF_K_POINTS else 'not kept'}.",
            DataFile(
                f"fig5-{study.name}.csv",
                ("k", "bytes", "top_1", f"top_{study.m}"),
                tuple(
                    (k, size, one.top_1, one.top_m)
                    for k, size, one in zip(ks, sizes, found, strict=True)
                ),
            ),
        ]
    return Section("fig5", "Fig. 5: accuracy over k", (*blocks, *absent))


def fig6(studies: Sequence[Study], absent: Sequence[str]) -> Section:
    """Return every subset's accuracy over the average work of a device."""
    blocks: list[Block] = [
        "Every subset of the variants, one variant a device. A subset is on the Pareto front when "
        "no other is more accurate for as little work a device."
    ]
    for study in studies:
        if not all(study.macs.values()):
            blocks.append(f"{study.title}: the pack does not say how many MACs a variant takes.")
            continue
        found = list(study.subsets.values())
        work = [average_macs(one.variants, study.macs) / 1e6 for one in found]
        front = pareto_front([(macs, one.top_1) for macs, one in zip(work, found, strict=True)])
        points = [
            figures.SubsetPoint(
                len(one.variants), plus(one.variants), macs, 100 * one.top_1, index in front
            )
            for index, (macs, one) in enumerate(zip(work, found, strict=True))
        ]
        blocks += [
            f"### {study.title}: every subset",
            Picture(
                f"fig6-{study.name}.png",
                f"Top-1 accuracy of every subset of {plus(study.variants)} on {study.title} over "
                "the average MACs of a device, the Pareto front marked",
                partial(
                    figures.accuracy_over_macs,
                    title=f"{study.title}: {len(points)} subsets, k = {study.pack.manifest.k}",
                    points=points,
                ),
            ),
            Table(
                ("on the Pareto front", "MACs a device", "top-1, %"),
                tuple(
                    (points[i].label, f"{work[i]:.1f} M", f"{points[i].percent:.2f}") for i in front
                ),
            ),
            DataFile(
                f"fig6-{study.name}.csv",
                ("variants", "average_macs", "top_1", f"top_{study.m}", "on_pareto_front"),
                tuple(
                    (plus(one.variants), 1e6 * macs, one.top_1, one.top_m, int(index in front))
                    for index, (macs, one) in enumerate(zip(work, found, strict=True))
                ),
            ),
        ]
    return Section("fig6", "Fig. 6: every subset", (*blocks, *absent))


def fig7(studies: Sequence[Study], absent: Sequence[str]) -> Section:
    """Return what leaving out each variant costs."""
    blocks: list[Block] = [
        "The accuracy that all variants together lose when one does not answer. The paper finds a "
        "loss for every variant. Intervals compare the two picture by picture."
    ]
    for study in studies:
        if len(study.variants) < 2:
            blocks.append(f"{study.title}: the pack has one variant, so none can be left out.")
            continue
        without = {
            name: study.subsets[frozenset(study.variants) - {name}] for name in study.variants
        }
        costs = leave_one_out(study.everyone, without)
        proven = [cost.variant for cost in costs if cost.points > cost.margin]
        blocks += [
            f"### {study.title}: one left out",
            Picture(
                f"fig7-{study.name}.png",
                f"Points of top-1 accuracy lost on {study.title} when one variant is left out",
                partial(
                    figures.cost_of_leaving_out,
                    title=f"{study.title}: {plus(study.variants)} "
                    f"({percent(study.everyone.top_1)} %) without one",
                    costs=costs,
                ),
            ),
            f"A loss beyond doubt: {listed(proven)}." if proven else
            "With no variant is the loss beyond doubt on so many pictures.",
            DataFile(
                f"fig7-{study.name}.csv",
                ("left_out", "top_1", "points_lost", "margin_95"),
                tuple(
                    (cost.variant, without[cost.variant].top_1, cost.points, cost.margin)
                    for cost in costs
                ),
            ),
        ]  # fmt: skip
    return Section("fig7", "Fig. 7: one variant left out", (*blocks, *absent))


def availability(studies: Sequence[Study], absent: Sequence[str]) -> Section:
    """Return what to expect when nodes fail, beside what needs every machine."""
    blocks: list[Block] = [
        "Each node gives no answer with probability p, independently of the others. Exact, from "
        "every subset's accuracy; a frame without any answer counts as wrong. Model and class "
        "parallelism over as many machines need all of them, so they answer with probability "
        "(1 − p)ⁿ; they are granted the same accuracy as all variants together."
    ]
    for study in studies:
        accuracy = {names: one.top_1 for names, one in study.subsets.items()}
        nodes = len(study.variants)
        ours = {
            p: under_failures(accuracy, dict.fromkeys(study.variants, p))
            for p in (*FAILING_PLOTTED, *FAILING_SHOWN)
        }
        theirs = {p: needing_every_machine(study.everyone.top_1, nodes, p) for p in ours}
        names = ("variant parallelism", "model or class parallelism")
        blocks += [
            f"### {study.title}: {counted(nodes, 'node')}",
            Picture(
                f"availability-{study.name}.png",
                f"Frames answered rightly and frames answered at all over the probability that a "
                f"node fails, {study.title}",
                partial(
                    figures.under_failures,
                    title=f"{study.title}, {counted(nodes, 'node')}",
                    failing=FAILING_PLOTTED,
                    right=[
                        figures.Line(name, [100 * of[p].right for p in FAILING_PLOTTED])
                        for name, of in zip(names, (ours, theirs), strict=True)
                    ],
                    answered=[
                        figures.Line(name, [100 * of[p].answered for p in FAILING_PLOTTED])
                        for name, of in zip(names, (ours, theirs), strict=True)
                    ],
                ),
            ),
            Table(
                ("a node fails", "right, %", "right if answered, %", "no answer, %",
                 "all needed: right, %", "all needed: no answer, %"),
                tuple(
                    (
                        f"{p:.0%}".replace("%", " %"),
                        percent(ours[p].right),
                        percent(ours[p].right_if_answered),
                        f"{100 * (1 - ours[p].answered):.3g}",
                        percent(theirs[p].right),
                        percent(1 - theirs[p].answered),
                    )
                    for p in FAILING_SHOWN
                ),
            ),
            DataFile(
                f"availability-{study.name}.csv",
                ("p", "right", "answered", "all_needed_right", "all_needed_answered"),
                tuple(
                    (p, ours[p].right, ours[p].answered, theirs[p].right, theirs[p].answered)
                    for p in sorted(ours)
                ),
            ),
        ]  # fmt: skip
    return Section("availability", "When nodes fail", (*blocks, *absent))
