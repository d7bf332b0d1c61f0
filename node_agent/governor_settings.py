"""When the guest starts and stops: every threshold, three presets, and what can never run."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import tzinfo
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from node_agent.objections import Limits
from node_agent.quiet_hours import QuietSpan, cover_the_week, parse_span

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Celsius = Annotated[float, Field(ge=0, le=150)]

# A device that runs is warmer than the room it stands in: below this it would wait for ever.
COOLEST_C: Final = 25.0
# No running system leaves its processor alone for two seconds.
LEAST_SHARE: Final = 0.01

# What differs from `polite`, whose values are the fields' own defaults.
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "generous": {
            "start_share": 0.50,
            "stop_share": 0.80,
            "core_start_share": 1.0,
            "core_stop_share": 1.0,
            "hold_off_s": 2.0,
            "max_pressure": 0.5,
            "max_memory_pressure": 0.2,
            "max_slowdown": 8.0,
            "min_memory_mib": 64.0,
            "trip_margin_c": 0.0,
            "max_battery_c": 45.0,
            "on_battery": True,
            "min_battery": 0.5,
        },
        "polite": {},
        "strict": {
            "start_share": 0.10,
            "stop_share": 0.25,
            "core_start_share": 0.25,
            "core_stop_share": 0.50,
            "slow_window_s": 10.0,
            "hold_off_s": 30.0,
            "max_pressure": 0.1,
            "max_memory_pressure": 0.02,
            "max_slowdown": 1.5,
            "min_memory_mib": 256.0,
            "trip_margin_c": 15.0,
            "max_battery_c": 38.0,
            "min_battery": 0.8,
            "while_user_active": False,
        },
    }
)


class GovernorSettings(BaseModel):
    """When the guest starts and stops.

    The starting values are far quicker than those of volunteer computing (BOINC asks every 10 s,
    HTCondor waits minutes): one inference takes milliseconds, so little is lost by starting.

    Attributes:
        preset: where the values come from that are not given: generous, polite or strict.
        always: run whatever else the device does, unless paused by hand or too warm.
        start_share: may start at this foreign CPU share or less, averaged over the slow window.
        stop_share: stops above this share, averaged over the fast window.
        core_start_share: the same for the busiest core.
        core_stop_share: the same for the busiest core; 1 lets one busy core be.
        fast_window_s: long enough for a share (50 ticks a core), short enough to be gone soon.
        slow_window_s: what must have been quiet before it starts.
        hold_off_s: shortest time between a stop and the next start.
        jitter: fraction by which each hold-off may be longer.
        max_pressure: does not start while programs wait for the processor this share of the time.
        max_memory_pressure: does not start while they wait for memory this share of the time.
        max_slowdown: stops when inferences take this many times their processor time.
        min_memory_mib: stops when less memory is available.
        trip_margin_c: stops this far below the point where the device slows itself down.
        max_temperature_c: stops when any thermal zone is this warm; unset: their own points only.
        max_battery_c: stops when a battery is this warm.
        temperature_hysteresis_c: starts again only when so much cooler.
        on_battery: may run while the battery discharges.
        min_battery: does not run below this charge, in [0, 1].
        while_user_active: may run while somebody uses the device (as systemd-logind knows).
        quiet_hours: local times in which it rests, such as `22:00-07:00`, `Mon-Fri 08:00-17:00`.
        timezone: the name of the zone they are in, such as `Europe/Berlin`; unset: the device's.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    preset: Literal["generous", "polite", "strict"] = "polite"
    always: bool = False
    start_share: Share = 0.25
    stop_share: Share = 0.50
    core_start_share: Share = 0.60
    core_stop_share: Share = 0.90
    fast_window_s: Seconds = 0.5
    slow_window_s: Seconds = 2.0
    hold_off_s: Seconds = 5.0
    jitter: Annotated[float, Field(ge=0, le=10)] = 0.4
    max_pressure: Share = 0.25
    max_memory_pressure: Share = 0.10
    max_slowdown: Annotated[float, Field(le=1000)] = 3.0
    min_memory_mib: Annotated[float, Field(ge=0, le=2**20)] = 128.0
    trip_margin_c: Annotated[float, Field(ge=0, le=100)] = 5.0
    max_temperature_c: Celsius | None = None
    max_battery_c: Celsius = 40.0
    temperature_hysteresis_c: Annotated[float, Field(ge=0, le=50)] = 5.0
    on_battery: bool = False
    min_battery: Share = 0.2
    while_user_active: bool = True
    quiet_hours: tuple[str, ...] = Field(default=(), max_length=64)
    timezone: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _begin_with_the_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = given.get("preset", "polite")
        return {**(PRESETS.get(preset, {}) if isinstance(preset, str) else {}), **given}

    @field_validator("quiet_hours")
    @classmethod
    def _leave_some_time(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if cover_the_week(tuple(parse_span(text) for text in texts)):
            msg = "they cover the whole week, so the node could never run"
            raise ValueError(msg)
        return texts

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (OSError, ValueError, KeyError) as exc:  # not found is a KeyError
                raise ValueError(_unknown_zone(name)) from exc
        return name

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self

    @property
    def limits(self) -> Limits:
        """The limits for the pure decision."""
        return Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})

    @property
    def quiet_spans(self) -> tuple[QuietSpan, ...]:
        """The quiet hours, parsed."""
        return tuple(parse_span(text) for text in self.quiet_hours)

    @property
    def zone(self) -> tzinfo | None:
        """The zone of the quiet hours; None is the device's own."""
        return None if self.timezone is None else ZoneInfo(self.timezone)


def _contradictions(settings: GovernorSettings) -> list[str]:
    """Return why the guest could never run, or never stay running; nothing if it can."""
    found = []
    if settings.start_share > settings.stop_share:
        found.append("start_share must not be above stop_share: it would stop as soon as it starts")
    if settings.core_start_share > settings.core_stop_share:
        found.append(
            "core_start_share must not be above core_stop_share: it would stop as soon as it starts"
        )
    found += [
        f"{name} below {LEAST_SHARE:g} can never be met: no system leaves its processor quite alone"
        for name in ("start_share", "core_start_share", "max_pressure")
        if getattr(settings, name) < LEAST_SHARE
    ]
    if settings.fast_window_s > settings.slow_window_s:
        found.append("fast_window_s must not be longer than slow_window_s")
    if settings.max_slowdown < 1.1:
        found.append(
            "max_slowdown below 1.1 can never be met: an inference takes its processor time"
        )
    for name in ("max_temperature_c", "max_battery_c"):
        limit_c = getattr(settings, name)
        if limit_c is not None and limit_c - settings.temperature_hysteresis_c < COOLEST_C:
            found.append(
                f"{name} {limit_c:g} can never be met: it starts again only "
                f"{settings.temperature_hysteresis_c:g} °C below it, and a device that runs does "
                f"not cool below {COOLEST_C:g} °C"
            )
    return found


def _unknown_zone(name: str) -> str:
    return (
        f"the time zone {name[:60]!r} is not known here: write a name such as Europe/Berlin, "
        "leave it out for the device's own, or install tzdata"
    )
