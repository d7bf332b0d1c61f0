"""`idlesight-models`: train, export, import, quantise and evaluate variants, look into packs.

What a command needs is imported when it runs: `specs`, `pack` and `import` need no more than a
node has, `evaluate` shows a table besides, `quantize` needs the quantiser, and only `train` and
`export` need PyTorch.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, get_args

from models.errors import ModelsError
from models.interface import OURS, OutputKind
from models.manifest import IDENTIFIER, Precision
from models.pack import load_pack
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
Command = Callable[[argparse.Namespace], int]


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
    _add_train(commands)
    _add_export(commands)
    _add_import(commands)
    _add_quantize(commands)
    _add_evaluate(commands)
    _add_reproduce(commands)
    _add_rules(commands)
    _add_pack(commands)
    _add_data(commands)
    _add_compose(commands)
    return parser


def _add_specs(commands: Parsers) -> None:
    parser = commands.add_parser("specs", help="list the paper's variants, parameters and MACs")
    parser.add_argument("--classes", type=_positive, default=10, help="C (default: 10)")
    parser.set_defaults(command=_specs)


def _add_train(commands: Parsers) -> None:
    parser = commands.add_parser(
        "train",
        help="train variants on a folder with one folder of pictures a class",
        description="Train variants in two stages and write a pack; the same command continues an "
        "interrupted run.",
        epilog="examples:\n"
        "  idlesight-models train ./my-pictures --minutes 10\n"
        "  idlesight-models train ./pictures --variants V1,V2,V3,V4 --epochs 12 --run runs/four\n"
        "  idlesight-models train ./pictures --pretrained mobilenet_v2_0.35.npz --recipe paper\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="data set, of which the train part is taken")
    _add_reading(parser)
    parser.add_argument(
        "--variants", type=_names, default=("V1", "V2", "V3"), help="(default: V1,V2,V3)"
    )
    parser.add_argument(
        "--seeds", type=_positive, default=1, help="of each variant, for more devices (default: 1)"
    )
    parser.add_argument(
        "--run", type=Path, default=Path("runs/latest"), help="its folder (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=_positive_number, help="as many epochs as fit into that time"
    )
    parser.add_argument(
        "--pretrained",
        default="shipped",
        help="what the trunk begins with: shipped, none (random), or the .npz of a MobileNetV2 "
        "named as in Keras (default: shipped)",
    )
    _add_recipe(parser.add_argument_group("recipe"))
    machine = parser.add_argument_group("machine", "by default what a short measurement says")
    machine.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    machine.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    machine.add_argument("--compile", choices=("auto", "yes", "no"), default="auto")
    machine.add_argument("--threads", type=_positive, help="CPU threads (default: all)")
    parser.add_argument("--no-pack", action="store_true", help="leave exporting to `export`")
    _add_metadata(parser, name_needed=False)
    parser.set_defaults(command=_lazily("models.training.commands", "train_command"))


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--recipe",
        choices=("quick", "paper"),
        default="quick",
        help="paper: 135 epochs as in its section IV-B; what is given below goes before it "
        "(default: quick)",
    )
    group.add_argument(
        "--order",
        choices=("ascending", "together"),
        help="each variant from the trunk of the one before, or all on every batch as in the "
        "paper (default: ascending)",
    )
    group.add_argument("--epochs", type=_positive, help="of all layers (default: 10)")
    group.add_argument(
        "--further-epochs",
        type=_positive,
        help="of a variant that begins with another's trunk (default: 3)",
    )
    group.add_argument("--head-epochs", type=_positive, help="of stage 1 (default: 5)")
    group.add_argument("--batch-size", type=_positive, help="(default: 64)")
    group.add_argument("--learning-rate", type=_positive_number, help="peak (default: 0.0015)")
    group.add_argument(
        "--balance",
        type=_share,
        help="0 draws pictures as they come, 1 every class alike (default: 0.5)",
    )
    group.add_argument(
        "--detail",
        type=_whole,
        metavar="PX",
        help="see no more than pictures of PX pixels a side show, 0 for all there is (default: "
        "the side of the pictures, where it is at most half of a variant's input)",
    )
    group.add_argument(
        "--validation-share",
        type=_positive_share,
        help="held out (default: 0.05; 0.2 of fewer than 2,000 pictures)",
    )
    group.add_argument("--seed", type=int, default=0, help="(default: 0)")


def _add_export(commands: Parsers) -> None:
    parser = commands.add_parser(
        "export",
        help="write a run's finished variants as TFLite files in a pack",
        description="Export finished variants, check each file against its network on pictures, "
        "choose rule and weights on the run's validation part and write the pack.",
    )
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--data", type=Path, required=True, help="the data it was trained on")
    _add_reading(parser)
    parser.add_argument("--out", type=Path, required=True, help="the pack's folder")
    parser.add_argument(
        "--trunk", type=Path, help="also write the last variant's trunk, to train others from"
    )
    _add_metadata(parser, name_needed=True)
    parser.set_defaults(command=_lazily("models.training.commands", "export_command"))


def _add_metadata(parser: argparse.ArgumentParser, *, name_needed: bool) -> None:
    group = parser.add_argument_group("pack")
    default = "" if name_needed else " (default: the data folder's)"
    group.add_argument("--name", required=name_needed, help=f"the pack's name{default}")
    group.add_argument("--version", default="1", help="the pack's version (default: 1)")
    group.add_argument("--description", default="", help="one sentence on what it recognises")
    group.add_argument("--sources", default="", help="where the pictures and weights come from")
    group.add_argument("--licence", default="", help="under which the files may be used")
    group.add_argument("--k", type=_positive, default=2, help="scores an answer keeps (default: 2)")
    group.add_argument(
        "--precisions",
        type=_precisions,
        default=("float32",),
        help="files of each variant, such as float32,float16,int8 (default: float32)",
    )
    group.add_argument(
        "--alpha", type=float, help="weigh by Eq. 1 with this α (default: what serves best)"
    )


def _add_import(commands: Parsers) -> None:
    parser = commands.add_parser(
        "import",
        help="make a pack of somebody else's TFLite classifier",
        description="Make a one-variant pack of any TFLite classifier, float or quantised. What "
        "it takes and returns is told from how it answers to sample pictures.",
        epilog="examples:\n"
        "  idlesight-models import mobilenet_v2_quant.tflite --labels labels.txt \\\n"
        "      --name imagenet --out packs/imagenet --samples ./photographs\n"
        "  idlesight-models import net.tflite --labels labels.txt --name mine --out packs/mine \\\n"
        "      --input-range -1,1\n\n"
        "samples are pictures in class folders, pictures named as n01440764_tench.jpg, or any "
        "pictures.\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="the .tflite file")
    parser.add_argument("--labels", type=Path, required=True, help="text file, a label a line")
    parser.add_argument("--name", type=_identifier, required=True, help="the pack's name")
    parser.add_argument("--out", type=Path, required=True, help="the pack's folder")
    parser.add_argument("--samples", type=Path, help="folder of pictures to try it on")
    # argparse takes what begins with a dash for an option, unless it looks like a number.
    parser._negative_number_matcher = re.compile(r"^-\d|^-\.\d")
    parser.add_argument(
        "--input-range",
        type=_range,
        metavar="LOW,HIGH",
        help="what RGB 0 and 255 become (default: as the file says, or the best on the samples)",
    )
    parser.add_argument(
        "--output",
        choices=get_args(OutputKind),
        help="what its scores are (default: found out)",
    )
    parser.add_argument(
        "--variant", type=_identifier, metavar="NAME", help="(default: the file's name)"
    )
    parser.add_argument("--version", default="1", help="the pack's version (default: 1)")
    parser.add_argument(
        "--k", type=_positive, default=2, help="scores an answer keeps (default: 2)"
    )
    parser.add_argument("--description", default="", help="one sentence on what it recognises")
    parser.add_argument("--sources", default="", help="where the model comes from")
    parser.add_argument("--licence", default="", help="under which it may be used")
    parser.set_defaults(command=_lazily("models.packing.commands", "import_command"))


def _add_quantize(commands: Parsers) -> None:
    parser = commands.add_parser(
        "quantize",
        help="add float16 and INT8 files to a pack",
        description="Write a pack with its variants in further precisions, each checked on "
        "pictures and its size, accuracy and one-thread latency written down.",
        epilog="examples:\n"
        "  idlesight-models quantize packs/cifar10 --data ./cifar10/train \\\n"
        "      --validation ./cifar10/test --out packs/cifar10-small\n"
        "  idlesight-models quantize packs/mine --data ./pictures --precisions int8 "
        "--out packs/mine\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pack", type=Path, help="folder or zip of a float32 pack")
    parser.add_argument(
        "--data", type=Path, required=True, help="labelled pictures to calibrate INT8 on"
    )
    parser.add_argument(
        "--validation",
        type=Path,
        help="labelled pictures that were not trained on: accuracies on them are recorded; "
        "without, files are compared on --data and no accuracy is",
    )
    parser.add_argument(
        "--precisions",
        type=_precisions,
        default=("float16", "int8"),
        help="(default: float16,int8)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the new pack's folder")
    parser.add_argument("--version", help="the new pack's version (default: the same)")
    parser.add_argument(
        "--limit",
        type=_positive,
        default=10_000,
        help="compare on so many pictures, evenly chosen (default: %(default)s)",
    )
    parser.add_argument(
        "--largest-drop",
        type=_positive_number,
        default=0.03,
        help="of accuracy; a file that loses more is left out (default: %(default)s)",
    )
    parser.set_defaults(command=_lazily("models.packing.commands", "quantize_command"))


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
    parser.set_defaults(command=_lazily("models.evaluation.commands", "evaluate_command"))


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
    parser.set_defaults(command=_lazily("models.evaluation.commands", "rules_command"))


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
    parser.add_argument("--k", type=_positive, help="scores an answer keeps (default: the pack's)")
    parser.add_argument("--limit", type=_positive, help="only the first N pictures a class")
    parser.add_argument("--threads", type=_positive, default=1, help="(default: 1)")
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
    parser.add_argument("--limit", type=_positive, help="only the first N test pictures a class")
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
    parser.add_argument("--threads", type=_positive, default=1, help="for accuracy (default: 1)")
    parser.set_defaults(command=_lazily("models.evaluation.report.commands", "reproduce_command"))


def _add_pack(commands: Parsers) -> None:
    parser = commands.add_parser("pack", help="verify a pack and say what is in it")
    parser.add_argument("pack", type=Path, nargs="?", help="folder or zip (default: as shipped)")
    parser.set_defaults(command=_pack)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_positive, help="only the first N pictures a class")
    parser.add_argument("--side", type=_positive, help="hold pictures at most N pixels a side")


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
    parser.add_argument("--limit", type=_positive, help="only the first N pictures a class")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=_lazily("models.datasets.commands", "data_command"))


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
    parser.set_defaults(command=_lazily("models.datasets.commands", "compose_command"))


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


def _lazily(module: str, function: str) -> Command:
    """Return a command that imports its module, and with it PyTorch, only when it is run."""

    def command(options: argparse.Namespace) -> int:
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as exc:
            extra = {"rich": "gateway", "matplotlib": "report"}.get(exc.name or "", "train")
            raise ModelsError(
                f"this command needs {exc.name}: pip install 'idlesight[{extra}]'"
            ) from exc
        result: int = getattr(loaded, function)(options)
        return result

    return command


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is no variant; choose from {', '.join(VARIANTS)}"
        )
    return names


def _precisions(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in get_args(Precision)]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is no precision; choose from {', '.join(get_args(Precision))}"
        )
    return names


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH, such as -1,1") from None
    return low, high


def _identifier(text: str) -> str:
    if not re.fullmatch(IDENTIFIER, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: at most 64 letters, digits, - and _"
        )
    return text


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _positive_share(text: str) -> float:
    value = _share(text)
    if not 0 < value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 0.5")
    return value


if __name__ == "__main__":
    sys.exit(main())
