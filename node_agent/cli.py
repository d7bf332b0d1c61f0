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
          preset = "strict"
          quiet_hours = ["22:00-07:00"]
  idlesight-node doctor --config /etc/idlesight/node.toml
      what this device can read, reach and run, and what the node would do now
  idlesight-node status --config /etc/idlesight/node.toml
      what the node says of itself, and what its owner gave
  idlesight-node pause 2h --name node7
      leave the device alone for two hours; `resume` ends it
"""

_RUN_EXAMPLES = EXAMPLES[: EXAMPLES.index("  idlesight-node doctor")]
_DOCTOR_EXAMPLES = """\
examples:
  idlesight-node doctor --name node7 --broker mqtt://hub.lan
  idlesight-node doctor --config /etc/idlesight/node.toml --json

exit code: 0 the node can run here, now or later; 1 something keeps it from running; 2 the
settings are wrong
"""
_STATUS_EXAMPLES = """\
examples:
  idlesight-node status --name node7 --broker mqtt://hub.lan
  idlesight-node status --config /etc/idlesight/node.toml --json

exit code: 0 the node is at work or pauses; 1 it is not there, does not answer or has failed; 2 the
settings are wrong or the broker cannot be reached
"""
_PAUSE_EXAMPLES = """\
examples:
  idlesight-node pause 2h                 the only node of this user
  idlesight-node pause 1h30m --name node7
  idlesight-node pause --config /etc/idlesight/node.toml
                                          until it is resumed
"""
_RESUME_EXAMPLES = """\
examples:
  idlesight-node resume
  idlesight-node resume --name node7
"""

EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        # Only now: --help and a wrong option need none of it.
        from node_agent import commands

        return {
            "run": commands.run,
            "doctor": commands.doctor,
            "status": commands.status,
            "pause": commands.pause,
            "resume": commands.resume,
        }[options.command](options)
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

    def command(name: str, text: str, examples: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--config", type=Path, metavar="FILE", help="TOML file with the settings")
        sub.add_argument("--name", metavar="ID", help="this node's name, unique in the household")
        return sub

    run = command("run", "connect to the broker and answer frames until stopped", _RUN_EXAMPLES)
    _add_broker(run)
    _add_work(run)
    run.add_argument("-v", "--verbose", action="store_true", help="log every message")

    doctor = command("doctor", "say what the node can do here, and would do now", _DOCTOR_EXAMPLES)
    _add_broker(doctor)
    _add_work(doctor)
    doctor.add_argument("--json", action="store_true", help="print JSON, for scripts")

    status = command("status", "say what the node does, from the broker", _STATUS_EXAMPLES)
    _add_broker(status)
    status.add_argument("--json", action="store_true", help="print JSON, for scripts")

    pause = command("pause", "leave the device alone for a while", _PAUSE_EXAMPLES)
    pause.add_argument(
        "duration", nargs="?", metavar="DURATION", help="such as 45m, 2h or 1d; else until resumed"
    )
    command("resume", "end a pause", _RESUME_EXAMPLES)
    return parser


def _add_broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--broker", metavar="URL", help="default: mqtt://127.0.0.1:1883")
    parser.add_argument("--gateway", metavar="ID", help="whose frames to answer, default: home")
    parser.add_argument("--prefix", metavar="ID", help="first level of all topics: idlesight")


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variant", metavar="NAME", help="run this one whatever is assigned")
    parser.add_argument(
        "--pack", type=Path, metavar="PATH", help="directory, zip or a shipped one's name"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of one inference, default: 1"
    )
    parser.add_argument(
        "--preset",
        choices=("generous", "polite", "strict"),
        help="how readily it gives way, default: polite",
    )
    parser.add_argument(
        "--always",
        action="store_true",
        default=None,
        help="run also while other programs need the processor",
    )
    parser.add_argument(
        "--priority",
        choices=("idle", "low", "normal"),
        help="of the inference: idle (default) gets only what nobody else wants",
    )


if __name__ == "__main__":
    sys.exit(main())
