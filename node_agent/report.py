"""A node's state in words, for `idlesight-node status`."""

from broker.payloads import NodeState, OwnerReport
from node_agent.inquiry import Inquiry

_LABEL_WIDTH = 13


def status_lines(name: str, found: Inquiry) -> list[str]:
    """Return what is known of a node, a line for each subject."""
    state = found.state
    if state is None:
        return [f"{name}: the broker knows no node of this name"]
    presence = "online" if found.online else "offline"
    if found.online and not found.alive:
        presence = "does not answer"
    phase = state.state if found.online else f"was {state.state}"
    lines = [f"{name}: {phase} ({presence})"]
    subjects = {
        "reason": state.reason,
        "variant": _variant(state),
        "others use": _others(state),
        "device": _device(state),
        "frames": _frames(state),
        "owner gave": _owner(state.owner),
        "program": f"idlesight {state.version}{_since(state.up_s)}",
    }
    lines += [f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in subjects.items() if text]
    return lines


def _variant(state: NodeState) -> str:
    if state.variant is None:
        return f"none; pack {state.pack} offers {', '.join(state.variants)}" if state.pack else ""
    times = ""
    if state.inference_ms_p50 is not None and state.inference_ms_p95 is not None:
        times = (
            f", a picture takes {state.inference_ms_p50:.1f} ms "
            f"({state.inference_ms_p95:.1f} ms at p95)"
        )
    return f"{state.variant} of pack {state.pack}{times}"


def _others(state: NodeState) -> str:
    if state.foreign_cpu is None:
        return "what the device does not tell"
    core = state.foreign_cpu_core
    busiest = "" if core is None else f", {core:.0%} of its busiest core"
    return f"{state.foreign_cpu:.0%} of the processor{busiest}"


def _device(state: NodeState) -> str:
    parts = []
    if state.temperature_c is not None:
        parts.append(f"{state.temperature_c:.0f} °C")
    if state.battery_discharging is not None:
        level = "" if state.battery is None else f" at {state.battery:.0%}"
        feeding = "is in use" if state.battery_discharging else "is not in use"
        parts.append(f"battery{level} {feeding}")
    if state.memory_available_mib is not None:
        parts.append(f"{state.memory_available_mib:.0f} MiB of memory available")
    return ", ".join(parts)


def _frames(state: NodeState) -> str:
    counts = state.counts
    return (
        f"{counts.frames} came, {counts.answered} answered, {counts.skipped} skipped, "
        f"{counts.evicted} overtaken by a newer one, {counts.dropped} not usable"
    )


def _owner(owner: OwnerReport | None) -> str:
    if owner is None or owner.cpu_s is None:
        return ""
    share = "" if owner.idle_share is None else f", {owner.idle_share:.2%} of what was idle"
    stopped = f"; it stopped {owner.yields} times for others"
    if owner.yield_ms_max is not None:
        stopped += f", nothing ran {owner.yield_ms_max:.0f} ms after the decision at the latest"
    return f"{owner.cpu_s:.1f} s of processor time{share}{stopped}"


def _since(up_s: float | None) -> str:
    if up_s is None:
        return ""
    minutes, seconds = divmod(round(up_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min"]
    words = " ".join(part for part in parts if part) if minutes or hours or days else f"{seconds} s"
    return f", at work for {words}"
