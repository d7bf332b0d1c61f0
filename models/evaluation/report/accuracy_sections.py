"""Table VI of the report: what each variant gets right, and all of them together."""

from collections.abc import Sequence
from typing import get_args

from models.evaluation import paper
from models.evaluation.outcomes import Outcome
from models.evaluation.report.document import Block, DataFile, Section, Table
from models.evaluation.report.prose import listed, percent, plus, signed
from models.evaluation.shortfall import explain, shortfalls
from models.evaluation.study import Study
from models.evaluation.subsets import any_right, margin, shared_errors
from models.rules import Rule


def table6(studies: Sequence[Study], absent: Sequence[str]) -> Section:
    """Return top-1 and top-m of each variant and of their ensembles, beside the paper's."""
    blocks: list[Block] = [
        "Top-1 and top-m accuracy in percent, through the TFLite files, on the data sets' test "
        "pictures. *±* is half of the 95 % interval that the number of pictures "
        "leaves. The paper prints no figures for ensembles; what it says of them stands in their "
        "place, with the figure it refers to.",
    ]
    for study in studies:
        blocks += _table6_of(study)
    packed = {study.name for study in studies}
    others = [title for name, title in paper.TITLES.items() if name not in packed]
    if others:
        blocks.append(f"Of the paper's data sets {listed(others)} are not measured here.")
    return Section("table6", "Table VI: accuracy", (*blocks, *absent))


def _table6_of(study: Study) -> list[Block]:
    manifest = study.pack.manifest
    pictures = len(study.targets)
    published = paper.TABLE_VI.get(study.name, {})
    growing = [study.variants[:size] for size in range(2, len(study.variants) + 1)]
    claims = {claim.variants: claim for claim in paper.ENSEMBLE_CLAIMS.get(study.name, ())}
    rows = [
        _table6_row(name, study.alone(name), pictures, published.get(name))
        for name in study.variants
    ]
    for names in growing:
        outcome, claim = study.subsets[frozenset(names)], claims.get(names)
        reference = None if claim is None else claim.reference_percent
        row = _table6_row(f"**{plus(names)}**", outcome, pictures, reference)
        rows.append(row if claim is None else (*row[:4], f"“{claim.claim}”: {row[4]}", row[5]))
    everyone = plus(study.variants)
    if growing:
        variations = [
            (f"{everyone}, rule *{rule}*", study.together(k=manifest.k, rule=rule))
            for rule in get_args(Rule)
            if rule != manifest.rule
        ]
        whole = study.together(k=len(study.pack.labels), rule=manifest.rule)
        variations.append((f"{everyone}, whole vectors", whole))
        rows += [_table6_row(name, outcome, pictures, None) for name, outcome in variations]
    if paper.BASELINE_NAME in published:
        baseline = f"{published[paper.BASELINE_NAME]:.2f}"
        rows.append((f"{paper.BASELINE_NAME} 1.0", "–", "–", "–", baseline, "–"))
    header = ("answered", "top-1", "±", f"top-{study.m}", "paper, top-1", "difference")
    blocks: list[Block] = [
        f"### {study.title}: {pictures:,} test pictures",
        f"Pack `{study.name}` {manifest.version}, k = {manifest.k}, rule *{manifest.rule}*. "
        f"SHA-256 of the pictures as read: `{study.data_fingerprint[:16]}…`.",
        Table(header, tuple(rows)),
    ]
    if not published:
        blocks.append("The paper has no such data set.")
    blocks += _remarks(study)
    rows_of_data = tuple(
        (
            plus(one.variants),
            pictures,
            one.top_1,
            margin(one.top_1, pictures),
            one.top_m,
            _share(published.get(plus(one.variants))),
        )
        for one in study.subsets.values()
    )
    columns = ("variants", "pictures", "top_1", "margin_95", f"top_{study.m}", "paper_top_1")
    blocks.append(DataFile(f"table6-{study.name}.csv", columns, rows_of_data))
    return blocks


def _table6_row(
    name: str, outcome: Outcome, pictures: int, published: float | None
) -> tuple[str, ...]:
    percentage = 100 * outcome.top_1
    return (
        name,
        percent(outcome.top_1),
        f"{100 * margin(outcome.top_1, pictures):.2f}",
        percent(outcome.top_m),
        "–" if published is None else f"{published:.2f}",
        "–" if published is None else signed(percentage - published),
    )


def _remarks(study: Study) -> list[str]:
    """Return what the figures say that a reader would ask next."""
    pictures = len(study.targets)
    percents = {name: 100 * study.alone(name).top_1 for name in study.variants}
    short = shortfalls(
        percents,
        {name: 100 * margin(study.alone(name).top_1, pictures) for name in study.variants},
        paper.TABLE_VI.get(study.name, {}),
        {entry.name: entry.provenance for entry in study.family},
    )
    remarks = []
    if short:
        remarks.append(
            "Below the paper, beyond doubt:\n\n" + "\n".join(f"* {explain(one)}" for one in short)
        )
    if len(study.variants) > 1:
        best = max(study.variants, key=lambda name: percents[name])
        alone = [study.alone(name) for name in study.variants]
        shared = [
            f"{name} {shared_errors(study.alone(best), study.alone(name)):.0%}".replace("%", " %")
            for name in study.variants
            if name != best
        ]
        gain = 100 * study.everyone.top_1 - percents[best]
        remarks.append(
            f"All together are {signed(gain)} points from {best}, the best alone. Of the errors of "
            f"{best} the others share: {listed(shared)}; what is shared no rule can mend. At least "
            f"one variant is right on {percent(any_right(alone))} % of the pictures."
        )
    if study.left_out:
        remarks.append(f"The pack's other variants are left out here: {listed(study.left_out)}.")
    return remarks


def _share(percentage: float | None) -> float | None:
    return None if percentage is None else round(percentage / 100, 6)
