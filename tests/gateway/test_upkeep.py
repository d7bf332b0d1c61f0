from itertools import pairwise

import pytest

from broker.topics import Topics
from gateway.camera_entities import Announced, camera_device
from gateway.discovery import MIGRATE, Announcement, Form, announcements
from gateway.gateway_entities import gateway_device
from gateway.upkeep import Step, Upkeep

TOPICS = Topics("home")


def announce(form: Form, *cameras: Announced) -> list[Announcement]:
    shown = [gateway_device(TOPICS, "1"), *(camera_device(TOPICS, one) for one in cameras)]
    return announcements(TOPICS, shown, form=form, discovery_prefix="ha", version="1")


PORCH = Announced("porch", watch=("cat", "dog"))


def settled(wanted: list[Announcement], standing: list[Announcement]) -> Upkeep:
    upkeep = Upkeep(TOPICS)
    upkeep.want(wanted)
    upkeep.begin()
    for one in standing:
        upkeep.hear(one.topic, one.payload)
    assert upkeep.steps() == []
    upkeep.settle()
    return upkeep


def run(upkeep: Upkeep) -> list[Step]:
    steps = upkeep.steps()
    for step in steps:
        upkeep.sent(step)
    assert upkeep.steps() == []
    return steps


@pytest.mark.parametrize("form", ["component", "device"])
def test_all_is_published_once_and_again_only_when_asked_for(form: Form) -> None:
    wanted = announce(form, PORCH)
    expected = [Step(one.topic, one.payload) for one in wanted]
    upkeep = settled(wanted, [])
    assert run(upkeep) == expected
    upkeep.repeat()
    assert run(upkeep) == expected


@pytest.mark.parametrize("form", ["component", "device"])
def test_what_stands_there_is_not_published_again(form: Form) -> None:
    assert run(settled(announce(form, PORCH), announce(form, PORCH))) == []


def test_a_broker_that_forgot_is_told_again() -> None:
    upkeep = settled(announce("component", PORCH), announce("component", PORCH))
    upkeep.begin()
    upkeep.settle()
    assert len(run(upkeep)) == len(announce("component", PORCH))


@pytest.mark.parametrize(("old", "new"), [("component", "device"), ("device", "component")])
def test_a_move_tells_the_old_topics_then_announces_then_clears(old: Form, new: Form) -> None:
    before, after = announce(old, PORCH), announce(new, PORCH)
    steps = run(settled(after, before))
    assert steps == [
        *(Step(one.topic, MIGRATE, retain=False) for one in before),
        *(Step(one.topic, one.payload) for one in after),
        *(Step(one.topic, b"") for one in before),
    ]


def test_a_move_that_broke_off_begins_anew() -> None:
    before, after = announce("component", PORCH), announce("device", PORCH)
    upkeep = settled(after, before)
    for step in upkeep.steps()[: len(before) + 1]:  # the first device was announced
        upkeep.sent(step)
    upkeep.begin()
    for one in (*before, after[0]):
        upkeep.hear(one.topic, one.payload)
    upkeep.settle()
    steps = run(upkeep)
    assert [step.topic for step in steps if not step.retain] == [one.topic for one in before]
    assert [step.topic for step in steps if step.retain and step.payload] == [after[1].topic]
    assert [step.topic for step in steps if not step.payload] == [one.topic for one in before]


@pytest.mark.parametrize("form", ["component", "device"])
def test_a_camera_that_went_is_cleared(form: Form) -> None:
    wanted = announce(form)
    gone = [one for one in announce(form, PORCH) if one not in wanted]
    assert gone
    steps = run(settled(wanted, announce(form, PORCH)))
    assert steps == [Step(one.topic, b"") for one in gone]


def test_a_camera_that_went_moves_nowhere() -> None:
    steps = run(settled(announce("device"), announce("component", PORCH)))
    told = {step.topic for step in steps if not step.retain}
    assert told == {one.topic for one in announce("component")}


def test_an_entity_that_went_moves_nowhere_either() -> None:
    only_cats = announce("device", Announced("porch", watch=("cat",)))
    steps = run(settled(only_cats, announce("component", PORCH)))
    told = [step.topic for step in steps if not step.retain]
    assert "ha/binary_sensor/idlesight-home/camera-seen_cat-porch/config" in told
    assert "ha/binary_sensor/idlesight-home/camera-seen_dog-porch/config" not in told


def test_a_label_no_longer_watched_is_taken_from_the_device_by_name() -> None:
    wanted = announce("device", Announced("porch", watch=("cat",)))
    first, second = run(settled(wanted, announce("device", PORCH)))
    assert (first.topic, second.topic) == (wanted[1].topic, wanted[1].topic)
    assert b'"seen_dog":{"p":"binary_sensor"}' in first.payload
    assert b'"recognized_dog":{"p":"device_automation"}' in first.payload
    assert second.payload == wanted[1].payload


def test_discovery_switched_off_clears_everything_of_ours_alone() -> None:
    upkeep = settled([], announce("component", PORCH))
    upkeep.hear("ha/sensor/other/x/config", b'{"device": {"identifiers": ["other"]}}')
    steps = run(upkeep)
    assert {step.topic for step in steps} == {one.topic for one in announce("component", PORCH)}
    assert {step.payload for step in steps} == {b""}


def test_what_is_wanted_may_change_between_two_steps() -> None:
    both = announce("component", PORCH, Announced("yard"))
    upkeep = settled(both, [])
    steps = upkeep.steps()
    for step in steps[:-1]:
        upkeep.sent(step)
    upkeep.want(announce("component", PORCH))
    upkeep.sent(steps[-1])  # it was underway
    left = run(upkeep)
    assert left
    assert all(not step.payload and "yard" in step.topic for step in left)
    assert all(one.topic != two.topic for one, two in pairwise(left))
