"""The `idlesight-gateway` command."""

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from broker.errors import AuthenticationError, BrokerSettingsError
from broker.session import BrokerSettings
from gateway.errors import DemoError, SettingsError
from gateway.gateway import Gateway
from gateway.overrides import in_effect, read_overrides
from gateway.settings import GatewaySettings, check_labels, effective_yaml, load_settings
from models.errors import PackError
from models.pack import Pack, load_pack

EXIT_OK = 0
EXIT_CAMERA_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"

_EXAMPLES = """\
examples:
  idlesight-gateway check --config home.yaml
      print the settings in effect, or what is wrong with them
  idlesight-gateway run --config home.yaml
      serve until Ctrl-C
  idlesight-gateway run --config replay.yaml --wait-for-nodes 3 --exit-when-done
      send a directory of images through three nodes and end
  idlesight-gateway demo --seconds 20
      broker, gateway and three agents on this machine, with a table
"""


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message}; see --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (SettingsError, DemoError, PackError, AuthenticationError, BrokerSettingsError) as exc:
        print(f"idlesight-gateway: {exc}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each subcommand leaves its function in `command`."""
    parser = _Parser(
        prog="idlesight-gateway",
        description="Cameras in, frames out, answers in, results out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_demo(commands)
    return parser


def run_until_signal(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a coroutine to its end or until a signal; return the exit code.

    Ctrl-C and SIGTERM cancel it and wait for it to clean up: 130 and 0.
    """
    return asyncio.run(_until_signal(work))


async def _until_signal(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    codes = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_OK}
    received: list[int] = []
    loop = asyncio.get_running_loop()
    task = loop.create_task(work(), name="main")

    def stop(code: int) -> None:
        received.append(code)
        task.cancel()

    for number, code in codes.items():
        loop.add_signal_handler(number, stop, code)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        return received[0]
    finally:
        for number in codes:
            loop.remove_signal_handler(number)
    return EXIT_OK


def _add_command(commands: Commands, name: str, purpose: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_run(commands: Commands) -> None:
    parser = _add_command(commands, "run", "serve the cameras of a settings file")
    _add_config(parser)
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="use this broker instead of the file's, for example mqtt://127.0.0.1:1883",
    )
    parser.add_argument(
        "--wait-for-nodes",
        type=_count,
        default=0,
        metavar="N",
        help="open the cameras only when N nodes work",
    )
    parser.add_argument(
        "--exit-when-done",
        action="store_true",
        help="end when every camera's files are through; URLs and loops never are",
    )
    parser.add_argument("--verbose", action="store_true", help="log every detail")
    parser.set_defaults(command=_run)


def _add_check(commands: Commands) -> None:
    parser = _add_command(
        commands, "check", "print the settings in effect, or what is wrong with them"
    )
    _add_config(parser)
    parser.set_defaults(command=_check)


def _add_demo(commands: Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="broker, gateway and three agents on this machine, and a table of what they say",
        description="Run everything on this machine, each part a process of its own.",
    )
    parser.add_argument("--seconds", type=_seconds, metavar="S", help="end after this time")
    parser.add_argument("--port", type=_port, metavar="N", help="the broker's, default: a free one")
    parser.add_argument(
        "--source", metavar="PATH|URL", help="pictures, video or camera instead of photographs"
    )
    parser.add_argument(
        "--polite",
        action="store_true",
        help="agents pause while the machine is busy, as at home; the demo's always run",
    )
    parser.set_defaults(command=_demo)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="home.yaml")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds; write for example 20")
    return seconds


def _port(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write for example 3")
    return int(text)


def _check(options: argparse.Namespace) -> int:
    settings = load_settings(options.config)
    pack = load_pack(settings.pack)
    check_labels(settings, pack.labels, pack.name)
    print(effective_yaml(settings), end="")
    variants = ", ".join(entry.name for entry in pack.manifest.variants)
    print(f"# pack {pack.name} {pack.manifest.version}: {len(pack.labels)} labels, {variants}")
    overrides = read_overrides(settings.state_file)
    for name, camera in settings.cameras.items():
        effective = in_effect(name, camera, overrides.of(name))
        for setting in effective.overridden:
            value = json.dumps(getattr(effective, setting))
            print(f"# cameras.{name}.{setting} is {value} by a command, until that is undone")
        on_disk = camera.is_path or camera.is_device
        if on_disk and not Path(camera.source).exists():
            print(
                f"idlesight-gateway: cameras.{name}.source: {camera.source} does not exist yet; "
                "the camera will be tried again and again until it does",
                file=sys.stderr,
            )
    return EXIT_OK


def _demo(options: argparse.Namespace) -> int:
    from gateway.demo import DemoSettings, run_demo  # rich is only for the demo

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    settings = DemoSettings(options.seconds, options.port, options.source, options.polite)
    pack = load_pack()

    async def work() -> None:
        await run_demo(settings, pack)

    return run_until_signal(work)


def _run(options: argparse.Namespace) -> int:
    # Until the event loop takes over.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_OK))
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for library in ("PIL", "httpx", "httpcore"):  # each speaks of every picture
        logging.getLogger(library).setLevel(logging.WARNING)
    settings = load_settings(options.config)
    if options.broker is not None:
        broker = BrokerSettings.parse_url(options.broker)
        settings = settings.model_copy(update={"broker": broker})
    pack = load_pack(settings.pack)
    check_labels(settings, pack.labels, pack.name)
    gateway = Gateway(
        settings,
        pack,
        rng=random.SystemRandom(),
        retry=not options.exit_when_done,
        state_file=settings.state_file,
        on_ready=lambda: print(_ready_line(settings, pack), flush=True),
    )
    code = run_until_signal(lambda: _serve(gateway, options))
    for line in _summary(gateway):
        print(line, file=sys.stderr)
    if code == EXIT_OK and any(camera.failed for camera in gateway.cameras.values()):
        return EXIT_CAMERA_FAILED
    return code


async def _serve(gateway: Gateway, options: argparse.Namespace) -> None:
    try:
        await gateway.run(
            exit_when_done=options.exit_when_done, wait_for_nodes=options.wait_for_nodes
        )
    except ExceptionGroup as group:
        raise _told_by(group) from None


def _told_by(group: ExceptionGroup[Exception]) -> Exception:
    """Return the error that a person can act on, out of a group of one; else the group."""
    first = group.exceptions[0]
    if isinstance(first, ExceptionGroup):
        return _told_by(first)
    return first if isinstance(first, (AuthenticationError, BrokerSettingsError)) else group


def _ready_line(settings: GatewaySettings, pack: Pack) -> str:
    cameras = ", ".join(settings.cameras)
    return (
        f"ready: gateway {settings.gateway} on {settings.broker.url}, "
        f"pack {pack.name} {pack.manifest.version}, cameras {cameras}"
    )


def _summary(gateway: Gateway) -> list[str]:
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(gateway.counts.items()))
    return [f"counts: {counts}"] if counts else []


if __name__ == "__main__":
    sys.exit(main())
