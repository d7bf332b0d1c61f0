"""The examination with real workers, a real broker and a scripted machine."""

import json
import signal
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest

from models.pack import Pack
from node_agent.cli import main
from node_agent.doctor import Checkup, examine
from node_agent.foreign_cpu import CpuSample
from node_agent.inquiry import inquire
from node_agent.sensors import Device
from node_agent.settings import NodeSettings, load_settings
from tests.node_agent.processes import (
    NAME,
    embedded,
    free_port,
    hub,
    mosquitto,
    node,
    until,
)
from tests.node_agent.readers.trees import plant


def settings_of(pack: Pack, port: int, **governor: object) -> NodeSettings:
    return load_settings(
        None,
        {
            "name": NAME,
            "broker": f"mqtt://127.0.0.1:{port}",
            "pack": pack.path,
            "variant": "V1",
            "worker": {"priority": "normal"},
            "governor": governor,
        },
    )


class Machine:
    """A clock that runs four times as fast, and a processor used to a given share."""

    def __init__(self, root: Path, share: float | None) -> None:
        self._steps: Iterator[int] = count()
        self._share = share
        self._ticks = 0.0
        self.device = Device(clock_s=self.clock_s, read_cpu=self.read_cpu, root=root)

    def clock_s(self) -> float:
        return float(next(self._steps))

    def read_cpu(self, _pids: Iterable[int]) -> CpuSample | None:
        if self._share is None:
            return None
        self._ticks += 100.0
        return CpuSample(self._share * self._ticks, self._ticks, 0.0)


def verdicts(checkup: Checkup) -> dict[str, str]:
    return {finding.subject: finding.verdict for finding in checkup.findings}


async def test_a_bare_device_lacks_signals_and_is_well(pack: Pack, tmp_path: Path) -> None:
    port = free_port()
    async with embedded(port):
        checkup = await examine(settings_of(pack, port), Machine(tmp_path / "no", None).device)
    found = verdicts(checkup)
    assert checkup.healthy
    assert checkup.decision.allowed
    assert "idle priority" in checkup.decision.reason
    for subject in ("broker", "name", "model", "wait"):
        assert found[subject] == "ok"
    for subject in ("processor", "pressure", "temperature", "battery"):
        assert found[subject] == "absent"


async def test_a_device_with_every_signal(pack: Pack, tmp_path: Path) -> None:
    sys = tmp_path / "sys" / "class"
    trip: dict[str, str | int] = {"trip_point_0_type": "passive", "trip_point_0_temp": 85000}
    plant(sys / "thermal" / "thermal_zone0", {"type": "cpu", "temp": 51000, **trip})
    plant(sys / "thermal" / "thermal_zone1", {"type": "wifi", "temp": 48000})
    supply: dict[str, str | int] = {"type": "Battery", "status": "Discharging", "capacity": 64}
    plant(sys / "power_supply" / "BAT0", supply)
    plant(
        tmp_path / "proc",
        {
            "meminfo": "MemTotal: 2048000 kB\nMemAvailable: 1024000 kB",
            "pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=7",
            "pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=7",
        },
    )
    checkup = await examine(
        settings_of(pack, free_port(), quiet_hours=["22:00-07:00"], min_memory_mib=4000),
        Machine(tmp_path, 0.9).device,
    )
    texts = {finding.subject: finding.text for finding in checkup.findings}
    assert not checkup.healthy
    assert verdicts(checkup)["broker"] == "problem"
    assert texts["processor"] == "others use 90%"
    assert texts["temperature"] == (
        "cpu 51 °C of 80, wifi 48 °C without a limit (set max_temperature_c)"
    )
    assert texts["battery"] == "it is discharging, 64%"
    assert texts["memory"] == "1000 MiB are available"
    assert texts["pressure"].startswith("programs wait 0% of the time")
    assert texts["quiet hours"].startswith("22:00-07:00")
    assert "min_memory_mib 4000 can never be met" in texts["settings"]
    assert not checkup.decision.allowed
    assert checkup.decision.cause in ("battery", "quiet_hours")


async def test_a_model_that_cannot_be_served_is_a_problem(pack: Pack, tmp_path: Path) -> None:
    settings = settings_of(pack, free_port()).model_copy(update={"variant": "V9"})
    checkup = await examine(settings, Machine(tmp_path, 0.0).device)
    texts = {finding.subject: finding.text for finding in checkup.findings}
    assert verdicts(checkup)["model"] == "problem"
    assert "its pack says 64 pixels" in texts["model"]


@pytest.mark.mosquitto
async def test_a_node_at_work_is_found_and_described(pack: Pack, tmp_path: Path) -> None:
    port = free_port()
    settings = settings_of(pack, port)
    async with mosquitto(port):
        assert (await inquire(settings)).state is None
        async with hub(port) as home:
            async with node(settings.broker.url, pack, "--variant", "V1", "--always") as guest:
                await home.phase("working")
                found = await inquire(settings)
                assert (found.protocol, found.online, found.alive) == ("5", True, True)
                assert found.state is not None
                assert found.state.variant == "V1"
                checkup = await examine(settings, Machine(tmp_path, 0.0).device)
                texts = {finding.subject: finding.text for finding in checkup.findings}
                assert texts["name"] == f"a node named {NAME} is at work"
                guest.process.send_signal(signal.SIGSTOP)
                found = await inquire(settings)
                assert (found.online, found.alive) == (True, False)
                guest.process.send_signal(signal.SIGCONT)
            await until(lambda: home.statuses[-1] == "offline")
        found = await inquire(settings)
        assert (found.online, found.alive) == (False, False)


def test_the_command_says_everything_in_json_and_by_its_exit_code(
    pack: Pack, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = f"mqtt://127.0.0.1:{free_port()}"
    where = ["--name", NAME, "--broker", broker, "--pack", str(pack.path)]
    assert main(["doctor", *where, "--priority", "normal", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["healthy"] is False
    assert {finding["subject"] for finding in said["findings"]} >= {"broker", "model", "pause"}
    assert set(said["decision"]) == {"allowed", "reason", "cause"}
    assert said["decision"]["reason"]


def test_the_command_says_it_in_words(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    broker = f"mqtt://127.0.0.1:{free_port()}"
    where = ["--name", NAME, "--broker", broker, "--pack", str(pack.path), "--variant", "V1"]
    assert main(["doctor", *where, "--priority", "normal"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"broker {broker} cannot be reached" in lines[0]
    assert lines[0].startswith("problem  broker")
    assert lines[-1].startswith(("now it would run: ", "now it would not run: "))
