"""`idlesight-models`: train, export, import, quantise and evaluate variants, look into packs.

What a command needs is imported when it runs: `specs`, `pack` and `import` need no more than a
node has, `evaluate` shows a table besides, `quantize` needs the quantiser, and only `train` and
`export` need PyTorch.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, get_args

from models.errors import ModelsError
from models.interface import OURS
from models.lazily import Command, lazily
from models.manifest import Precision
from models.options import positive
from models.pack import load_pack
from models.packing_options import add_export, add_import, add_quantize, add_train
from models.rules import Rule
from models.specs import VARIANTS, macs, parameters

EXAMPLES = """examples:
  idlesight-models specs --classes 1000
  idlesight-models train ./cifar10/train --variants V1,V2,V3 --run runs/cifar10
  idlesight-models export runs/cifar10 --data ./cifar10/train --name cifar10 --out packs/cifar10
  idlesight-models evaluate ./cifar10/test --pack packs/cifar10
  idlesight-models rules ./cifar10/test --pack packs/cifar10
  idlesight-models import model.tflite --labels labels.txt --name mine --out packs/mine
  idlesight-models quantize packs/cifar10 --data ./cifar10/train --out packs/cifar10-small
  idlesight-models pack packs/cifar10
  idlesight-models reproduce --data data
"""

MAX_LABELS_SHOWN = 20

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except ModelsError as exc:
        print(f"idlesight-models: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `… | head` has seen enough; nothing more is to be flushed there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as exc:
        print(f"\nstopped{f'; {exc}' if str(exc) else ''}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idlesight-models",
        description="Train, export, pack and evaluate the variants of a classifier.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_specs(commands)
    add_train(commands)
    add_export(commands)
    add_import(commands)
    add_quantize(commands)
    _add_evaluate(commands)
    _add_reproduce(commands)
    _add_rules(commands)
    _add_pack(commands)
    _add_data(commands)
    _add_compose(commands)
    return parser


def _add_specs(commands: Parsers) -> None:
    parser = commands.add_parser("specs", help="list the paper's variants, parameters and MACs")
    parser.add_argument("--classes", type=positive, default=10, help="C (default: 10)")
    parser.set_defaults(command=_specs)


def _add_evaluate(commands: Parsers) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a pack's accuracy on labelled pictures",
        description="Top-1 accuracy of each variant and of the ensemble, through the TFLite files.",
        epilog="examples:\n"
        "  idlesight-models evaluate ./cifar10/test\n"
        "  idlesight-models evaluate ./cifar10/test --k 1 --rule paper --limit 1000 --json\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_measuring(parser)
    parser.add_argument("--rule", choices=get_args(Rule), help="(default: the pack's)")
    parser.set_defaults(command=lazily("models.evaluation.commands", "evaluate_command"))


def _add_rules(commands: Parsers) -> None:
    parser = commands.add_parser(
        "rules",
        help="compare how a pack's answers may be combined and weighed",
        description="Measure every rule with every weighting on labelled pictures, through the "
        "TFLite files, and name the one that an export would choose.",
        epilog="examples:\n"
        "  idlesight-models rules ./validation --pack packs/mine\n"
        "  idlesight-models rules ./cifar10/test --k 1 --limit 100 --json\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_measuring(parser)
    parser.set_defaults(command=lazily("models.evaluation.commands", "rules_command"))


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        type=Path,
        help="data set, of which the test part is taken, or a folder of pictures named as "
        "n01440764_tench.jpg",
    )
    parser.add_argument("--pack", type=Path, help="folder or zip (default: the pack shipped)")
    parser.add_argument(
        "--precision", choices=get_args(Precision), help="of the files (default: each one's first)"
    )
    parser.add_argument("--k", type=positive, help="scores an answer keeps (default: the pack's)")
    parser.add_argument("--limit", type=positive, help="only the first N pictures a class")
    parser.add_argument("--threads", type=positive, default=1, help="(default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_reproduce(commands: Parsers) -> None:
    parser = commands.add_parser(
        "reproduce",
        help="write a report: the paper's tables and figures from your packs and data",
        description="Write the paper's tables and figures, from the packs and data at hand, as "
        "Markdown with PNG and CSV files. What is measured is kept: an interrupted command goes "
        "on where it was, a second one takes seconds. What is missing the report says.",
        epilog="examples:\n"
        "  python ../shared/data/unpack.py cifar10 data/cifar10 --split test\n"
        "  idlesight-models reproduce --data data --frames ../shared/data/imagenet-samples\n"
        "  idlesight-models reproduce --quick --only table6,fig6 --out /tmp/report\n"
        "  idlesight-models reproduce --packs packs/cifar10 packs/home.zip --only table7 --again\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data"),
        help="folder with <pack>/test/<label>/* for each pack (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--packs", type=Path, nargs="+", metavar="PACK",
        help="folders or zips, of different names (default: all that are shipped)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=Path, help="folder of photographs, to measure a frame's bytes with"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/reproduction"), help="(default: %(default)s)"
    )
    parser.add_argument(
        "--only", type=lambda text: text.split(","), metavar="SECTION,…",
        help="a report of these alone: table2, table6, fig5, fig6, fig7, table7, availability, "
        "bandwidth",
    )  # fmt: skip
    parser.add_argument("--limit", type=positive, help="only the first N test pictures a class")
    parser.add_argument(
        "--quick", action="store_true",
        help="20 test pictures a class, a tenth of the latency rounds: to see what it does",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/reproduction"),
        help="where scores, exports and latencies are kept (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--again", action="store_true", help="measure latencies anew, not from the cache"
    )
    parser.add_argument("--threads", type=positive, default=1, help="for accuracy (default: 1)")
    parser.set_defaults(command=lazily("models.evaluation.report.commands", "reproduce_command"))


def _add_pack(commands: Parsers) -> None:
    parser = commands.add_parser("pack", help="verify a pack and say what is in it")
    parser.add_argument("pack", type=Path, nargs="?", help="folder or zip (default: as shipped)")
    parser.set_defaults(command=_pack)


def _add_data(commands: Parsers) -> None:
    parser = commands.add_parser(
        "data",
        help="say what is in a data set and what would spoil training on it",
        description="Decode every picture and report format, parts, classes, balance, sizes, "
        "unreadable files, exact duplicates and classes with too few pictures.",
        epilog="examples:\n"
        "  idlesight-models data ./my-pictures\n"
        "  idlesight-models data cifar-10-python.tar.gz --json\n"
        "  idlesight-models data ./imagenet --limit 20\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="folder or archive, see models/DATA.md")
    parser.add_argument("--limit", type=positive, help="only the first N pictures a class")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=lazily("models.datasets.commands", "data_command"))


def _add_compose(commands: Parsers) -> None:
    parser = commands.add_parser(
        "compose",
        help="make a data set of your labels from the classes of others",
        description="Write train/ and test/, a folder a label, of the pictures that a data map "
        "names: hard links where the file system allows. A stopped run goes on where it was.",
        epilog="examples:\n"
        "  idlesight-models compose home --root ./datasets --out ./datasets/home\n"
        "  idlesight-models compose my-map.yaml --root ./datasets --out ./mine --split test\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("map", type=Path, help="YAML file, or a shipped map: home, photos")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument(
        "--split", choices=("train", "test", "both"), help="parts to write (default: the map's)"
    )
    parser.set_defaults(command=lazily("models.datasets.commands", "compose_command"))


def _specs(options: argparse.Namespace) -> int:
    print(f"{'variant':8} {'ρ':>4} {'width':>6} {'head':>5} {'parameters':>11} {'MACs':>8}")
    for spec in VARIANTS.values():
        count, million_macs = parameters(spec, options.classes), macs(spec, options.classes) / 1e6
        print(
            f"{spec.name:8} {spec.resolution:4} {spec.width:6g} {spec.head_channels:5} "
            f"{count:11,} {million_macs:7.1f}M"
        )
    return 0


def _pack(options: argparse.Namespace) -> int:
    pack = load_pack(options.pack)
    manifest = pack.manifest
    print(
        f"{manifest.name} {manifest.version}: {len(pack.labels)} labels, rule {manifest.rule}, ",
        end="",
    )
    weighed = "" if manifest.alpha is None else f", α = {manifest.alpha:g}"
    print(f"k = {manifest.k}{weighed}; every file matches its SHA-256")
    head = f"{'ρ':>4} {'precision':9} {'kB':>6} {'validation':>10} {'ms':>7}  model"
    width = max(8, *(len(entry.name) for entry in manifest.variants))
    print(f"  {'variant':{width}} {head}")
    for entry in manifest.variants:
        for file in entry.files:
            accuracy, latency_ms = file.validation_accuracy, file.latency_ms
            size_kb = len(pack.model(entry.name, file.precision)) / 1000
            print(
                f"  {entry.name:{width}} {entry.resolution:4} {file.precision:9} {size_kb:6.0f} "
                f"{'–' if accuracy is None else f'{accuracy:.2%}':>10} "
                f"{'–' if latency_ms is None else f'{latency_ms:.3f}':>7}  {file.sha256[:12]}"
            )
        if entry.interface != OURS:
            low, high = entry.interface.input_range
            print(f"  {'':{width}} takes {low:g} to {high:g}, returns {entry.interface.output}")
    shown = pack.labels[:MAX_LABELS_SHOWN]
    more = len(pack.labels) - len(shown)
    separator = "; " if any("," in label for label in shown) else ", "
    print(f"  labels: {separator.join(shown)}{f' and {more} more' if more else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
