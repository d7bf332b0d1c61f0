from typing import Any

import pytest

from broker.payloads import Assignment, ModelDescription
from models.errors import PackFileError
from models.pack import Pack, load_pack, shipped_packs
from node_agent.errors import FetchError
from node_agent.fetched_model import (
    choice_in,
    describe_pack,
    held_choice,
    shipped_choice,
    stored_choice,
)
from node_agent.model_keeper import load_request


def assignment(pack: Pack, variant: str = "V1", **changes: Any) -> Assignment:
    entry = pack.variant(variant)
    fields: dict[str, Any] = {
        "precision": entry.precision,
        "classes": len(pack.labels),
        "k": pack.manifest.k,
        "resolution": entry.resolution,
        "input_offset": entry.input_offset,
    }
    return Assignment(
        pack=pack.name,
        variant=variant,
        model=entry.sha256,
        description=ModelDescription(**(fields | changes)),
    )


def test_the_worker_is_told_what_the_pack_would_tell_it(pack: Pack) -> None:
    own = choice_in(pack, pack.variant("V2").sha256)
    assert own is not None
    model = pack.model("V2")
    fetched = held_choice(describe_pack(assignment(pack, "V2")), model)
    assert fetched.same_model(own)
    assert load_request(fetched, 1) == load_request(own, 1)


def test_the_interface_of_a_foreign_model_comes_along(pack: Pack) -> None:
    told = assignment(pack, input_range=(-1.0, 1.0), output="logits")
    request = load_request(held_choice(describe_pack(told), pack.model("V1")), 1)
    assert request.interface.input_range == (-1.0, 1.0)
    assert request.interface.output == "logits"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": 11}, "k is 11, but there are only 10 labels"),
        ({"classes": 1}, "labels"),
        ({"resolution": 4}, "resolution"),
        ({"resolution": 60_000}, "resolution"),
        ({"input_offset": (0.5, 0.0)}, "input_offset"),
        ({"input_range": (1.0, 0.0)}, "from a lower number to a higher"),
        ({"input_range": (0.0, 1e30)}, "input range"),
        ({"size_bytes": 2**31}, "size_bytes"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    pack: Pack, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(FetchError, match=words) as caught:
        describe_pack(assignment(pack, **changes))
    assert not caught.value.again


def test_a_name_that_no_pack_may_have_is_refused(pack: Pack) -> None:
    told = assignment(pack).model_copy(update={"variant": "../V1"})
    with pytest.raises(FetchError, match="name"):
        describe_pack(told)


def test_without_a_description_there_is_nothing_to_fetch(pack: Pack) -> None:
    told = assignment(pack).model_copy(update={"description": None})
    with pytest.raises(FetchError, match="does not send it"):
        describe_pack(told)


def test_bytes_of_another_hash_are_never_loaded(pack: Pack) -> None:
    choice = held_choice(describe_pack(assignment(pack)), pack.model("V2"))
    with pytest.raises(PackFileError):
        load_request(choice, 1)
    stored = stored_choice(describe_pack(assignment(pack)), pack.path)  # no file of that name
    with pytest.raises(PackFileError, match="missing"):
        load_request(stored, 1)


def test_a_model_of_a_pack_that_ships_needs_no_broker() -> None:
    shipped = load_pack(shipped_packs()["cifar10"])
    entry = shipped.variant("V2")
    choice = shipped_choice(entry.sha256)
    assert choice is not None
    assert (choice.pack.name, choice.entry.name) == ("cifar10", "V2")
    assert shipped_choice("ab" * 32) is None
