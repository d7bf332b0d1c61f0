"""What `idlesight-node` does, once its options are read."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable

from broker.errors import BrokerError
from broker.payloads import OFFLINE
from broker.session import Message, Session, Will
from broker.topics import Topics
from models.errors import ModelsError
from models.pack import Pack, load_pack
from node_agent.agent import NodeAgent
from node_agent.cli import EXIT_INTERRUPTED
from node_agent.errors import NameTakenError, SettingsError
from node_agent.settings import NodeSettings, load_settings

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_BAD_INPUT = 2


def run(options: argparse.Namespace) -> int:
    """Run the agent until it is stopped and return the exit code."""
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        settings = load_settings(options.config, _settings_of(options))
        pack = load_pack(settings.pack)
        if settings.variant is not None:
            pack.variant(settings.variant)
    except (SettingsError, ModelsError) as exc:
        return _refuse(exc)
    return asyncio.run(_run_until_signal(settings, pack))


def _settings_of(options: argparse.Namespace) -> dict[str, object]:
    """Return the options as settings; None where not given."""
    return {
        "name": options.name,
        "broker": options.broker,
        "gateway": options.gateway,
        "prefix": options.prefix,
        "variant": options.variant,
        "pack": options.pack,
        "governor": {"always": options.always},
        "worker": {"threads": options.threads, "priority": options.priority},
    }


async def _run_until_signal(settings: NodeSettings, pack: Pack) -> int:
    """Run the agent; SIGTERM ends it with 0, SIGINT with 130, both after its farewell."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    exit_codes: list[int] = []

    def stop(exit_code: int) -> None:
        if not exit_codes:  # a second Ctrl-C must not cut the farewell short
            exit_codes.append(exit_code)
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop, EXIT_OK)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: outlive the terminal
        loop.add_signal_handler(signal.SIGHUP, stop, EXIT_OK)
    loop.add_signal_handler(signal.SIGINT, stop, EXIT_INTERRUPTED)
    failures: list[Exception] = []
    session = secrets.token_hex(4)
    try:
        try:
            opener = _session_opener(settings, session)
            await NodeAgent(settings, pack, opener, session=session).run()
        except* (BrokerError, NameTakenError) as group:
            failures.extend(group.exceptions)
    except asyncio.CancelledError:
        if not exit_codes:
            raise
    if exit_codes:
        return exit_codes[0]
    return _refuse(failures[0])


def _session_opener(
    settings: NodeSettings, session: str
) -> Callable[[Callable[[Message], None], Callable[[], Awaitable[None]]], Session]:
    """Return what makes the agent's session."""
    topics = Topics(settings.gateway, settings.prefix)
    offline = Will(topics.node_status(settings.name), OFFLINE.encode(), qos=1, retain=True)

    def open_session(
        on_message: Callable[[Message], None], on_connect: Callable[[], Awaitable[None]]
    ) -> Session:
        return Session(
            settings.broker,
            client_id=f"idlesight-node-{settings.gateway}-{settings.name}-{session}",
            will=offline,
            farewell=[offline],  # a clean disconnect suppresses the will
            on_message=on_message,
            on_connect=on_connect,
            subscriptions=[
                (topics.assignment(settings.name), 1),
                (topics.node_status(settings.name), 1),
                (topics.node_state(settings.name), 1),
                (topics.node_set(settings.name), 1),
            ],
        )

    return open_session


def _refuse(problem: Exception) -> int:
    """Say in one sentence what is wrong and return the exit code for it."""
    sys.stderr.write(f"idlesight-node: {problem}\n")
    return EXIT_BAD_INPUT
