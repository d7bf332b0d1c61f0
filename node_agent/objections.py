"""What speaks against running, one rule for each signal.

A rule knows two limits: a running guest stops at one, a resting guest starts only below another,
lower one, so that a reading that stands at the limit does not make it flap. A signal that the
device does not offer objects to nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from node_agent.readings import Readings

Cause = Literal[
    "pause", "quiet_hours", "user", "battery", "temperature", "memory", "cpu", "core", "wait",
    "pressure", "hold_off",
]  # fmt: skip

# A charge moves by single percents; a device at the limit should not start with each of them.
LEVEL_HYSTERESIS: Final = 0.05
# Memory must be freer by this factor before the guest comes back.
MEMORY_HYSTERESIS: Final = 1.25
# Below it a wait is the scheduler's own grain (a time slice or two), whatever the ratio.
LEAST_WAIT_MS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When to start and when to stop; `GovernorSettings` says what each is for.

    Shares are in [0, 1]. `max_temperature_c` None means that each zone's own trip point counts
    alone.
    """

    start_share: float
    stop_share: float
    core_start_share: float
    core_stop_share: float
    max_pressure: float
    max_memory_pressure: float
    max_slowdown: float
    min_memory_mib: float
    trip_margin_c: float
    max_temperature_c: float | None
    max_battery_c: float
    temperature_hysteresis_c: float
    on_battery: bool
    min_battery: float
    while_user_active: bool
    hold_off_s: float
    jitter: float


@dataclass(frozen=True, slots=True)
class Objection:
    """Why the guest must not run: the signal, and one sentence for the device's owner."""

    cause: Cause
    reason: str


Rule = Callable[[Readings, Limits, bool], Objection | None]


def first_objection(readings: Readings, limits: Limits, *, running: bool) -> Objection | None:
    """Return what speaks against running, the owner's own word first; None if nothing does.

    Args:
        readings: what the device says now.
        limits: the owner's.
        running: whether the guest runs and must stop, or rests and may not start.
    """
    return _first(_RULES, readings, limits, running)


def first_objection_to_always(
    readings: Readings, limits: Limits, *, running: bool
) -> Objection | None:
    """Return the same for a guest that runs always: only the owner's pause and heat stop it."""
    return _first(_RULES_OF_ALWAYS, readings, limits, running)


def parts_with_limits(readings: Readings, limits: Limits) -> list[tuple[str, float, float]]:
    """Return (name, temperature, limit) of every part whose temperature has a limit, in °C."""
    parts: list[tuple[str, float, float]] = []
    for zone in readings.zones:
        found = [limits.max_temperature_c] if limits.max_temperature_c is not None else []
        if zone.is_battery:
            found.append(limits.max_battery_c)
        if zone.trip_c is not None:
            found.append(zone.trip_c - limits.trip_margin_c)
        if found:
            parts.append((zone.name, zone.celsius, min(found)))
    battery = readings.battery
    if battery is not None and battery.celsius is not None:
        parts.append(("battery", battery.celsius, limits.max_battery_c))
    return parts


def _first(
    rules: tuple[Rule, ...], readings: Readings, limits: Limits, running: bool
) -> Objection | None:
    for rule in rules:
        if (objection := rule(readings, limits, running)) is not None:
            return objection
    return None


def _pause(readings: Readings, _limits: Limits, _running: bool) -> Objection | None:
    if readings.pause is None:
        return None
    return Objection("pause", f"paused by hand {readings.pause}")


def _quiet_hours(readings: Readings, _limits: Limits, _running: bool) -> Objection | None:
    if readings.quiet is None:
        return None
    return Objection("quiet_hours", f"quiet hours ({readings.quiet})")


def _user(readings: Readings, limits: Limits, _running: bool) -> Objection | None:
    if limits.while_user_active or not readings.user_active:
        return None
    return Objection("user", "somebody is using the device")


def _battery(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    battery = readings.battery
    if battery is None:
        return None
    if battery.discharging and not limits.on_battery:
        return Objection("battery", "the device runs on its battery")
    needed = limits.min_battery
    if needed > 0 and not running:
        needed = min(1.0, needed + LEVEL_HYSTERESIS)
    if battery.level is None or battery.level >= needed:
        return None
    return Objection(
        "battery", f"the battery is at {battery.level:.0%}; it should first have {needed:.0%}"
    )


def _temperature(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    allowance_c = 0.0 if running else limits.temperature_hysteresis_c
    for name, celsius, limit_c in parts_with_limits(readings, limits):
        if celsius >= limit_c:
            return Objection(
                "temperature", f"{name} is at {celsius:.0f} °C, {limit_c:.0f} °C is too warm"
            )
        if celsius > limit_c - allowance_c:
            cool_c = limit_c - allowance_c
            return Objection("temperature", f"waiting until {name} has cooled to {cool_c:.0f} °C")
    return None


def _memory(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    available = readings.memory_available_mib
    needed = limits.min_memory_mib * (1.0 if running else MEMORY_HYSTERESIS)
    if available is None or available >= needed:
        return None
    return Objection(
        "memory", f"only {available:.0f} MiB of memory are available, {needed:.0f} are wanted"
    )


def _cpu(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    cpu = readings.foreign_cpu
    if cpu is None:
        return None
    if cpu.fast_share is not None and cpu.fast_share > limits.stop_share and running:
        return Objection(
            "cpu",
            f"other programs use {cpu.fast_share:.0%} of the processor, "
            f"more than {limits.stop_share:.0%}",
        )
    if running:
        return None
    if cpu.fast_share is None or cpu.slow_share is None:
        return Objection("cpu", "measuring first what other programs use of the processor")
    # A burst in the last half second counts even where two quiet seconds dilute it.
    if cpu.fast_share > limits.stop_share or cpu.slow_share > limits.start_share:
        return Objection(
            "cpu",
            f"waiting until other programs use at most {limits.start_share:.0%} of the processor",
        )
    return None


def _core(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    cpu = readings.foreign_cpu
    if cpu is None or cpu.core_fast_share is None or cpu.core_slow_share is None:
        return None
    burst = cpu.core_fast_share > limits.core_stop_share
    if running:
        return _busy_core(cpu.core_fast_share, limits.core_stop_share) if burst else None
    if burst or cpu.core_slow_share > limits.core_start_share:
        return Objection(
            "core",
            "waiting until other programs use at most "
            f"{limits.core_start_share:.0%} of the busiest core",
        )
    return None


def _busy_core(share: float, limit: float) -> Objection:
    return Objection("core", f"other programs use {share:.0%} of one core, more than {limit:.0%}")


def _wait(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    wait = readings.wait
    if not running or wait is None or wait.waited_ms < LEAST_WAIT_MS:
        return None
    if wait.slowdown <= limits.max_slowdown:
        return None
    return Objection(
        "wait",
        f"the last inferences took {wait.slowdown:.1f} times their processor time: "
        "somebody else wants the processor",
    )


def _pressure(readings: Readings, limits: Limits, running: bool) -> Objection | None:
    pressure = readings.pressure
    if running or pressure is None:
        return None
    if pressure.cpu > limits.max_pressure:
        what, share, limit = "the processor", pressure.cpu, limits.max_pressure
    elif pressure.memory is not None and pressure.memory > limits.max_memory_pressure:
        what, share, limit = "memory", pressure.memory, limits.max_memory_pressure
    else:
        return None
    return Objection(
        "pressure",
        f"programs here wait for {what} {share:.0%} of the time, more than {limit:.0%}",
    )


# In the order in which an owner would want to hear of them: what only they can change comes first.
_RULES: Final[tuple[Rule, ...]] = (
    _pause, _quiet_hours, _user, _battery, _temperature, _memory, _cpu, _core, _wait, _pressure,
)  # fmt: skip
_RULES_OF_ALWAYS: Final[tuple[Rule, ...]] = (_pause, _temperature)
