"""The command `idlesight-broker`."""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn, Protocol

from broker.errors import BrokerStartError
from broker.mosquitto import MosquittoBroker, check_port_free, find_mosquitto, is_loopback
from broker.settings import DEFAULT_PORT

_EXAMPLES = """examples:
  idlesight-broker up                            for this machine alone, on port 1883
  idlesight-broker up --port 18840 --embedded    without Mosquitto
  idlesight-broker up --data-dir ~/broker        retained messages outlive a restart
  idlesight-broker up --bind 0.0.0.0 --password-file logins
                                                 for the household; make the file with
                                                 mosquitto_passwd -c logins NAME
  idlesight-broker up --config mosquitto.conf --port 8883
                                                 your own configuration

When it accepts connections it prints one line that scripts can wait for:
  ready: mosquitto 2.0.18 on mqtt://127.0.0.1:1883
"""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class LocalBroker(Protocol):
    """A broker this command can run."""

    name: str

    async def start(self) -> None:
        """Return when it accepts connections."""

    async def ended(self) -> None:
        """Return or raise when it ends by itself."""

    async def stop(self) -> None:
        """End it."""


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message}; see --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # Until the event loop takes over; loading the embedded broker takes a second.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        options.port = check_port_free(options.bind, options.port)
        return asyncio.run(_serve(_choose(options), _host(options.bind), options.port))
    except BrokerStartError as exc:
        print(f"idlesight-broker: {exc}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="idlesight-broker",
        description="Run an MQTT broker on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up",
        help="start Mosquitto if it is installed, else the embedded broker",
        description="Start Mosquitto if it is installed, else the embedded broker (amqtt).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.add_argument("--port", type=_port, default=DEFAULT_PORT, help="1883; 0 takes a free one")
    up.add_argument("--bind", default="127.0.0.1", help="address to listen on; 127.0.0.1")
    up.add_argument("--data-dir", type=Path, help="keep retained messages here; else they end")
    up.add_argument("--config", type=Path, help="a mosquitto.conf to use as it is")
    up.add_argument("--password-file", type=Path, help="logins made with mosquitto_passwd")
    up.add_argument(
        "--allow-anonymous",
        action="store_true",
        help="no login beyond this machine: whoever reaches the port sees every picture",
    )
    which = up.add_mutually_exclusive_group()
    which.add_argument("--embedded", action="store_true", help="the embedded broker, always")
    which.add_argument("--mosquitto", action="store_true", help="Mosquitto, or fail")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 65535):
        msg = f"{text!r} is not a port: give 0 to 65535"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _choose(options: argparse.Namespace) -> LocalBroker:
    """Return the broker to start.

    Raises:
        BrokerStartError: the options do not go together, or what they need is not there.
    """
    _check_files(options)
    program = None if options.embedded else find_mosquitto()
    needs_mosquitto = options.mosquitto or options.config or options.password_file
    if needs_mosquitto and program is None:
        msg = "logins and --config need Mosquitto: install it (apt install mosquitto)"
        if options.mosquitto:
            msg = "Mosquitto is not installed: apt install mosquitto, or leave --mosquitto out"
        raise BrokerStartError(msg)
    if not (
        is_loopback(options.bind)
        or options.password_file
        or options.allow_anonymous
        or options.config
    ):
        msg = (
            f"on {options.bind} others could read every picture: "
            "give --password-file, or --allow-anonymous if you trust the network"
        )
        raise BrokerStartError(msg)
    if program is None:
        return _embedded(options)
    return MosquittoBroker(
        program,
        bind=options.bind,
        port=options.port,
        data_dir=options.data_dir,
        allow_anonymous=options.password_file is None,
        password_file=options.password_file,
        config_file=options.config,
    )


def _embedded(options: argparse.Namespace) -> LocalBroker:
    try:
        # amqtt and what it brings are loaded only where they run
        from broker.embedded import EmbeddedBroker
    except ImportError as exc:
        msg = (
            f"no broker is installed ({exc.name} is missing): apt install mosquitto, "
            "or pip install 'idlesight[gateway]'"
        )
        raise BrokerStartError(msg) from exc
    if options.data_dir is not None:
        print("the embedded broker keeps nothing in --data-dir", file=sys.stderr)
    return EmbeddedBroker(bind=options.bind, port=options.port)


def _check_files(options: argparse.Namespace) -> None:
    for flag, file in (("--config", options.config), ("--password-file", options.password_file)):
        if file is not None and not file.is_file():
            raise BrokerStartError(f"{flag} {file} is not a file")
    if options.data_dir is None:
        return
    try:
        options.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.data_dir):
            pass
    except OSError as exc:
        msg = f"cannot write to {options.data_dir} ({exc.strerror}): choose another --data-dir"
        raise BrokerStartError(msg) from exc


def _host(bind: str) -> str:
    if bind in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{bind}]" if ":" in bind else bind


async def _serve(broker: LocalBroker, host: str, port: int) -> int:
    """Run the broker until a signal or its own end; return the exit code."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(_run(broker, host, port))
    exit_codes: list[int] = []

    def end(exit_code: int) -> None:
        exit_codes.append(exit_code)
        running.cancel()

    loop.add_signal_handler(signal.SIGTERM, end, 0)
    loop.add_signal_handler(signal.SIGINT, end, EXIT_INTERRUPTED)
    try:
        await running
    except asyncio.CancelledError:
        if not exit_codes:
            raise
        return exit_codes[0]
    return 0


async def _run(broker: LocalBroker, host: str, port: int) -> None:
    try:
        await broker.start()
        url = f"mqtt://{host}:{port}"
        print(f"{broker.name}: connect with --broker {url}; Ctrl-C ends it", file=sys.stderr)
        print(f"ready: {broker.name} on {url}", flush=True)
        await broker.ended()
    finally:
        await broker.stop()


if __name__ == "__main__":
    sys.exit(main())
