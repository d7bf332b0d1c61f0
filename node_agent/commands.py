"""What `idlesight-node` does, once its options are read."""

import argparse
import asyncio
import json
import logging
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from broker.errors import BrokerError
from broker.payloads import OFFLINE
from broker.session import Message, Session, Will
from broker.topics import Topics
from models.errors import ModelsError
from models.pack import Pack, load_pack
from node_agent.agent import NodeAgent
from node_agent.cli import EXIT_INTERRUPTED
from node_agent.errors import NameTakenError, NodeAgentError, SettingsError
from node_agent.inquiry import inquire
from node_agent.pause import PauseClock, PauseKeeper, parse_duration
from node_agent.report import status_lines
from node_agent.settings import NodeSettings, default_state_dir, load_settings

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_UNWELL = 1
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
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)  # where `pause` looks for its node
    except OSError as exc:
        logger.warning("%s cannot be made (%s): no pause will be kept", settings.folder, exc)
    return asyncio.run(_run_until_signal(settings, pack))


def doctor(options: argparse.Namespace) -> int:
    """Examine the device and return whether the node can run on it."""
    from node_agent.doctor import examine

    try:
        settings = load_settings(options.config, _settings_of(options))
    except SettingsError as exc:
        return _refuse(exc)
    checkup = asyncio.run(examine(settings))
    if options.json:
        print(json.dumps({**asdict(checkup), "healthy": checkup.healthy}, ensure_ascii=False))
    else:
        width = max(len(finding.subject) for finding in checkup.findings)
        for finding in checkup.findings:
            print(f"{finding.verdict:<8} {finding.subject:<{width}}  {finding.text}")
        would = "would run" if checkup.decision.allowed else "would not run"
        print(f"now it {would}: {checkup.decision.reason}")
    return EXIT_OK if checkup.healthy else EXIT_UNWELL


def status(options: argparse.Namespace) -> int:
    """Say what the node does and return whether it is well."""
    try:
        settings = load_settings(options.config, _settings_of(options))
        found = asyncio.run(inquire(settings))
    except (SettingsError, BrokerError) as exc:
        return _refuse(exc)
    state = found.state
    if options.json:
        known = None if state is None else state.model_dump(mode="json")
        print(json.dumps({"online": found.online, "alive": found.alive, "state": known}))
    else:
        print("\n".join(status_lines(settings.name, found)))
    well = found.alive and state is not None and state.state != "failed"
    return EXIT_OK if well else EXIT_UNWELL


def pause(options: argparse.Namespace) -> int:
    """Pause the node of this device; it notices by itself."""
    try:
        duration_s = None if options.duration is None else parse_duration(options.duration)
        keeper = _pause_keeper(options)
        keeper.set(duration_s)
        keeper.save()
    except NodeAgentError as exc:
        return _refuse(exc)
    print(f"paused {keeper.words()}")
    return EXIT_OK


def resume(options: argparse.Namespace) -> int:
    """End the pause of the node of this device."""
    try:
        keeper = _pause_keeper(options)
        was_paused = keeper.current() is not None
        keeper.clear()
        keeper.save()
    except NodeAgentError as exc:
        return _refuse(exc)
    print("resumed" if was_paused else "it was not paused")
    return EXIT_OK


def _pause_keeper(options: argparse.Namespace) -> PauseKeeper:
    """Return the pause of the node that the options name, or of the only one there is."""
    if options.config is None and options.name is None:
        folder = default_state_dir()
        found = sorted(one for one in folder.glob("*") if one.is_dir()) if folder.is_dir() else []
        if len(found) != 1:
            names = ", ".join(one.name for one in found) or "none"
            raise SettingsError(
                f"which node? In {folder} there is {names}: give --name, or --config with its file"
            )
        options.name = found[0].name
    settings = load_settings(options.config, _settings_of(options))
    return PauseKeeper(settings.folder, PauseClock.of_this_device())


def _settings_of(options: argparse.Namespace) -> dict[str, object]:
    """Return the options as settings; None where not given, or where the command has none."""

    def given(name: str) -> object:
        return getattr(options, name, None)

    plain = ("name", "broker", "gateway", "prefix", "variant", "pack")
    return {
        **{name: given(name) for name in plain},
        "governor": {"always": given("always"), "preset": given("preset")},
        "worker": {"threads": given("threads"), "priority": given("priority")},
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
