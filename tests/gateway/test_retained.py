import pytest

from gateway.retained import Retained


def test_what_was_sent_is_no_longer_pending() -> None:
    retained = Retained()
    retained.want("a", b"1")
    retained.want("b", b"2")
    assert retained.pending() == ["a", "b"]
    retained.sent("a", b"1")
    assert retained.pending() == ["b"]


def test_a_changed_wish_is_pending_again() -> None:
    retained = Retained()
    retained.want("a", b"1")
    retained.sent("a", b"1")
    retained.want("a", b"2")
    assert retained.pending() == ["a"]
    assert retained.wanted("a") == b"2"


def test_what_is_doubted_is_pending_again() -> None:
    retained = Retained()
    for topic in ("a", "b"):
        retained.want(topic, b"1")
        retained.sent(topic, b"1")
    retained.doubt("b")
    assert retained.pending() == ["b"]
    retained.doubt_all()
    assert retained.pending() == ["a", "b"]


def test_nothing_is_known_of_a_foreign_topic() -> None:
    retained = Retained()
    retained.doubt("c")
    assert retained.pending() == []
    with pytest.raises(KeyError):
        retained.wanted("c")


def test_what_was_forgotten_underway_is_published_when_it_is_wanted_again() -> None:
    retained = Retained()
    retained.want("a", b"1")
    assert "a" in retained
    retained.forget("a")
    retained.sent("a", b"1")  # it was underway
    assert "a" not in retained
    assert retained.pending() == []
    retained.want("a", b"1")
    assert retained.pending() == ["a"]
