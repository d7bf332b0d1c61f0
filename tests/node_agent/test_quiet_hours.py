from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.quiet_hours import WEEK_MINUTES, cover_the_week, parse_span, quiet_span

BERLIN = ZoneInfo("Europe/Berlin")
# 6 January 2025 is a Monday.
MONDAY = datetime(2025, 1, 6, tzinfo=UTC)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("text", "moment", "quiet"),
    [
        ("08:00-12:00", at(0, 8), True),
        ("08:00-12:00", at(0, 11, 59), True),
        ("08:00-12:00", at(0, 12), False),
        ("22:00-07:00", at(0, 23), True),
        ("22:00-07:00", at(1, 6, 59), True),
        ("22:00-07:00", at(1, 7), False),
        ("Mon-Fri 08:00-17:30", at(4, 17, 29), True),
        ("Mon-Fri 08:00-17:30", at(5, 9), False),
        ("sat 9:00-10:00", at(5, 9), True),
        ("Fri-Mon 20:00-21:00", at(6, 20), True),
        ("Fri-Mon 20:00-21:00", at(2, 20), False),
        ("Sun 22:00-07:00", at(0, 6), True),  # from Sunday's evening into Monday
        ("Sun 22:00-07:00", at(1, 6), False),
        ("Tue 00:00-24:00", at(1, 23, 59), True),
        ("Tue 00:00-24:00", at(2, 0), False),
        ("Tue 12:00-12:00", at(2, 11, 59), True),
    ],
)
def test_spans(text: str, moment: datetime, quiet: bool) -> None:
    assert (quiet_span((parse_span(text),), moment) is not None) is quiet


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no span"),
        ("22-7", "is no span"),
        ("22:00-07:00-09:00", "is no span"),
        ("Monday 22:00-07:00", "is no span"),
        ("Mun 22:00-07:00", "names no day"),
        ("Mon-Fry 22:00-07:00", "names no day"),
        ("25:00-07:00", "no day has"),
        ("22:60-07:00", "no day has"),
    ],
)
def test_what_is_no_span(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_span(text)


def quiet_minutes(text: str, begin: datetime, hours: int) -> int:
    """Count the real minutes from `begin` that lie in a span of Berlin's clock."""
    span = (parse_span(text),)
    moments = (begin + timedelta(minutes=minute) for minute in range(hours * 60))
    return sum(quiet_span(span, moment.astimezone(BERLIN)) is not None for moment in moments)


@pytest.mark.parametrize(
    ("text", "noon_before", "minutes"),
    [
        ("22:00-07:00", datetime(2025, 1, 10, 12, tzinfo=UTC), 9 * 60),
        ("22:00-07:00", datetime(2025, 3, 29, 12, tzinfo=UTC), 8 * 60),  # 02:00 becomes 03:00
        ("22:00-07:00", datetime(2025, 10, 25, 12, tzinfo=UTC), 10 * 60),  # 03:00 becomes 02:00
        ("02:15-02:45", datetime(2025, 3, 29, 12, tzinfo=UTC), 0),
        ("02:15-02:45", datetime(2025, 10, 25, 12, tzinfo=UTC), 60),
    ],
)
def test_daylight_saving_moves_the_span_with_the_clock(
    text: str, noon_before: datetime, minutes: int
) -> None:
    assert quiet_minutes(text, noon_before, hours=23) == minutes


@pytest.mark.parametrize(
    ("texts", "covered"),
    [
        ([], False),
        (["00:00-24:00"], True),
        (["00:00-23:59"], False),
        (["07:00-22:00", "22:00-07:00"], True),
        (["07:00-22:00", "22:01-07:00"], False),
        (["Mon-Fri 00:00-24:00", "Sat 00:00-24:00"], False),
        (["Mon-Fri 00:00-24:00", "Sat-Sun 00:00-24:00"], True),
        (["Mon 06:00-06:00", "Tue-Sun 06:00-06:00"], True),
    ],
)
def test_whether_any_minute_is_left(texts: list[str], covered: bool) -> None:
    assert cover_the_week(tuple(parse_span(text) for text in texts)) is covered


times = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
days = st.sampled_from(["", "Mon ", "Sun ", "Mon-Fri ", "Sat-Tue "])
spans = st.builds(lambda day, begin, end: f"{day}{begin}-{end}", days, times, times)


@given(st.lists(spans, max_size=6))
def test_cover_the_week_agrees_with_counting(texts: list[str]) -> None:
    parsed = tuple(parse_span(text) for text in texts)
    every = all(any(span.holds(minute) for span in parsed) for minute in range(WEEK_MINUTES))
    assert cover_the_week(parsed) is every
