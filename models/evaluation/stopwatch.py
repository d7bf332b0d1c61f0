"""Timing several models side by side: one core, one thread, in turns, in random order.

What is timed is the thread's own time on the core. On a core of its own that is the latency; on a
busy machine the wall clock would flatter the short: a call of 0.3 ms fits between two time slices
of other processes, one of 7 ms is interrupted nearly always.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

CALLS_A_TURN = 3
"""Timed calls of a model's turn, of which the median counts; one more goes before, untimed, so that
the model finds its own weights in the caches and not those of the one before."""


def interleave(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    rng: np.random.Generator,
    *,
    clock_s: Callable[[], float] = time.thread_time,
    on_round: Callable[[int], None] = lambda _done: None,
) -> dict[str, Doubles]:
    """Return how long each takes, in ms, (rounds,): one sample a round, each round in a new order.

    What slows the machine for a while slows all of them, not the one that ran just then.

    Args:
        runs: what to call, by name.
        rounds: how many times each gets its turn.
        rng: chooses the orders.
        clock_s: this thread's time on the processor, in seconds.
        on_round: told how many rounds are done, outside of what is timed.
    """
    names = list(runs)
    samples_ms = {name: np.empty(rounds) for name in names}
    for done in range(rounds):
        for index in rng.permutation(len(names)):
            run = runs[names[index]]
            run()
            taken_s = []
            for _ in range(CALLS_A_TURN):
                began_s = clock_s()
                run()
                taken_s.append(clock_s() - began_s)
            samples_ms[names[index]][done] = 1000 * float(np.median(taken_s))
        on_round(done + 1)
    return samples_ms


@contextmanager
def pinned() -> Iterator[int | None]:
    """Keep this thread on one core while inside; yield the core, None where that can't be done."""
    try:
        allowed = os.sched_getaffinity(0)
        core = max(allowed)  # the first core is where interrupts go on many machines
        os.sched_setaffinity(0, {core})
    except (AttributeError, OSError):  # not Linux, or not allowed
        yield None
        return
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)
