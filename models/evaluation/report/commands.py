"""`idlesight-models reproduce`: from packs and data to a page with tables and figures."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import ModelsError
from models.evaluation.paper import SOURCE
from models.evaluation.progress import shown_progress
from models.evaluation.report import accuracy_sections, cost_sections, ensemble_sections
from models.evaluation.report.document import Block, Section, Table
from models.evaluation.report.evidence import Evidence
from models.evaluation.report.writer import write_report
from models.evaluation.study import family_of
from models.evaluation.surroundings import surroundings
from models.pack import Pack, load_pack, shipped_packs

TITLE = "The paper reproduced"

ROUNDS, QUICK_ROUNDS = 200, 20
QUICK_LIMIT = 20
PHOTOGRAPHS, QUICK_PHOTOGRAPHS = 200, 40

SECTIONS: dict[str, Callable[[Evidence], Section]] = {
    "table2": lambda _evidence: cost_sections.table2(),
    "table6": lambda found: accuracy_sections.table6(found.studies, found.absent),
    "fig5": lambda found: ensemble_sections.fig5(found.studies, found.absent),
    "fig6": lambda found: ensemble_sections.fig6(found.studies, found.absent),
    "fig7": lambda found: ensemble_sections.fig7(found.studies, found.absent),
    "table7": lambda found: cost_sections.table7(
        found.latencies.run, found.latencies.missing, found.latencies.class_count
    ),
    "availability": lambda found: ensemble_sections.availability(found.studies, found.absent),
    "bandwidth": lambda found: cost_sections.bandwidth(
        found.packs,
        found.frame_sizes.by_quality,
        found.frame_sizes.too_few,
        found.frame_sizes.excuse,
    ),
}
"""How each section comes about, in the report's order."""

HOW = """## How this page is made

In a clone of the repository, with the contact sheets of the data sets beside it:

```console
$ for name in cifar10 cifar100 mnist; do
>   python ../shared/data/unpack.py $name data/$name --split test
> done
$ idlesight-models reproduce --data data --frames ../shared/data/imagenet-samples
```

It measures every pack that comes with idlesight, or those named by `--packs`, on
`data/<pack>/test/<label>/*`."""


class ChoiceError(ModelsError):
    """The packs or sections asked for can't make one report."""


def reproduce_command(options: argparse.Namespace) -> int:
    """Measure what is not measured yet and write the report."""
    chosen = _choose_sections(options.only)
    packs = _load_packs(options.packs)
    if options.frames is not None and not options.frames.is_dir():
        raise ChoiceError(f"{options.frames} is not a folder: --frames takes one of photographs")
    quick = options.quick
    try:
        with shown_progress() as on_progress:
            evidence = Evidence(
                packs,
                data=options.data,
                photographs=options.frames,
                cache=options.cache,
                limit=options.limit or (QUICK_LIMIT if quick else None),
                rounds=QUICK_ROUNDS if quick else ROUNDS,
                photograph_count=QUICK_PHOTOGRAPHS if quick else PHOTOGRAPHS,
                threads=options.threads,
                again=options.again,
                on_progress=on_progress,
            )
            sections = []
            for done, key in enumerate(chosen):
                on_progress("sections", done, len(chosen))
                sections.append(SECTIONS[key](evidence))
            page = write_report(options.out, TITLE, _preface(evidence), [*sections], HOW)
            on_progress("sections", len(chosen), len(chosen))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"what was measured is kept in {options.cache}: the same command goes on from there"
        ) from None
    print(f"wrote {page}: {', '.join(chosen)}")
    return 0


def _choose_sections(only: Sequence[str] | None) -> list[str]:
    unknown = sorted(set(only or ()) - SECTIONS.keys())
    if unknown:
        raise ChoiceError(f"{', '.join(unknown)} is no section; choose from {', '.join(SECTIONS)}")
    return [key for key in SECTIONS if only is None or key in only]


def _load_packs(paths: Sequence[Path] | None) -> tuple[Pack, ...]:
    packs = tuple(load_pack(path) for path in paths or shipped_packs().values())
    names = [pack.name for pack in packs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ChoiceError(f"two packs are named {twice[0]}: give one of them")
    return packs


def _preface(evidence: Evidence) -> list[Block]:
    rows = []
    for pack in evidence.packs:
        manifest = pack.manifest
        family, _ = family_of(manifest.variants)
        rows.append(
            (
                f"`{manifest.name}`",
                manifest.version,
                ", ".join(entry.name for entry in family),
                family[0].precision,
                manifest.rule,
                f"{len(pack.labels)}",
                f"{manifest.k}",
                ", ".join(f"{entry.weight:.3g}" for entry in family),
            )
        )
    limits = (
        []
        if evidence.limit is None
        else [
            f"**Only the first {evidence.limit} test pictures a class were looked at**: the "
            "accuracies below are rough, see the column ±."
        ]
    )
    return [
        f"The tables and figures of *Variant Parallelism* ({SOURCE}) beside what this repository's "
        "packs do, measured through the files that nodes run. Written by `idlesight-models "
        "reproduce`; nothing in it is typed in.",
        *limits,
        Table(("made on", ""), tuple(surroundings()), text_columns=2),
        Table(
            ("pack", "version", "variants", "precision", "rule", "classes", "k", "weights"),
            tuple(rows),
            text_columns=5,
        ),
    ]
