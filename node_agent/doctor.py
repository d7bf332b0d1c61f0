"""Examines a device: what it can read, reach and run, and what it would do now and why."""

import asyncio
import io
import random
from dataclasses import dataclass
from typing import Final, Literal

from broker.errors import BrokerError
from models.errors import ModelsError
from models.pack import Pack, load_pack
from node_agent.errors import WorkerError
from node_agent.governor import Decision, Governor
from node_agent.inquiry import inquire
from node_agent.model_keeper import Choice, load_request
from node_agent.objections import parts_with_limits
from node_agent.outlook import never_runs
from node_agent.pause import PauseClock, PauseKeeper
from node_agent.readers.pressure import WINDOW_S
from node_agent.readings import Battery, Readings
from node_agent.sensors import Device, Sensors
from node_agent.settings import NodeSettings
from node_agent.worker import Worker
from node_agent.worker_protocol import WorkerAnswer

Verdict = Literal["ok", "absent", "warning", "problem"]

_SAMPLE_S: Final = 0.25
# Who set a slow window of an hour does not want to wait for it here.
_MAX_OBSERVE_S: Final = 12.0
# At idle priority on a busy device the trial gets no processor time for as long as that lasts.
_TRIAL_BOUND_S: Final = 30.0
_PICTURE_SIZE: Final = (640, 480)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined.

    Attributes:
        verdict: `absent` is a signal that the device does not offer, or that could not be seen now;
            with a `warning` the node runs, but not as it should; with a `problem` it never will.
    """

    subject: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Checkup:
    """Everything that was found, and what the node would do now."""

    findings: tuple[Finding, ...]
    decision: Decision

    @property
    def healthy(self) -> bool:
        """Whether the node can run here as it is set, now or later."""
        return all(finding.verdict != "problem" for finding in self.findings)


async def examine(settings: NodeSettings, device: Device | None = None) -> Checkup:
    """Return what was found; it takes some seconds, most of them to see what others do."""
    device = device or Device()
    pause = PauseKeeper(settings.folder, PauseClock.of_this_device(device.root))
    sensors = Sensors(device, settings.governor, pause)
    async with asyncio.TaskGroup() as group:
        observed = group.create_task(_observe(sensors, settings, device))
        reached = group.create_task(_reach(settings))
    readings, decision = observed.result()
    findings = [
        *reached.result(),
        *await _run(settings),
        *_signals(readings, settings),
        *(Finding("settings", "problem", text) for text in never_runs(settings, sensors.slow)),
    ]
    return Checkup(tuple(findings), decision)


async def _observe(
    sensors: Sensors, settings: NodeSettings, device: Device
) -> tuple[Readings, Decision]:
    """Return the readings over the windows that count, and what the governor makes of them."""
    governor = settings.governor
    await sensors.refresh()
    until_s = device.clock_s() + min(_MAX_OBSERVE_S, max(governor.slow_window_s, WINDOW_S) + 0.5)
    while True:
        now_s = device.clock_s()
        readings = sensors.read((), now_s, resting=True)
        if now_s >= until_s:
            guest = Governor(governor.limits, random.Random(), always=governor.always)
            return readings, guest.decide(readings, now_s)
        await asyncio.sleep(_SAMPLE_S)


async def _reach(settings: NodeSettings) -> list[Finding]:
    try:
        found = await inquire(settings)
    except BrokerError as exc:
        return [Finding("broker", "problem", str(exc))]
    findings = [Finding("broker", "ok", f"{settings.broker.url}, MQTT {found.protocol}")]
    if not found.online:
        findings.append(Finding("name", "ok", f"{settings.name} is free"))
    elif found.alive:
        findings.append(Finding("name", "ok", f"a node named {settings.name} is at work"))
    else:
        text = f"a node named {settings.name} should be at work and does not answer"
        findings.append(Finding("name", "warning", text))
    return findings


async def _run(settings: NodeSettings) -> list[Finding]:
    """Run the owner's variant, or the largest, in a real worker at the real priority."""
    try:
        pack = load_pack(settings.pack)
        entry = (
            pack.variant(settings.variant)
            if settings.variant is not None
            else max(pack.manifest.variants, key=lambda variant: variant.macs)
        )
        answer, notes = await _trial(settings, pack, entry.name)
    except (ModelsError, WorkerError) as exc:
        return [Finding("model", "problem", str(exc))]
    except TimeoutError:
        text = f"it got no answer at priority {settings.worker.priority} in {_TRIAL_BOUND_S:g} s"
        return [Finding("model", "absent", f"{text}: the device is busy")]
    took_us = answer.decode_us + answer.inference_us
    text = f"{entry.name} of pack {pack.name} answers a picture in {took_us / 1000:.1f} ms"
    slowdown = max(1.0, took_us / max(answer.cpu_us, 1))
    return [
        Finding("model", "ok", text),
        Finding("wait", "ok", f"that is {slowdown:.1f} times the processor time it took"),
        *(Finding("priority", "warning", note) for note in notes),
    ]


async def _trial(
    settings: NodeSettings, pack: Pack, variant: str
) -> tuple[WorkerAnswer, tuple[str, ...]]:
    """Return a worker's answer to one picture, and what it could not do for its host."""
    request = load_request(Choice(pack, pack.variant(variant)), settings.worker.threads)
    jpeg = _picture()
    worker = Worker(settings.worker)
    await worker.spawn()
    watching = asyncio.create_task(worker.watch(), name="watch")
    try:
        async with asyncio.timeout(_TRIAL_BOUND_S):
            ready = await worker.load(request)
            await worker.classify(jpeg)  # the first one warms caches up
            return await worker.classify(jpeg), ready.notes
    finally:
        await worker.stop()
        await watching


def _picture() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", _PICTURE_SIZE, (127, 127, 127)).save(stream, "JPEG")
    return stream.getvalue()


def _signals(readings: Readings, settings: NodeSettings) -> list[Finding]:
    return [
        *_processor(readings),
        _pressure(readings),
        _memory(readings),
        _temperature(readings, settings),
        _battery(readings.battery),
        _user(readings, settings),
        _quiet_hours(readings, settings),
        Finding("pause", "ok", f"paused by hand {readings.pause}" if readings.pause else "none"),
    ]


def _processor(readings: Readings) -> list[Finding]:
    cpu = readings.foreign_cpu
    if cpu is None or cpu.slow_share is None:
        text = "what others use cannot be read here (Android hides it); idle priority must do"
        return [Finding("processor", "absent", text)]
    findings = [Finding("processor", "ok", f"others use {cpu.slow_share:.0%}")]
    if cpu.core_slow_share is None:
        findings.append(Finding("busiest core", "absent", "the cores are not told apart here"))
    else:
        text = f"others use {cpu.core_slow_share:.0%}"
        findings.append(Finding("busiest core", "ok", text))
    return findings


def _pressure(readings: Readings) -> Finding:
    pressure = readings.pressure
    if pressure is None:
        return Finding("pressure", "absent", "no /proc/pressure: the kernel needs psi=1")
    memory = "" if pressure.memory is None else f", {pressure.memory:.0%} for memory"
    return Finding(
        "pressure", "ok", f"programs wait {pressure.cpu:.0%} of the time for the processor{memory}"
    )


def _memory(readings: Readings) -> Finding:
    available = readings.memory_available_mib
    if available is None:
        return Finding("memory", "absent", "the device does not tell")
    return Finding("memory", "ok", f"{available:.0f} MiB are available")


def _temperature(readings: Readings, settings: NodeSettings) -> Finding:
    if not readings.zones:
        return Finding("temperature", "absent", "no thermal zone can be read here")
    limited = parts_with_limits(readings, settings.governor.limits)
    known = [f"{name} {celsius:.0f} °C of {limit:.0f}" for name, celsius, limit in limited]
    names = {name for name, _, _ in limited}
    known += [
        f"{zone.name} {zone.celsius:.0f} °C without a limit (set max_temperature_c)"
        for zone in readings.zones
        if zone.name not in names
    ]
    return Finding("temperature", "ok", ", ".join(known))


def _battery(battery: Battery | None) -> Finding:
    if battery is None:
        return Finding("battery", "absent", "the device has none")
    parts = ["it is discharging" if battery.discharging else "it is not discharging"]
    if battery.level is not None:
        parts.append(f"{battery.level:.0%}")
    if battery.celsius is not None:
        parts.append(f"{battery.celsius:.0f} °C")
    return Finding("battery", "ok", ", ".join(parts))


def _user(readings: Readings, settings: NodeSettings) -> Finding:
    if settings.governor.while_user_active:
        return Finding("user", "ok", "not asked for: it may run while somebody uses the device")
    if readings.user_active is None:
        return Finding("user", "absent", "systemd-logind does not answer here")
    return Finding("user", "ok", "in use" if readings.user_active else "not in use")


def _quiet_hours(readings: Readings, settings: NodeSettings) -> Finding:
    spans = ", ".join(settings.governor.quiet_hours) or "none"
    return Finding("quiet hours", "ok", f"{spans}; now" if readings.quiet else spans)
