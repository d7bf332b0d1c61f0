"""Which node runs which variant, so that most frames are answered rightly by their deadline.

Pure: the nodes' chances and the pack's accuracies come in, a plan comes out. Nodes are taken to
answer or not independently of each other; a variant has answered when any node that runs it has,
and a second copy of it adds safety, not accuracy, as in the collector. So for each variant v the
chance of silence is s_v = Π (1 − q) over its nodes, and the expected accuracy

    E = Σ over sets S of variants: accuracy(S) · Π_{v in S} (1 − s_v) · Π_{v not in S} s_v

with accuracy(∅) = 0. Small homes are solved exactly, by looking at every plan; larger ones by
greedy construction and exchange.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

# A node that changes its variant is silent while the new one loads, and its figures are noisy:
# half a point of accuracy is what each change must bring. It is multiplied by the node's chance as
# it is, because one whose answers come too late has nothing to lose; the floor stops those that
# never answer from wandering.
CHANGE_COST = 0.005
LEAST_CHANCE_LOST = 0.02

# Chances are estimates, so a node that answers in time is a reserve even where others already make
# the answer as good as certain.
RESERVE_VALUE = 0.001

# Plans that are looked at one by one: at most so many, and so many numbers at once (8 MiB).
MAX_PLANS = 20_000
MAX_NUMBERS = 1 << 20

# Exchanges of two nodes' variants are tried up to so many nodes; all those of 32 nodes are 496.
MAX_EXCHANGED = 32
MAX_ROUNDS = 200

# Plans closer than this are equal: the order of additions decides about less.
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True)
class Seat:
    """A node that is to be given a variant.

    Attributes:
        node: its name.
        chances: for each variant that it may be given, its chance of answering in time at each of
            the deadlines; for one whose owner chose, that variant alone.
        holds: the variant it runs or was given, None for none yet.
    """

    node: str
    chances: Mapping[str, Sequence[float]]
    holds: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Who runs what, and what may be expected of it.

    Attributes:
        variants: the variant of each node that can run one.
        accuracy: the share of frames that get a right answer by their deadline.
        answered: the share of frames that get any answer by their deadline.
    """

    variants: Mapping[str, str]
    accuracy: float
    answered: float


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What plans are measured against.

    Attributes:
        names: the variants that may be given, V of them.
        accuracies: shape (2^V,), see `models.ensemble_accuracy.accuracy_table`.
        weights: the share of the frames that has each deadline, D of them.
    """

    names: tuple[str, ...]
    accuracies: Floats
    weights: Floats


def make_plan(seats: Sequence[Seat], task: Task) -> Plan:
    """Return the best plan found; it is the best there is where the home is small.

    The outcome does not depend on the order of the seats. Where nothing speaks for another
    variant a node keeps what it holds, else it gets the first in `names`.
    """
    home = _Home(seats, task)
    if home.plan_count <= min(MAX_PLANS, MAX_NUMBERS // home.numbers_a_plan):
        return home.as_plan(_look_at_all(home))
    return home.as_plan(_exchange(home))


def exhaustive(seats: Sequence[Seat], task: Task) -> Plan:
    """Return the best plan of all, whatever it takes."""
    home = _Home(seats, task)
    return home.as_plan(_look_at_all(home))


def exchanged(seats: Sequence[Seat], task: Task) -> Plan:
    """Return the plan that greedy construction and exchange find."""
    home = _Home(seats, task)
    return home.as_plan(_exchange(home))


def worth(seats: Sequence[Seat], task: Task, variants: Mapping[str, str]) -> float:
    """Return what is maximised, for a plan that gives every seat one of its variants."""
    home = _Home(seats, task)
    plan = [task.names.index(variants[seat.node]) for seat in home.seats]
    return float(home.worth(np.array([plan], np.intp))[0])


def value(seats: Sequence[Seat], task: Task, variants: Mapping[str, str]) -> Plan:
    """Return what may be expected of any plan; nodes that it leaves out answer nothing."""
    home = _Home([seat for seat in seats if seat.node in variants], task)
    plan = [task.names.index(variants[seat.node]) for seat in home.seats]
    return home.as_plan(np.array(plan, np.intp))


class _Home:
    """The seats as arrays; plans are rows of variants' indices, V for none."""

    def __init__(self, seats: Sequence[Seat], task: Task) -> None:
        names = task.names
        able = [seat for seat in seats if any(name in seat.chances for name in names)]
        self.seats = sorted(able, key=lambda seat: seat.node)
        self.task = task
        nothing = [0.0] * len(task.weights)
        self.chances = np.array(  # (N, V + 1, D)
            [[*(seat.chances.get(name, nothing) for name in names), nothing] for seat in self.seats]
        ).reshape(len(self.seats), len(names) + 1, len(task.weights))
        # What it holds comes first, so that it wins where others are as good.
        self.options = [_options(seat, names) for seat in self.seats]
        self.may_run = np.array(  # (N, V + 1)
            [[*(name in seat.chances for name in names), False] for seat in self.seats], bool
        ).reshape(len(self.seats), len(names) + 1)
        self.held = np.array(  # (N,)
            [
                options[0] if names[options[0]] == seat.holds else len(names)
                for seat, options in zip(self.seats, self.options, strict=True)
            ],
            np.intp,
        )
        self.mean_chances = self.chances @ task.weights  # (N, V + 1)
        now = self.mean_chances[np.arange(len(self.seats)), self.held]
        costs = CHANGE_COST * np.maximum(LEAST_CHANCE_LOST, now)
        self.change_costs = np.where(self.held == len(names), 0.0, costs)  # (N,)

    @property
    def plan_count(self) -> int:
        return math.prod(len(options) for options in self.options)

    @property
    def numbers_a_plan(self) -> int:
        return len(self.task.accuracies) * len(self.task.weights)

    def worth(self, plans: Ints, silences: Floats | None = None) -> Floats:
        """Return what is maximised for each of M plans (M, N), shape (M,).

        Args:
            plans: the variants' indices.
            silences: what `silences` says of them, where that is known already.
        """
        at_once = max(1, MAX_NUMBERS // self.numbers_a_plan)
        if len(plans) > at_once:
            parts = [slice(start, start + at_once) for start in range(0, len(plans), at_once)]
            return np.concatenate(
                [
                    self.worth(plans[one], None if silences is None else silences[one])
                    for one in parts
                ]
            )
        silences = self.silences(plans) if silences is None else silences
        accuracy = _fold(silences, self.task.accuracies) @ self.task.weights
        changes = (plans != self.held) @ self.change_costs
        reserve = self.mean_chances[np.arange(len(self.seats)), plans].sum(axis=1)
        worth: Floats = accuracy - changes + RESERVE_VALUE * reserve
        return worth

    def best_of(self, plans: Ints, silences: Floats | None = None) -> tuple[int, float]:
        """Return the index and the worth of the first of the best plans; see `worth`."""
        worth = self.worth(plans, silences)
        most = float(worth.max())
        return int(np.argmax(worth >= most - _EQUAL)), most

    def as_plan(self, plan: Ints) -> Plan:
        silences = self.silences(plan[None])  # (1, D, V)
        accuracy = (_fold(silences, self.task.accuracies) @ self.task.weights)[0]
        silent = silences.prod(axis=2)[0] @ self.task.weights
        names = self.task.names
        return Plan(
            variants={
                seat.node: names[place] for seat, place in zip(self.seats, plan, strict=True)
            },
            accuracy=float(accuracy),
            answered=float(1 - silent),
        )

    def silences(self, plans: Ints) -> Floats:
        """Return the chance that nobody answers with a variant, shape (M, D, V)."""
        count, variants = len(plans), len(self.task.names)
        silences = np.ones((count, variants + 1, len(self.task.weights)))
        rows = np.arange(count)
        for seat, chances in enumerate(self.chances):
            given = plans[:, seat]
            silences[rows, given] *= 1 - chances[given]
        return silences[:, :variants].transpose(0, 2, 1)


def _options(seat: Seat, names: Sequence[str]) -> list[int]:
    places = [place for place, name in enumerate(names) if name in seat.chances]
    return sorted(places, key=lambda place: names[place] != seat.holds)


def _fold(silences: Floats, accuracies: Floats) -> Floats:
    """Return E for the chances of silence (…, V), shape (…): the sum over all 2^V sets.

    One variant after the other is taken out of the sum, which halves what is left of it.
    """
    expected = np.broadcast_to(accuracies, (*silences.shape[:-1], len(accuracies)))
    for place in reversed(range(silences.shape[-1])):
        silent = silences[..., place, None]
        half = expected.shape[-1] // 2
        expected = expected[..., :half] * silent + expected[..., half:] * (1 - silent)
    return expected[..., 0]


def _look_at_all(home: _Home) -> Ints:
    every = list(itertools.product(*home.options))
    plans = np.array(every, np.intp).reshape(len(every), len(home.seats))
    best: Ints = plans[home.best_of(plans)[0]]
    return best


def _exchange(home: _Home) -> Ints:
    """Return the best of three searches: from what is held, from nothing, from each its best."""
    nothing = np.full_like(home.held, len(home.task.names))
    starts = [_construct(home, home.held), _construct(home, nothing), _each_its_best(home)]
    ends = np.stack([_improve(home, start) for start in starts])
    best: Ints = ends[home.best_of(ends)[0]]
    return best


def _each_its_best(home: _Home) -> Ints:
    """Return the plan in which each node has what would be best if it were alone."""
    alone = home.task.accuracies[1 << np.arange(len(home.task.names))]  # (V,)
    expected = np.where(home.may_run[:, :-1], home.mean_chances[:, :-1] * alone, -1.0)
    plan: Ints = expected.argmax(axis=1)
    return plan


def _construct(home: _Home, plan: Ints) -> Ints:
    """Return the plan with each node that has none given the best one, the surest node first."""
    plan = plan.copy()
    for seat in np.argsort(-home.mean_chances.max(axis=1), kind="stable"):
        if plan[seat] == len(home.task.names):
            options = home.options[seat]
            plans = np.repeat(plan[None], len(options), axis=0)
            plans[:, seat] = options
            silences = np.repeat(home.silences(plan[None]), len(options), axis=0)
            silences[np.arange(len(options)), :, options] *= 1 - home.chances[seat, options]
            plan = plans[home.best_of(plans, silences)[0]]
    return plan


def _improve(home: _Home, plan: Ints) -> Ints:
    """Return the plan after the best single moves and exchanges, as long as one helps."""
    worth = float(home.worth(plan[None])[0])
    for _ in range(MAX_ROUNDS):
        for neighbours in (_moves, _exchanges):
            plans, silences = neighbours(home, plan)
            if len(plans) == 0:
                continue
            index, most = home.best_of(plans, silences)
            if most > worth + _EQUAL:
                plan, worth = plans[index], most
                break
        else:
            return plan
    return plan


def _moves(home: _Home, plan: Ints) -> tuple[Ints, Floats]:
    """Return the plans in which one node runs something else, and their silences."""
    others = home.may_run & (np.arange(home.may_run.shape[1]) != plan[:, None])
    seats, places = np.nonzero(others)
    rows = np.arange(len(seats))
    plans = np.repeat(plan[None], len(seats), axis=0)
    plans[rows, seats] = places
    silences = np.repeat(home.silences(plan[None]), len(seats), axis=0)
    silences[rows, :, plan[seats]] = _without_each(home, plan)[seats]
    silences[rows, :, places] *= 1 - home.chances[seats, places]
    return plans, silences


def _exchanges(home: _Home, plan: Ints) -> tuple[Ints, Floats]:
    """Return the plans in which two nodes have changed places, and their silences."""
    one, other = np.triu_indices(len(plan) if len(plan) <= MAX_EXCHANGED else 0, 1)
    differ = plan[one] != plan[other]
    able = home.may_run[one, plan[other]] & home.may_run[other, plan[one]]
    one, other = one[differ & able], other[differ & able]
    rows = np.arange(len(one))
    plans = np.repeat(plan[None], len(one), axis=0)
    plans[rows, one], plans[rows, other] = plan[other], plan[one]
    silences = np.repeat(home.silences(plan[None]), len(one), axis=0)
    without = _without_each(home, plan)
    for leaves, comes in ((one, other), (other, one)):
        place = plan[leaves]
        silences[rows, :, place] = without[leaves] * (1 - home.chances[comes, place])
    return plans, silences


def _without_each(home: _Home, plan: Ints) -> Floats:
    """Return for each node the silence of its variant if it were not there, shape (N, D)."""
    silent = 1 - home.chances[np.arange(len(plan)), plan]  # (N, D)
    same = (plan[:, None] == plan) & ~np.eye(len(plan), dtype=bool)  # (N, N)
    without: Floats = np.where(same[:, :, None], silent, 1.0).prod(axis=1)
    return without
