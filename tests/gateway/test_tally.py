from gateway.tally import QUIET_S, Tally


def test_each_kind_is_spoken_of_once_a_minute_and_always_counted() -> None:
    tally = Tally()
    said = [tally.add("late", now_s) for now_s in (0, 1, QUIET_S - 1, QUIET_S, QUIET_S + 1)]
    assert said == [True, False, False, True, False]
    assert tally.add("malformed", 2)
    assert tally.counts == {"late": 5, "malformed": 1}
