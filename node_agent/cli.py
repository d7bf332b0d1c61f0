"""The command `idlesight-node`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = """\
examples:
  idlesight-node run --broker mqtt://192.168.1.10 --name kitchen-tablet
      take part in the household's recognition; the gateway says what to run
  idlesight-node run --broker mqtt://node7:secret@hub.lan --name node7 --variant V2
      always run variant V2 of the pack
  idlesight-node run --config /etc/idlesight/node.toml
      take everything from a file, where the password is out of sight:
          name = "node7"
          broker = "mqtt://node7:secret@hub.lan"
          [governor]
          start_share = 0.2
"""

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        # Only now: --help and a wrong option need none of it.
        from node_agent.commands import run

        return run(options)
    except KeyboardInterrupt:  # before the event loop handles signals
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idlesight-node",
        description="Let this device recognise pictures while nobody needs it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="connect to the broker and answer frames until stopped",
        description="Connect to the broker and answer frames until stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the settings")
    run.add_argument("--name", metavar="ID", help="this node's name, unique in the household")
    run.add_argument("--broker", metavar="URL", help="default: mqtt://127.0.0.1:1883")
    run.add_argument("--gateway", metavar="ID", help="whose frames to answer, default: home")
    run.add_argument("--prefix", metavar="ID", help="first level of all topics, default: idlesight")
    run.add_argument("--variant", metavar="NAME", help="run this one whatever is assigned")
    run.add_argument("--pack", type=Path, metavar="PATH", help="directory or zip, default: shipped")
    run.add_argument(
        "--threads", type=int, metavar="N", help="threads of one inference, default: 1"
    )
    run.add_argument(
        "--always",
        action="store_true",
        default=None,
        help="run also while other programs need the processor",
    )
    run.add_argument(
        "--priority",
        choices=("idle", "low", "normal"),
        help="of the inference: idle (default) gets only what nobody else wants",
    )
    run.add_argument("-v", "--verbose", action="store_true", help="log every message")
    return parser


if __name__ == "__main__":
    sys.exit(main())
