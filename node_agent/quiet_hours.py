"""The owner's quiet hours: spans of the local week in which the guest rests.

A span follows the clock on the wall. Where daylight saving moves that clock, a span that names an
hour that is skipped is that much shorter that night, and one that names an hour that comes twice
is that much longer.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

DAY_MINUTES: Final = 24 * 60
WEEK_MINUTES: Final = 7 * DAY_MINUTES

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?\s+)?"
    r"(?P<from_h>\d{1,2}):(?P<from_m>\d{2})-(?P<to_h>\d{1,2}):(?P<to_m>\d{2})"
)


@dataclass(frozen=True, slots=True)
class QuietSpan:
    """One span that returns on some days of the week.

    Attributes:
        text: as the owner wrote it.
        days: the days on which it begins, 0 for Monday.
        begin_minute: minutes after midnight, in [0, 1440).
        length_minutes: 1 to 1440; it may end on the next day.
    """

    text: str
    days: frozenset[int]
    begin_minute: int
    length_minutes: int

    def holds(self, week_minute: int) -> bool:
        """Return whether a minute of the week, from Monday 00:00, lies in it."""
        return any(
            (week_minute - day * DAY_MINUTES - self.begin_minute) % WEEK_MINUTES
            < self.length_minutes
            for day in self.days
        )


def parse_span(text: str) -> QuietSpan:
    """Return the span in `22:00-07:00`, `Sat 08:00-12:00` or `Mon-Fri 08:00-17:30`.

    Raises:
        ValueError: one sentence that says what is wrong.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text[:40]!r} is no span: write 22:00-07:00 or Mon-Fri 08:00-17:30")
    begin = _minute(text, match["from_h"], match["from_m"])
    end = _minute(text, match["to_h"], match["to_m"])
    return QuietSpan(
        text=text.strip(),
        days=_days(text, match["first"], match["last"]),
        begin_minute=begin % DAY_MINUTES,
        # The same minute twice is a whole day, as 00:00-24:00 is.
        length_minutes=(end - begin) % DAY_MINUTES or DAY_MINUTES,
    )


def quiet_span(spans: tuple[QuietSpan, ...], local: datetime) -> QuietSpan | None:
    """Return the first span that a local time lies in, None if it lies in none."""
    minute = local.weekday() * DAY_MINUTES + local.hour * 60 + local.minute
    return next((span for span in spans if span.holds(minute)), None)


def cover_the_week(spans: tuple[QuietSpan, ...]) -> bool:
    """Return whether the spans leave no minute of the week."""
    if not spans:
        return False
    edges = {
        (day * DAY_MINUTES + span.begin_minute + end) % WEEK_MINUTES
        for span in spans
        for day in span.days
        for end in (0, span.length_minutes)
    }
    # Between two neighbouring edges nothing changes, so the first minute stands for all.
    minutes = sorted(edges | {0})
    starts = [one for one, _ in pairwise([*minutes, WEEK_MINUTES])]
    return all(any(span.holds(minute) for span in spans) for minute in starts)


def _minute(text: str, hour: str, minute: str) -> int:
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > DAY_MINUTES:
        raise ValueError(f"{text[:40]!r} names a time that no day has: hours go from 0:00 to 24:00")
    return total


def _days(text: str, first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    if first not in _DAYS or (last is not None and last not in _DAYS):
        raise ValueError(f"{text[:40]!r} names no day: they are Mon Tue Wed Thu Fri Sat Sun")
    begin = _DAYS.index(first)
    count = (_DAYS.index(last or first) - begin) % 7 + 1
    return frozenset((begin + step) % 7 for step in range(count))
