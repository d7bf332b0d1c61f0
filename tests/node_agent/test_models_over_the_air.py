"""The agent takes models from the broker: a link in memory, real parts and real workers."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.model_parts import encode_model_part, split_model
from broker.payloads import Assignment, ModelDescription, dump
from models.pack import Pack, PackManifest, write_pack
from tests.node_agent.test_agent import NAME, TOPICS, House, running


@pytest.fixture
def small(pack: Pack, tmp_path: Path) -> Pack:
    """The node's own pack: V1 alone."""
    entry = pack.variant("V1")
    manifest = PackManifest.model_validate(
        pack.manifest.model_dump(exclude={"variants"})
        | {"name": "small", "variants": [entry]}
        | {"format": 2}
    )
    return write_pack(tmp_path / "small", manifest, {"V1": pack.model("V1")})


@pytest.fixture
async def house(small: Pack, jpeg: bytes) -> AsyncIterator[House]:
    """A running agent that serves V1 of its own pack."""
    async with running(House(small, jpeg)) as house:
        house.assign("V1")
        await house.phase("working")
        yield house


def assign(house: House, pack: Pack, variant: str, resolution: int = 32) -> str:
    """Tell the node to serve a variant of the gateway's pack; return the filter of its parts."""
    model = pack.variant(variant).sha256
    description = ModelDescription(precision="float32", classes=10, k=2, resolution=resolution)
    told = Assignment(pack=pack.name, variant=variant, model=model, description=description)
    house.link.deliver(TOPICS.assignment(NAME), dump(told), retain=True)
    return TOPICS.model_parts(model)


async def fetch(house: House, pack: Pack, variant: str, resolution: int = 32) -> None:
    """Let the node fetch a variant, and answer with the old model meanwhile."""
    topic_filter = assign(house, pack, variant, resolution)
    await house.until(lambda: topic_filter in house.link.subscribed)
    assert f"{variant} of pack tiny is being fetched" in house.agent.state().reason
    old = house.agent.state().model
    if old is not None:
        answer = await house.ask(1000)
        assert answer.model == int.from_bytes(bytes.fromhex(old[:8]), "little")
    give(house, pack, variant)
    await house.until(lambda: topic_filter not in house.link.subscribed)


def give(house: House, pack: Pack, variant: str) -> None:
    sha256 = pack.variant(variant).sha256
    for part in split_model(pack.model(variant)):
        topic = TOPICS.model_part(sha256, part.part)
        house.link.deliver(topic, encode_model_part(part), retain=True)


async def test_it_takes_over_between_two_frames_on_the_same_link(house: House, pack: Pack) -> None:
    await fetch(house, pack, "V2")
    await house.until(lambda: house.agent.state().variant == "V2")
    assert (await house.ask(1)).model == pack.variant("V2").model_id
    state = house.agent.state()
    assert (state.state, state.pack, state.fetches) == ("working", "tiny", True)
    assert state.variants == ["V1"]
    statuses = [sent for sent in house.link.published if sent[0] == TOPICS.node_status(NAME)]
    assert len(statuses) == 1
    house.assign("V1")
    await house.until(lambda: house.agent.state().variant == "V1")


async def test_a_node_that_serves_nothing_yet_fetches_its_first(
    small: Pack, pack: Pack, jpeg: bytes
) -> None:
    async with running(House(small, jpeg)) as house:
        await house.phase("unassigned")
        await fetch(house, pack, "V2")
        await house.phase("working")
    async with running(House(small, jpeg)) as again:
        await again.phase("unassigned")
        assign(again, pack, "V2")
        state = await again.phase("working")
        assert (state.variant, state.counts.dropped) == ("V2", 0)
        assert not any("fetched" in one.reason for one in again.states)


async def test_a_model_of_another_shape_than_it_is_said_to_be_is_refused(
    house: House, pack: Pack
) -> None:
    await fetch(house, pack, "V9", resolution=64)
    state = await house.phase("failed")
    assert "V9 cannot be served: the model takes 32 pixels" in state.reason
    assert state.reason.endswith("V1 keeps answering")
    assert (await house.ask(1)).model == pack.variant("V1").model_id


async def test_what_the_broker_holds_wrongly_is_refused_and_said(house: House, pack: Pack) -> None:
    topic_filter = assign(house, pack, "V2")
    await house.until(lambda: topic_filter in house.link.subscribed)
    house.link.deliver(TOPICS.model_part(pack.variant("V2").sha256, 0), b"hostile", retain=True)
    state = await house.phase("failed")
    assert "cannot be fetched: a model part has 10 header bytes, not 7" in state.reason
    assert state.reason.endswith("V1 keeps answering")
    assert house.agent.state().counts.dropped == 1
    assert (await house.ask(1)).model == pack.variant("V1").model_id
    house.assign("V1")
    await house.phase("working")


async def test_a_kept_file_that_was_removed_is_fetched_when_its_worker_dies(
    house: House, pack: Pack
) -> None:
    await fetch(house, pack, "V2")
    await house.until(lambda: house.agent.state().variant == "V2")
    (file,) = house.settings.cache_folder.iterdir()
    file.unlink()
    topic_filter = TOPICS.model_parts(pack.variant("V2").sha256)
    os.kill(house.worker_pid(), signal.SIGKILL)
    await house.until(lambda: topic_filter in house.link.subscribed)
    give(house, pack, "V2")
    await house.until(lambda: house.agent.state().variant == "V2")
    assert (await house.ask(1)).model == pack.variant("V2").model_id
    assert file.exists()


async def test_the_owners_variant_is_never_fetched_over(
    small: Pack, pack: Pack, jpeg: bytes
) -> None:
    async with running(House(small, jpeg, variant="V1")) as house:
        await house.phase("working")
        assign(house, pack, "V2")
        await house.ask(1)
        assert house.link.subscribed == {TOPICS.all_frames}
