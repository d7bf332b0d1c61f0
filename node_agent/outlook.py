"""Whether a node could ever run on this very device, as its owner set it."""

from node_agent.governor_settings import COOLEST_C
from node_agent.objections import MEMORY_HYSTERESIS
from node_agent.sensors import SlowReadings
from node_agent.settings import NodeSettings


def never_runs(settings: NodeSettings, slow: SlowReadings) -> list[str]:
    """Return why the node would wait for ever here, one sentence each; nothing if it would not."""
    governor = settings.governor
    found = []
    needed_mib = governor.min_memory_mib * MEMORY_HYSTERESIS
    if not governor.always and slow.memory is not None and slow.memory.total_mib < needed_mib:
        found.append(
            f"min_memory_mib {governor.min_memory_mib:g} can never be met: it starts with "
            f"{needed_mib:.0f} MiB available, and the device has {slow.memory.total_mib:.0f} in all"
        )
    for zone in slow.zones:
        if zone.trip_c is None:
            continue
        resumes_c = zone.trip_c - governor.trip_margin_c - governor.temperature_hysteresis_c
        if resumes_c < COOLEST_C:
            found.append(
                f"{zone.name} slows the device down at {zone.trip_c:.0f} °C, so the node would "
                f"wait until it is at {resumes_c:.0f} °C: lower trip_margin_c or "
                "temperature_hysteresis_c"
            )
    return found
