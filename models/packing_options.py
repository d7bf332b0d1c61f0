"""The options of the commands that make packs: `train`, `export`, `import` and `quantize`."""

import argparse
import re
from pathlib import Path
from typing import TypeAlias, get_args

from models.interface import OutputKind
from models.lazily import lazily
from models.options import (
    identifier,
    names,
    positive,
    positive_number,
    positive_share,
    precisions,
    range_,
    share,
    whole,
)

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_train(commands: Parsers) -> None:
    """Add `train`."""
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
        "--variants", type=names, default=("V1", "V2", "V3"), help="(default: V1,V2,V3)"
    )
    parser.add_argument(
        "--seeds", type=positive, default=1, help="of each variant, for more devices (default: 1)"
    )
    parser.add_argument(
        "--run", type=Path, default=Path("runs/latest"), help="its folder (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=positive_number, help="as many epochs as fit into that time"
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
    machine.add_argument("--threads", type=positive, help="CPU threads (default: all)")
    parser.add_argument("--no-pack", action="store_true", help="leave exporting to `export`")
    _add_metadata(parser, name_needed=False)
    parser.set_defaults(command=lazily("models.training.commands", "train_command"))


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
    group.add_argument("--epochs", type=positive, help="of all layers (default: 10)")
    group.add_argument(
        "--further-epochs",
        type=positive,
        help="of a variant that begins with another's trunk (default: 3)",
    )
    group.add_argument("--head-epochs", type=positive, help="of stage 1 (default: 5)")
    group.add_argument("--batch-size", type=positive, help="(default: 64)")
    group.add_argument("--learning-rate", type=positive_number, help="peak (default: 0.0015)")
    group.add_argument(
        "--balance",
        type=share,
        help="0 draws pictures as they come, 1 every class alike (default: 0.5)",
    )
    group.add_argument(
        "--detail",
        type=whole,
        metavar="PX",
        help="see no more than pictures of PX pixels a side show, 0 for all there is (default: "
        "the side of the pictures, where it is at most half of a variant's input)",
    )
    group.add_argument(
        "--validation-share",
        type=positive_share,
        help="held out (default: 0.05; 0.2 of fewer than 2,000 pictures)",
    )
    group.add_argument("--seed", type=int, default=0, help="(default: 0)")


def add_export(commands: Parsers) -> None:
    """Add `export`."""
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
    parser.set_defaults(command=lazily("models.training.commands", "export_command"))


def _add_metadata(parser: argparse.ArgumentParser, *, name_needed: bool) -> None:
    group = parser.add_argument_group("pack")
    default = "" if name_needed else " (default: the data folder's)"
    group.add_argument("--name", required=name_needed, help=f"the pack's name{default}")
    group.add_argument("--version", default="1", help="the pack's version (default: 1)")
    group.add_argument("--description", default="", help="one sentence on what it recognises")
    group.add_argument("--sources", default="", help="where the pictures and weights come from")
    group.add_argument("--licence", default="", help="under which the files may be used")
    group.add_argument("--k", type=positive, default=2, help="scores an answer keeps (default: 2)")
    group.add_argument(
        "--precisions",
        type=precisions,
        default=("float32",),
        help="files of each variant, such as float32,float16,int8 (default: float32)",
    )
    group.add_argument(
        "--alpha", type=float, help="weigh by Eq. 1 with this α (default: what serves best)"
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=positive, help="only the first N pictures a class")
    parser.add_argument("--side", type=positive, help="hold pictures at most N pixels a side")


def add_import(commands: Parsers) -> None:
    """Add `import`."""
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
    parser.add_argument("--name", type=identifier, required=True, help="the pack's name")
    parser.add_argument("--out", type=Path, required=True, help="the pack's folder")
    parser.add_argument("--samples", type=Path, help="folder of pictures to try it on")
    # argparse takes what begins with a dash for an option, unless it looks like a number.
    parser._negative_number_matcher = re.compile(r"^-\d|^-\.\d")
    parser.add_argument(
        "--input-range",
        type=range_,
        metavar="LOW,HIGH",
        help="what RGB 0 and 255 become (default: as the file says, or the best on the samples)",
    )
    parser.add_argument(
        "--output",
        choices=get_args(OutputKind),
        help="what its scores are (default: found out)",
    )
    parser.add_argument(
        "--variant", type=identifier, metavar="NAME", help="(default: the file's name)"
    )
    parser.add_argument("--version", default="1", help="the pack's version (default: 1)")
    parser.add_argument("--k", type=positive, default=2, help="scores an answer keeps (default: 2)")
    parser.add_argument("--description", default="", help="one sentence on what it recognises")
    parser.add_argument("--sources", default="", help="where the model comes from")
    parser.add_argument("--licence", default="", help="under which it may be used")
    parser.set_defaults(command=lazily("models.packing.commands", "import_command"))


def add_quantize(commands: Parsers) -> None:
    """Add `quantize`."""
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
        type=precisions,
        default=("float16", "int8"),
        help="(default: float16,int8)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the new pack's folder")
    parser.add_argument("--version", help="the new pack's version (default: the same)")
    parser.add_argument(
        "--limit",
        type=positive,
        default=10_000,
        help="compare on so many pictures, evenly chosen (default: %(default)s)",
    )
    parser.add_argument(
        "--largest-drop",
        type=positive_number,
        default=0.03,
        help="of accuracy; a file that loses more is left out (default: %(default)s)",
    )
    parser.set_defaults(command=lazily("models.packing.commands", "quantize_command"))
