"""A real Home Assistant beside a real Mosquitto; it is asked and told through automations."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.mosquitto import MosquittoBroker, check_port_free, find_mosquitto
from broker.session import BrokerSettings, Message, Session
from tests.gateway.conftest import House, make_house, pack

__all__ = ["make_house", "pack"]

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / os.environ.get("VENV_HA", ".venv-ha") / "bin" / "python"
WAIT_S = 120.0  # it boots in some 7 s on an idle machine

# The state and the attributes of the entity whose id is the payload.
_TELL = """\
{{ {'known': states[trigger.payload] is not none, 'state': states(trigger.payload),
    'attributes': dict(states[trigger.payload].attributes) if states[trigger.payload] else {}}
   | to_json }}"""

_DEVICE = "{{ {'device': device_id(trigger.payload)} | to_json }}"


def _automation(name: str, trigger: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    return {"alias": name, "mode": "queued", "max": 500, "trigger": trigger, "action": action}


def _fires(name: str, **trigger: Any) -> dict[str, Any]:
    action = {"service": "mqtt.publish", "data": {"topic": f"test/fired/{name}", "payload": "x"}}
    return _automation(name, trigger, action)


AUTOMATIONS = [
    _automation(
        "tell",
        {"platform": "mqtt", "topic": "test/ask"},
        {
            "service": "mqtt.publish",
            "data": {"topic": "test/told/{{ trigger.payload }}", "payload_template": _TELL},
        },
    ),
    _automation(
        "device",
        {"platform": "mqtt", "topic": "test/ask_device"},
        {
            "service": "mqtt.publish",
            "data": {"topic": "test/told/{{ trigger.payload }}", "payload_template": _DEVICE},
        },
    ),
    _automation(
        "reload", {"platform": "mqtt", "topic": "test/reload"}, {"service": "automation.reload"}
    ),
    _automation(
        "call",
        {"platform": "mqtt", "topic": "test/call"},
        {
            "service": "{{ trigger.payload_json.service }}",
            "target": {"entity_id": "{{ trigger.payload_json.entity }}"},
            "data": "{{ trigger.payload_json.data }}",
        },
    ),
    _fires(
        "lamp",
        platform="state",
        entity_id="binary_sensor.porch_seen_label4",
        to="on",
        not_from=["unavailable", "unknown"],
    ),
    _fires(
        "label",
        platform="state",
        entity_id="sensor.porch_label",
        to="label4",
        not_from=["unavailable", "unknown"],
    ),
    _fires("trap", platform="state", entity_id="sensor.porch_label", to="label4"),
    _fires(
        "event",
        platform="state",
        entity_id="event.porch_event",
        not_from=["unavailable", "unknown"],
        not_to=["unavailable", "unknown"],
    ),
]


class RealHomeAssistant:
    """Home Assistant as a process, and a client that talks to it over the broker.

    Attributes:
        fired: how often each automation has fired.
        log: its log file.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.fired: Counter[str] = Counter()
        self.log = folder / "output.log"
        self._folder = folder
        self._port = port
        self._told: dict[str, dict[str, Any]] = {}
        self._born = False
        self._session = Session(
            BrokerSettings(port=port),
            client_id="test",
            on_message=self._on_message,
            subscriptions=[("test/told/#", 1), ("test/fired/#", 1), ("homeassistant/status", 1)],
        )
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, web_port: int) -> None:
        configuration = {
            "homeassistant": {
                "name": "Test",
                "latitude": 0,
                "longitude": 0,
                "elevation": 0,
                "unit_system": "metric",
                "time_zone": "UTC",
            },
            "http": {"server_host": "127.0.0.1", "server_port": web_port},
            "logger": {"default": "warning"},
            "automation": AUTOMATIONS,
        }
        entry = {
            "entry_id": "0" * 32,
            "version": 1,
            "minor_version": 1,
            "domain": "mqtt",
            "title": "broker",
            "data": {
                "broker": "127.0.0.1",
                "port": self._port,
                "discovery": True,
                "discovery_prefix": "homeassistant",
            },
            "options": {},
            "pref_disable_new_entities": False,
            "pref_disable_polling": False,
            "source": "user",
            "unique_id": None,
            "disabled_by": None,
        }
        (self._folder / "configuration.yaml").write_text(
            yaml.safe_dump(configuration) + "automation later: !include later.yaml\n"
        )
        (self._folder / "later.yaml").write_text("[]\n")
        (self._folder / ".storage").mkdir()
        (self._folder / ".storage" / "core.config_entries").write_text(
            json.dumps(
                {
                    "version": 1,
                    "minor_version": 1,
                    "key": "core.config_entries",
                    "data": {"entries": [entry]},
                }
            )
        )
        self._task = asyncio.get_running_loop().create_task(self._session.run())
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(PYTHON),
                str(Path(__file__).with_name("start_homeassistant.py")),
                "-c",
                str(self._folder),
                "--skip-pip",
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await self.wait_for(lambda: self._born)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(30):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                if self._process is not None and self._process.returncode is not None:
                    pytest.fail(f"Home Assistant has ended: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)

    async def add_device_trigger(self, name: str, entity: str, subtype: str) -> None:
        """Add an automation on a trigger of an entity's device, as its editor writes it."""
        self._told.pop(entity, None)
        await self._session.publish("test/ask_device", entity, qos=1)
        await self.wait_for(lambda: entity in self._told)
        automation = _fires(
            name,
            platform="device",
            domain="mqtt",
            device_id=self._told[entity]["device"],
            type="recognized",
            subtype=subtype,
        )
        (self._folder / "later.yaml").write_text(yaml.safe_dump([automation]))
        await self._session.publish("test/reload", b"", qos=1)
        await self.has(f"automation.{name}", "on")

    async def ask(self, entity: str) -> dict[str, Any]:
        """Return what it knows of an entity: known, state and attributes."""
        self._told.pop(entity, None)
        await self._session.publish("test/ask", entity, qos=1)
        await self.wait_for(lambda: entity in self._told)
        return self._told[entity]

    async def has(self, entity: str, state: str) -> dict[str, Any]:
        """Wait until an entity has a state; return its attributes."""
        told: dict[str, Any] = {}
        try:
            async with asyncio.timeout(WAIT_S / 4):
                while (told := await self.ask(entity))["state"] != state:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{entity} is {told.get('state')!r} and not {state!r}")
        attributes: dict[str, Any] = told["attributes"]
        return attributes

    async def call(self, service: str, entity: str, **data: Any) -> None:
        """Call one of its services, as a person does by a click."""
        payload = json.dumps({"service": service, "entity": entity, "data": data})
        await self._session.publish("test/call", payload, qos=1)

    def _on_message(self, message: Message) -> None:
        match message.topic.split("/"):
            case ["homeassistant", "status"]:
                self._born = message.payload == b"online"
            case ["test", "told", entity]:
                self._told[entity] = json.loads(message.payload)
            case ["test", "fired", name]:
                self.fired[name] += 1


@pytest.fixture
async def port() -> AsyncIterator[int]:
    executable = find_mosquitto()
    if executable is None:
        pytest.skip("mosquitto is not installed")
    free = check_port_free("127.0.0.1", 0)
    broker = MosquittoBroker(executable, bind="127.0.0.1", port=free)
    await broker.start()
    yield free
    await broker.stop()


@pytest.fixture
async def homeassistant(
    port: int, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RealHomeAssistant]:
    if not PYTHON.exists():
        pytest.skip("Home Assistant is not installed; `make test-homeassistant` does it")
    real = RealHomeAssistant(tmp_path_factory.mktemp("homeassistant"), port)
    try:
        await real.start(check_port_free("127.0.0.1", 0))
        yield real
    finally:
        await real.stop()


@pytest.fixture
async def real_house(
    port: int, make_house: Callable[[Any, BrokerSettings], House]
) -> AsyncIterator[House]:
    house = make_house(Session, BrokerSettings(port=port))
    await house.watch()
    yield house
    await house.close()
