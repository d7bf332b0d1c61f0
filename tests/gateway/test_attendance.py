import pytest

from gateway.attendance import HALF_LIFE_S, MOST, PRIOR_ANSWERED, PRIOR_WORKING, Attendance


def test_a_new_node_is_believed_in() -> None:
    assert Attendance().chance == pytest.approx(PRIOR_WORKING * PRIOR_ANSWERED)


def test_a_node_that_works_half_of_the_time_has_half_a_chance() -> None:
    attendance = Attendance()
    for minute in range(0, 600, 2):
        attendance.note(there=True, working=True, now_s=minute * 60)
        attendance.note(there=True, working=False, now_s=(minute + 1) * 60)
    assert attendance.chance == pytest.approx(0.5 * PRIOR_ANSWERED, abs=0.02)


def test_time_away_says_nothing() -> None:
    attendance = Attendance()
    before = attendance.chance
    attendance.note(there=False, working=False, now_s=0)
    attendance.note(there=False, working=False, now_s=100_000)
    attendance.note(there=True, working=True, now_s=200_000)
    assert attendance.chance == pytest.approx(before)


def test_a_pause_of_a_minute_matters_little_and_is_forgotten() -> None:
    attendance = Attendance()
    attendance.note(there=True, working=False, now_s=0)
    attendance.note(there=True, working=True, now_s=60)
    paused = attendance.chance
    assert PRIOR_WORKING * PRIOR_ANSWERED - 0.1 < paused < PRIOR_WORKING * PRIOR_ANSWERED
    attendance.note(there=True, working=True, now_s=60 + 10 * HALF_LIFE_S)
    assert attendance.chance > 0.97


def test_a_node_that_answers_nothing_has_no_chance() -> None:
    attendance = Attendance()
    for _ in range(2000):
        attendance.expect()
    assert attendance.chance < 0.01


def test_nobody_is_certain_even_with_answers_nobody_asked_for() -> None:
    attendance = Attendance()
    attendance.note(there=True, working=True, now_s=0)
    attendance.note(there=True, working=True, now_s=1e6)
    for _ in range(100):
        attendance.answer()
    assert attendance.chance == MOST
