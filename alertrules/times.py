"""Time intervals, in Alertmanager's words: when routes that name them tell nobody, or tell at all.

An interval holds at a moment where one of its entries does, and an entry where each field that it names does. Minutes,
days and months are those of the entry's `location`, UTC where it names none.
"""

import calendar
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from alertrules.fields import written
from alertrules.routes import Called
from alertrules.rules import Written
from detectors.core.columns import SECOND_NS

Range = tuple[int, int]
"""First and last value, both within."""
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)


def _minute(text: object) -> int:
    """Minutes since midnight."""
    found = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r:.40} is not a time of day; write '09:00', or '24:00' for the end of the day")
    return int(found[1]) * 60 + int(found[2]) if found[1] else 1440


Minute = Annotated[int, BeforeValidator(_minute), written(type="string", pattern=f"^(?:{_CLOCK.pattern})$")]


class Times(Written):
    """Part of a day, its end not within."""

    start_time: Minute
    end_time: Minute


def _times(written: object) -> object:
    for one in written if isinstance(written, list) else []:
        both = isinstance(one, dict) and {"start_time", "end_time"} <= one.keys()
        if both and _minute(one["start_time"]) >= _minute(one["end_time"]):
            raise ValueError(
                f"{one['start_time']} is not before {one['end_time']}; a night is two: to '24:00', and from '00:00'"
            )
    return written


def _number(part: str, names: tuple[str, ...], first: int) -> int:
    """A value by its name, which counts from `first`, or by its digits; weekdays have names alone."""
    if part in names:
        return names.index(part) + first
    if names == _WEEKDAYS:
        raise ValueError
    return int(part)


def _order(value: int) -> int:
    """Where a value stands, the days before a month's end behind all others."""
    return value if value > 0 else value + 31


def _range(text: object, names: tuple[str, ...], lowest: int, highest: int, example: str) -> Range:
    """A text `A` or `A:B`, both within."""
    parts = str(text).lower().split(":")
    try:
        numbers = [_number(part, names, 1 if names == _MONTHS else 0) for part in parts]
    except ValueError:
        numbers = []
    is_taken = len(numbers) in (1, 2) and all(lowest <= number <= highest for number in numbers)
    is_day = lowest < 0
    if not is_taken or isinstance(text, bool) or (is_day and 0 in numbers):
        raise ValueError(f"{text!r:.40} is not taken; write {example}")
    begin, end = numbers[0], numbers[-1]
    is_turned = begin < 0 < end or _order(begin) > _order(end) if is_day else begin > end
    if is_turned:
        raise ValueError(f"{text!r:.40} ends before it begins; write {example}")
    return begin, end


def _ranges(names: tuple[str, ...], lowest: int, highest: int, example: str) -> BeforeValidator:
    """The validator that reads a list of such texts."""

    def read(written: object) -> tuple[Range, ...]:
        if not isinstance(written, list):
            raise ValueError(f"{written!r:.60} is not a list; write [{example}]")
        return tuple(_range(text, names, lowest, highest, example) for text in written)

    return BeforeValidator(read)


@lru_cache
def zone_of(name: str) -> tzinfo:
    """The time zone of that name in the IANA database. Raises what ZoneInfo raises."""
    return ZoneInfo(name)


def _zone(text: str) -> str:
    try:
        if zone_of(text):
            return text
    except (ValueError, OSError, KeyError):
        pass
    raise ValueError(f"{text!r:.80} is not a time zone; write UTC or a name as Europe/Berlin")


_AS_WRITTEN = written(type="array", items={"anyOf": [{"type": "string"}, {"type": "integer"}]})


class Entry(Written):
    """One entry of an interval: what it does not name holds always."""

    times: Annotated[Annotated[tuple[Times, ...], Field(strict=False)], BeforeValidator(_times)] = ()
    weekdays: Annotated[tuple[Range, ...], _ranges(_WEEKDAYS, 0, 6, "'monday:friday', saturday"), _AS_WRITTEN] = ()
    days_of_month: Annotated[tuple[Range, ...], _ranges((), -31, 31, "'1:5', '-3:-1'"), _AS_WRITTEN] = ()
    months: Annotated[tuple[Range, ...], _ranges(_MONTHS, 1, 12, "'january:march', 12"), _AS_WRITTEN] = ()
    years: Annotated[tuple[Range, ...], _ranges((), 1, 9999, "'2026:2028', 2030"), _AS_WRITTEN] = ()
    location: Annotated[str, AfterValidator(_zone)] = "UTC"

    def holds(self, time_ns: int) -> bool:
        """Whether this moment is within."""
        now = datetime.fromtimestamp(time_ns // SECOND_NS, UTC).astimezone(zone_of(self.location))
        minute = now.hour * 60 + now.minute
        weekday = (now.weekday() + 1) % 7
        if self.times and not any(one.start_time <= minute < one.end_time for one in self.times):
            return False
        if self.days_of_month and not any(_is_day(now, *span) for span in self.days_of_month):
            return False
        fields = ((self.weekdays, weekday), (self.months, now.month), (self.years, now.year))
        return all(not spans or any(a <= value <= b for a, b in spans) for spans, value in fields)


def _is_day(now: datetime, begin: int, end: int) -> bool:
    """Whether a day lies between two days of its month, of which a negative one counts from the month's end."""
    days = calendar.monthrange(now.year, now.month)[1]
    first, last = (day if day > 0 else days + day + 1 for day in (begin, end))
    return max(first, 1) <= now.day <= min(last, days)


class TimeInterval(Written):
    """A name for times of the week or year."""

    name: Called
    time_intervals: Annotated[tuple[Entry, ...], Field(strict=False)]

    @field_validator("time_intervals", mode="after")
    @classmethod
    def _some(cls, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        if not entries:
            raise ValueError("names no time; write [{weekdays: [saturday, sunday]}]")
        return entries

    def holds(self, time_ns: int) -> bool:
        """Whether this moment is within one of its entries."""
        return any(entry.holds(time_ns) for entry in self.time_intervals)


def holding(names: Iterable[str], known: Mapping[str, TimeInterval], time_ns: int) -> tuple[str, ...]:
    """Those of these intervals that hold at a moment."""
    return tuple(name for name in names if name in known and known[name].holds(time_ns))
