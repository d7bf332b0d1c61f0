import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.mosquitto import MosquittoBroker, check_port_free, find_mosquitto
from broker.payloads import PlanReport, parse
from broker.session import BrokerSettings, Message, Session
from gateway import assigner
from gateway.assigner import MAX_DEADLINES, MAX_VARIANTS, TRAVEL_MS, deadlines_of, planned
from gateway.planner import Plan, Seat, Task, make_plan
from models.manifest import EnsembleEntry
from models.pack import Pack, write_pack

if TYPE_CHECKING:
    from tests.gateway.conftest import House, Memory, ScriptedNode

Until = Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]

PLAN = "idlesight/home/plan"
MOSQUITTO = find_mosquitto()


PLANS_MADE: list[Plan] = []


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans follow each other quickly, and be counted."""

    def counted(seats: Sequence[Seat], task: Task) -> Plan:
        PLANS_MADE.append(make_plan(seats, task))
        return PLANS_MADE[-1]

    monkeypatch.setattr(assigner, "make_plan", counted)
    monkeypatch.setattr(assigner, "REPLAN_S", 0.05)
    monkeypatch.setattr(assigner, "REPEAT_S", 0.0)
    monkeypatch.setattr(assigner, "SETTLE_S", 0.02)


@pytest.fixture
def pack(pack: Pack, tmp_path: Path) -> Pack:
    """The tiny pack with the costs and the accuracies of the pack cifar10."""
    figures = {"V1": (10_000_000, 0.8943), "V2": (17_000_000, 0.9182), "V3": (27_000_000, 0.9306)}
    together: dict[tuple[str, ...], float] = {
        ("V1", "V2"): 0.9206,
        ("V1", "V3"): 0.9317,
        ("V2", "V3"): 0.9324,
    }
    together[("V1", "V2", "V3")] = 0.9324
    variants = tuple(
        entry.model_copy(update={"macs": macs, "validation_accuracy": accuracy})
        for entry in pack.manifest.variants
        for macs, accuracy in [figures[entry.name]]
    )
    ensembles = tuple(
        EnsembleEntry(variants=names, accuracy=accuracy) for names, accuracy in together.items()
    )
    manifest = pack.manifest.model_copy(update={"variants": variants, "ensembles": ensembles})
    models = {entry.name: pack.model(entry.name) for entry in variants}
    return write_pack(tmp_path / "pack", manifest, models)


def cameras(house: "House", **settings: Any) -> dict[str, Any]:
    """One camera that gives a single picture: nothing but what the nodes say moves the plan."""
    return {"porch": {"source": house.pictures(1), "deadline_ms": 500} | settings}


async def run_as(
    house: "House", node: "ScriptedNode", variant: str, p95_ms: float, answered: int
) -> None:
    """Let a node say that it runs a variant, and after 30 answers how long that takes it."""
    node.entry = house.pack.variant(variant)
    for count, figure_ms in ((answered - 30, None), (answered, p95_ms)):
        await node.say_state(
            state="working",
            session="0badcafe",
            inference_ms_p50=None if figure_ms is None else figure_ms * 0.7,
            inference_ms_p95=figure_ms,
            counts={"answered": count},
        )


def given(node: "ScriptedNode") -> list[str]:
    return [one.variant for one in node.assignments]


def plans(memory: "Memory") -> list[PlanReport]:
    return [parse(PlanReport, payload) for payload in memory.sent(PLAN)]


async def planned_again(until_true: Until, times: int = 3) -> None:
    """Wait until so many further plans were made."""
    enough = len(PLANS_MADE) + times
    await until_true(lambda: len(PLANS_MADE) >= enough)


async def slow_node_becomes_fast(house: "House", until_true: Until) -> None:
    """A node too slow for V3 has V1; once it is fast it has V3, and keeps it."""
    slow = await house.node("slow", None, fixed=False, phase="unassigned")
    house.spawn(house.gateway(cameras(house)).run())
    await until_true(lambda: bool(slow.assignments))
    assert given(slow) == ["V3"]  # nothing is known of it
    await run_as(house, slow, "V3", 900, answered=100)
    await until_true(lambda: len(given(slow)) == 2)
    assert given(slow)[-1] == "V1"
    await run_as(house, slow, "V1", 300, answered=150)
    await planned_again(until_true)
    assert given(slow) == ["V3", "V1"]  # V3 would take 900 ms still
    await run_as(house, slow, "V1", 90, answered=200)  # and V3 270
    await until_true(lambda: len(given(slow)) == 3)
    assert given(slow)[-1] == "V3"
    for answered, p95_ms in ((250, 270), (300, 265), (350, 280), (400, 268)):
        await run_as(house, slow, "V3", p95_ms, answered)
        await planned_again(until_true, 2)
    assert given(slow) == ["V3", "V1", "V3"]


async def test_slow_node_is_given_a_small_variant_until_it_is_fast(
    house: "House",
    memory: "Memory",
    until_true: Until,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateway.assigner")
    await slow_node_becomes_fast(house, until_true)
    found = plans(memory)
    reasons = list(dict.fromkeys(one.reason for one in found))
    assert reasons[-3:] == [
        "slow came",
        "slow has V1 instead of V3, where V3 takes 900 ms",
        "slow has V3 instead of V1, where V1 takes 90 ms",
    ]
    (part,) = found[-1].nodes
    assert (part.node, part.variant, part.measured) == ("slow", "V3", True)
    assert part.chance > 0.9
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 3
    assert logged[1].startswith("plan: slow V1; ")


@pytest.mark.mosquitto
@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
async def test_the_same_on_a_real_broker(
    make_house: Callable[[Any, BrokerSettings], "House"], until_true: Until
) -> None:
    assert MOSQUITTO is not None
    port = check_port_free("127.0.0.1", 0)
    broker = MosquittoBroker(MOSQUITTO, bind="127.0.0.1", port=port)
    await broker.start()
    house = make_house(Session, BrokerSettings(port=port))
    messages: list[Message] = []
    try:
        await slow_node_becomes_fast(house, until_true)
        late = Session(
            house.broker,
            client_id="late",
            on_message=messages.append,
            subscriptions=[(PLAN, 1)],
        )
        house.spawn(late.run())
        await until_true(lambda: bool(messages))
    finally:
        await house.close()
        await broker.stop()
    assert messages[0].retain
    assert [one.variant for one in parse(PlanReport, messages[0].payload).nodes] == ["V3"]


async def test_when_a_node_leaves_another_takes_over_once(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    best = await house.node("best", "V3")  # its owner chose
    other = await house.node("other", None, fixed=False, phase="unassigned")
    house.spawn(house.gateway(cameras(house)).run())
    await until_true(lambda: bool(given(other)))
    assert given(other) == ["V2"]
    await run_as(house, other, "V2", 100, answered=100)
    memory.sessions[best.client_id].broken(publish_will=True)
    await until_true(lambda: len(given(other)) == 2)
    assert given(other) == ["V2", "V3"]
    assert plans(memory)[-1].reason.startswith("best left; other has V3 instead of V2")
    await run_as(house, other, "V3", 150, answered=150)
    memory.sessions[best.client_id].reachable.set()
    await until_true(lambda: len(plans(memory)[-1].nodes) == 2)
    await planned_again(until_true)
    assert given(other) == ["V2", "V3"]


async def test_nobody_changes_when_the_gateway_starts_anew(
    house: "House", until_true: Until
) -> None:
    nodes = [await house.node(name, None, fixed=False) for name in ("one", "two", "slow")]
    for node, variant, p95_ms in zip(nodes, ("V3", "V2", "V1"), (90, 60, 300), strict=True):
        await run_as(house, node, variant, p95_ms, answered=100)
    house.spawn(house.gateway(cameras(house)).run())
    await until_true(lambda: all(given(node) for node in nodes))
    await planned_again(until_true)
    assert [given(node) for node in nodes] == [["V3"], ["V2"], ["V1"]]


async def test_a_node_gets_only_what_it_offers_and_one_with_nothing_gets_nothing(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    some = await house.node("some", None, fixed=False, phase="unassigned")
    await some.say_state(variants=["V2", "X9"])
    none = await house.node("none", None, fixed=False, phase="unassigned")
    await none.say_state(variants=["X9"])
    house.spawn(house.gateway(cameras(house)).run())
    await until_true(lambda: bool(given(some)))
    await planned_again(until_true)
    assert given(some)[-1] == "V2"
    assert [one.node for one in plans(memory)[-1].nodes] == ["some"]
    await none.say_state(variants=["V1"])
    await until_true(lambda: given(none) == ["V1"])


async def test_a_node_that_answers_nothing_is_not_counted_on(
    house: "House", memory: "Memory", until_true: Until
) -> None:
    mute = await house.node("mute", "V1")
    mute.answers = False
    house.spawn(
        house.gateway(
            cameras(house, source=house.pictures(60), loop=True, fps=60, deadline_ms=10)
        ).run(wait_for_nodes=1)
    )
    await until_true(lambda: bool(plans(memory)) and bool(plans(memory)[-1].nodes))
    await until_true(lambda: plans(memory)[-1].nodes[0].chance < 0.5)


def test_deadlines_are_weighed_by_their_frames_and_leave_time_for_the_way() -> None:
    found = deadlines_of([(500, 1), (1000, 2), (500, 1), (20, 4)])
    assert [one.limit_ms for one in found] == [10, 500 - TRAVEL_MS, 1000 - TRAVEL_MS]
    assert [one.share for one in found] == pytest.approx([0.5, 0.25, 0.25])


def test_of_many_deadlines_similar_ones_become_their_shortest() -> None:
    found = deadlines_of([(100 * number, 1) for number in range(1, 9)])
    assert len(found) == MAX_DEADLINES
    assert [one.limit_ms for one in found] == [100 * n - TRAVEL_MS for n in (1, 3, 5, 7)]
    assert sum(one.share for one in found) == pytest.approx(1)


def test_of_a_large_pack_the_chosen_and_an_even_choice_are_planned_with() -> None:
    names = [f"V{number}" for number in range(64)]
    assert planned(names[:MAX_VARIANTS], []) == tuple(names[:MAX_VARIANTS])
    found = planned(names, ["V5"])
    assert len(found) == MAX_VARIANTS
    assert {"V0", "V5", "V63"} <= set(found)
    assert list(found) == [name for name in names if name in found]
    assert len(planned(names, names)) == MAX_VARIANTS
