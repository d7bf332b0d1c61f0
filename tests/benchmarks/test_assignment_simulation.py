import random

import numpy as np
import pytest

from benchmarks.assignment_simulation import (
    WAYS,
    Family,
    cifar10,
    draw_home,
    food101,
    main,
    simulate,
)
from gateway.planner import value


@pytest.mark.parametrize("family", [cifar10(), food101()], ids=lambda family: family.title)
def test_every_set_has_an_accuracy_and_the_largest_is_no_worse_than_any(family: Family) -> None:
    assert len(family.accuracies) == 2 ** len(family.names)
    assert family.accuracies[0] == 0
    assert (family.accuracies[1:] > 0.5).all()
    assert family.accuracies[-1] == family.accuracies.max()


def test_nobody_who_knows_less_does_better_than_the_planner_that_knows_all() -> None:
    family = cifar10()
    rng = random.Random(0)
    for _ in range(30):
        home = draw_home(family, rng)
        truth = home.seats(seen=False)
        reached = {
            way: value(truth, family.task, assign(home, family, rng)).accuracy
            for way, assign in WAYS.items()
        }
        # It gives up a thousandth of accuracy for each node in reserve, as the gateway does.
        most = max(reached.values())
        assert reached["planner that knows all"] >= most - 0.001 * len(home.devices), reached


def test_homes_differ_by_two_orders_of_magnitude_and_repeat_with_their_seed() -> None:
    family = food101()
    rng = random.Random(1)
    homes = [draw_home(family, rng) for _ in range(200)]
    v1_ms = [one.times["V1"].p95_ms for home in homes for one in home.devices.values()]
    assert max(v1_ms) / min(v1_ms) > 90
    again = random.Random(1)
    assert [draw_home(family, again) for _ in range(200)] == homes


def test_every_way_is_measured_in_every_home() -> None:
    tallies = simulate(cifar10(), 5, seed=3)
    assert set(tallies) == set(WAYS)
    for tally in tallies.values():
        assert len(tally.accuracies) == len(tally.misses) == 5
        assert all(0 <= figure <= 1 for figure in (*tally.accuracies, *tally.misses))
        assert np.all(np.array(tally.accuracies) <= 1 - np.array(tally.misses) + 1e-12)


def test_no_homes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--homes", "0"])
    assert caught.value.code == 2
    assert "at least 1" in capsys.readouterr().err
