"""The planner against simpler ways to assign variants, over many random homes.

Homes are drawn with a seed; what a planner knows of one is what a gateway would: the times of the
one variant that each node has run, and the share of some frames that it answered. What is reported
is what then truly happens, as exact expectations by the true times and chances.

    python -m benchmarks.assignment_simulation --homes 1000
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row
from gateway.planner import Seat, Task, make_plan, value
from gateway.speed import UNMEASURED_FACTOR, Times
from models.ensemble_accuracy import FURTHER_VARIANT_REMOVES

HOMES = 1000
SEED = 1
MOST_NODES = 12
# Of V1 at the 95th percentile: from a PC to an old phone, two orders of magnitude.
V1_MS = (4.0, 400.0)
# Part of that is no arithmetic (decoding, memory): a larger variant costs less than its MACs say.
FIXED_SHARE = (0.0, 0.4)
DEADLINE_MS = (50.0, 2000.0)
# From devices that are mostly somebody's to those that stand idle day and night.
CHANCE = (0.2, 0.99)
# How far a time is off that a gateway has measured, as a factor (standard deviation of its log).
NOISE = 0.1
# Frames by which a gateway knows a node's chance.
FRAMES = 100
# p95 over p50.
SPREAD = 1.4
LARGE_HOME = 20
TARGET_MS = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Variants, and what they get right.

    Attributes:
        title: for the report.
        macs: of each variant, millions, by its name.
        accuracies: shape (2^V,), as `models.ensemble_accuracy.accuracy_table` has them.
    """

    title: str
    macs: Mapping[str, float]
    accuracies: np.ndarray[tuple[int], np.dtype[np.float64]]

    @property
    def names(self) -> tuple[str, ...]:
        """The variants, by rising cost."""
        return tuple(self.macs)

    @property
    def task(self) -> Task:
        """What plans are measured against, with one deadline."""
        return Task(self.names, self.accuracies, np.ones(1))


@dataclass(frozen=True, slots=True)
class Device:
    """A node as it truly is, and as a gateway sees it.

    Attributes:
        times: of each variant.
        chance: that it answers at all.
        seen_times: what a gateway expects of each variant.
        seen_chance: likewise.
    """

    times: Mapping[str, Times]
    chance: float
    seen_times: Mapping[str, Times]
    seen_chance: float


@dataclass(frozen=True, slots=True)
class Home:
    """Nodes by name, and how long answers are waited for."""

    devices: Mapping[str, Device]
    deadline_ms: float

    def seats(self, *, seen: bool) -> list[Seat]:
        """Return the nodes with their chances of answering in time, true or as seen."""
        seats = []
        for node, device in self.devices.items():
            times, chance = device.times, device.chance
            if seen:
                times, chance = device.seen_times, device.seen_chance
            chances = {
                name: (chance * one.chance(self.deadline_ms),) for name, one in times.items()
            }
            seats.append(Seat(node, chances))
        return seats


Way = Callable[[Home, Family, random.Random], Mapping[str, str]]


@dataclass(slots=True)
class Tally:
    """What one way of assigning reached, a figure a home."""

    accuracies: list[float] = field(default_factory=list)
    misses: list[float] = field(default_factory=list)


def cifar10() -> Family:
    """Return the pack cifar10: all sets measured on the 10,000 test pictures (its README.md)."""
    alone_and_together = {
        "V1": 0.8943, "V2": 0.9182, "V3": 0.9306, "V1 V2": 0.9206, "V1 V3": 0.9317,
        "V2 V3": 0.9324, "V1 V2 V3": 0.9324,
    }  # fmt: skip
    macs = {"V1": 9.6, "V2": 17.2, "V3": 27.1}
    table = np.zeros(8)
    for subset, accuracy in alone_and_together.items():
        table[sum(1 << list(macs).index(name) for name in subset.split())] = accuracy
    return Family("cifar10, V1–V3, all sets measured", macs, table)


def food101() -> Family:
    """Return the paper's seven variants: Table VI alone, and an assumption for the sets."""
    alone = (0.5878, 0.6535, 0.7013, 0.7143, 0.7423, 0.7464, 0.7579)
    macs = dict(zip((f"V{i}" for i in range(1, 8)), (10, 17, 27, 40, 54, 71, 112), strict=True))
    table = np.zeros(1 << len(alone))
    for size in range(1, len(alone) + 1):
        for members in combinations(range(len(alone)), size):
            best = max(alone[member] for member in members)
            errors = (1 - best) * (1 - FURTHER_VARIANT_REMOVES) ** (size - 1)
            table[sum(1 << member for member in members)] = 1 - errors
    return Family("Food-101, V1–V7, sets assumed", macs, table)


def draw_home(family: Family, rng: random.Random, nodes: int | None = None) -> Home:
    """Return a home; each of its nodes has run one variant so far."""
    count = rng.randint(1, MOST_NODES) if nodes is None else nodes
    devices = {f"n{number:02}": _draw_device(family, rng) for number in range(count)}
    return Home(devices, _log_uniform(rng, *DEADLINE_MS))


def by_plan(home: Home, family: Family, _: random.Random) -> Mapping[str, str]:
    """Assign as the gateway does."""
    return make_plan(home.seats(seen=True), family.task).variants


def at_random(home: Home, family: Family, rng: random.Random) -> Mapping[str, str]:
    """Assign any variant to any node."""
    return {node: rng.choice(family.names) for node in home.devices}


def largest_that_fits(home: Home, family: Family, _: random.Random) -> Mapping[str, str]:
    """Assign the largest variant whose p95, as a gateway sees it, is within the deadline."""
    plan = {}
    for node, device in home.devices.items():
        fits = [name for name in family.names if device.seen_times[name].p95_ms <= home.deadline_ms]
        plan[node] = fits[-1] if fits else family.names[0]
    return plan


def fixed(home: Home, family: Family, _: random.Random) -> Mapping[str, str]:
    """Assign as the paper does: node i runs V_i, beginning again after the last."""
    names = family.names
    return {node: names[place % len(names)] for place, node in enumerate(home.devices)}


def knowing_all(home: Home, family: Family, _: random.Random) -> Mapping[str, str]:
    """Assign as the planner would if it knew the true times and chances."""
    return make_plan(home.seats(seen=False), family.task).variants


WAYS: dict[str, Way] = {
    "planner": by_plan,
    "largest that fits": largest_that_fits,
    "fixed (paper)": fixed,
    "random": at_random,
    "planner that knows all": knowing_all,
}


def simulate(family: Family, homes: int, seed: int) -> dict[str, Tally]:
    """Return what each way reaches in the same random homes."""
    rng = random.Random(seed)
    tallies = {way: Tally() for way in WAYS}
    for _ in range(homes):
        home = draw_home(family, rng)
        truth = home.seats(seen=False)
        for way, assign in WAYS.items():
            reached = value(truth, family.task, assign(home, family, rng))
            tallies[way].accuracies.append(reached.accuracy)
            tallies[way].misses.append(1 - reached.answered)
    return tallies


def assignment(homes: int = 200) -> list[Row]:
    """Measure the planner against the best of the simpler ways, and how long a plan takes."""
    rows = []
    for family in (cifar10(), food101()):
        tallies = simulate(family, homes, SEED)
        means = {way: float(np.mean(tally.accuracies)) for way, tally in tallies.items()}
        planner = means["planner"]
        peer = max(("largest that fits", "fixed (paper)", "random"), key=lambda way: means[way])
        rows.append(
            Row(
                f"expected accuracy, {homes} random homes, {family.title}",
                f"{100 * planner:.2f} %",
                "≥ the best peer",
                planner >= means[peer],
                f"{peer} {100 * means[peer]:.2f} %",
            )
        )
    took_ms = plan_time_ms()
    rows.append(
        Row(
            f"plan for {LARGE_HOME} nodes, 7 variants, CPU time, median",
            f"{took_ms:.1f} ms",
            f"≤ {TARGET_MS:g} ms",
            took_ms <= TARGET_MS,
        )
    )
    return rows


def plan_time_ms(repeats: int = 15) -> float:
    """Return the processor time of a plan for a large home, median over random ones."""
    family, rng = food101(), random.Random(SEED)
    times_ms = []
    for _ in range(repeats):
        seats = draw_home(family, rng, LARGE_HOME).seats(seen=True)
        began_s = time.process_time()
        make_plan(seats, family.task)
        times_ms.append(1000 * (time.process_time() - began_s))
    return float(np.median(times_ms))


def main(argv: Sequence[str] | None = None) -> int:
    """Print what each way reaches."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--homes", type=int, default=HOMES, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="of the homes (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    if arguments.homes < 1:
        parser.error("--homes must be at least 1")
    for family in (cifar10(), food101()):
        _show(family, simulate(family, arguments.homes, arguments.seed))
    print(
        f"a plan for {LARGE_HOME} nodes and 7 variants: {plan_time_ms():.1f} ms CPU time (median)"
    )
    return 0


def _show(family: Family, tallies: Mapping[str, Tally]) -> None:
    table = Table(title=family.title)
    for column in ("assigned by", "accuracy", "5th percentile", "no answer", "95th percentile"):
        table.add_column(column)
    for way, tally in tallies.items():
        table.add_row(
            way,
            f"{100 * np.mean(tally.accuracies):.2f} %",
            f"{100 * np.percentile(tally.accuracies, 5):.2f} %",
            f"{100 * np.mean(tally.misses):.2f} %",
            f"{100 * np.percentile(tally.misses, 95):.2f} %",
        )
    Console().print(table)


def _draw_device(family: Family, rng: random.Random) -> Device:
    smallest = family.names[0]
    v1_ms, fixed_share = _log_uniform(rng, *V1_MS), rng.uniform(*FIXED_SHARE)
    times = {}
    for name, macs in family.macs.items():
        cost = fixed_share + (1 - fixed_share) * macs / family.macs[smallest]
        times[name] = Times(v1_ms * cost / SPREAD, v1_ms * cost)
    ran = rng.choice(family.names)
    measured = times[ran].scaled(math.exp(rng.gauss(0, NOISE)), measured=True)
    seen_times = {
        name: measured
        if name == ran
        else measured.scaled(UNMEASURED_FACTOR * macs / family.macs[ran], measured=False)
        for name, macs in family.macs.items()
    }
    chance = rng.uniform(*CHANCE)
    answered = sum(rng.random() < chance for _ in range(FRAMES)) / FRAMES
    return Device(times, chance, seen_times, answered)


def _log_uniform(rng: random.Random, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))


if __name__ == "__main__":
    sys.exit(main())
