"""What the device says about itself, as values; None is a signal that it does not offer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForeignCpu:
    """What other programs use of the processor; None while the window is still too short.

    Attributes:
        fast_share: of the whole machine, averaged over the fast window, in [0, 1].
        slow_share: the same over the slow window.
        core_fast_share: of the busiest core, fast window; None also where cores are not told apart.
        core_slow_share: the same over the slow window.
    """

    fast_share: float | None
    slow_share: float | None
    core_fast_share: float | None = None
    core_slow_share: float | None = None


@dataclass(frozen=True, slots=True)
class Pressure:
    """Share of the time in which some program had to wait, in [0, 1] (PSI `some`).

    Attributes:
        cpu: for the processor.
        memory: for memory that was paged out; None where the kernel does not count it.
    """

    cpu: float
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Zone:
    """One thermal zone.

    Attributes:
        name: the kernel's word for it, such as `cpu-thermal`.
        celsius: its temperature.
        trip_c: where the device begins to slow itself down; None where it does not say.
        is_battery: whether it is a battery's, which age from heat that a processor never minds.
    """

    name: str
    celsius: float
    trip_c: float | None = None
    is_battery: bool = False


@dataclass(frozen=True, slots=True)
class Battery:
    """All batteries that feed the device, as one.

    Attributes:
        discharging: whether the device lives on it now.
        level: charge in [0, 1]; None where it does not say.
        celsius: the warmest one's temperature; None where none says.
    """

    discharging: bool
    level: float | None = None
    celsius: float | None = None


@dataclass(frozen=True, slots=True)
class InferenceWait:
    """How long the last inferences were kept waiting.

    Attributes:
        slowdown: their time by the clock over the processor time they got, from 1.
        waited_ms: the difference of the two.
    """

    slowdown: float
    waited_ms: float


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that the decision looks at.

    Attributes:
        pressure: only while the guest itself rests; its own threads would count.
        quiet: the owner's quiet hours that it is now, as the settings write them.
        pause: until when the owner paused the guest by hand, in words.
    """

    foreign_cpu: ForeignCpu | None = None
    pressure: Pressure | None = None
    wait: InferenceWait | None = None
    memory_available_mib: float | None = None
    zones: tuple[Zone, ...] = ()
    battery: Battery | None = None
    user_active: bool | None = None
    quiet: str | None = None
    pause: str | None = None
