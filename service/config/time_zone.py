"""The calendar of a time zone, worked out once from the zone's rules."""

from datetime import UTC as UTC_ZONE
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from detectors.core.calendar import UTC, Calendar

FIRST_YEAR, LAST_YEAR = 2000, 2100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC_ZONE)
_HOUR = timedelta(hours=1)


def calendar(name: str) -> Calendar:
    """The calendar of a zone of the IANA database. Raises ValueError with a sentence for any other name.

    Zones that are half an hour off are taken to the hour before: what counts is that an hour of the day stays the same.

    >>> calendar("Asia/Kolkata").changes, len(calendar("Europe/Berlin").changes)
    (((262968, 5),), 201)
    """
    if name == "UTC":
        return UTC
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f'"{name[:80]}" is not a time zone; write UTC or a name as Europe/Berlin') from None

    def ahead(hour: int) -> int:
        offset = (_EPOCH + hour * _HOUR).astimezone(zone).utcoffset()
        return 0 if offset is None else offset // _HOUR

    first, last = (int((datetime(year, 1, 1, tzinfo=UTC_ZONE) - _EPOCH) / _HOUR) for year in (FIRST_YEAR, LAST_YEAR))
    changes = [(first, ahead(first))]
    for day in range(first, last, 24):
        if ahead(day + 24) != changes[-1][1]:
            hour = next(hour for hour in range(day, day + 25) if ahead(hour) != changes[-1][1])
            changes.append((hour, ahead(hour)))
    return Calendar(tuple(changes))
