"""What came of sessions by day, as JSON and in lines for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alertrules.wording import VALUE_LENGTH_MAX, clean, percent, utc
from detectors.core.columns import SECOND_NS
from service.ledger.by_day import Cohort, Day
from service.ledger.histories import LEGS_READ_MAX

COHORTS_SHOWN_MAX = 100


def days_told(cohorts: Sequence[Cohort]) -> dict[str, Any]:
    """All of it, fit for JSON; null is not known."""
    return {
        "sessions": sum(one.sessions for one in cohorts),
        "cohorts": [
            {"agent": one.agent, "version": one.version, "days": [_told(day) for day in one.days]}
            for one in cohorts[:COHORTS_SHOWN_MAX]
        ],
        "cohorts_in_all": len(cohorts),
    }


def _told(day: Day) -> dict[str, Any]:
    bad = day.bad_share
    return {
        "day": utc(day.day_ns)[: len("2026-01-31")],
        "day_s": day.day_ns // SECOND_NS,
        "sessions": day.sessions,
        "known": day.known,
        "bad": day.bad,
        **{
            f"bad_share{end}": value if day.known else None
            for end, value in zip(("", "_low", "_high"), bad, strict=True)
        },
        "settled": day.settled,
    }


def day_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `days_told` gave."""
    if not found["cohorts"]:
        yield "no session has ended in these days"
        return
    of = f"of the latest {LEGS_READ_MAX:,} legs at most"
    yield f"{found['sessions']} sessions by the day on which they ended, UTC; {of}"
    for one in found["cohorts"]:
        name = clean(one["agent"], VALUE_LENGTH_MAX) or "no agent"
        version = f", version {clean(one['version'], VALUE_LENGTH_MAX)}" if one["version"] else ""
        yield f"{name}{version}:"
        for day in one["days"]:
            known = f"of {percent(day['known'] / day['sessions'])} it is known how they ended"
            bad = "" if day["bad_share"] is None else (
                f", {percent(day['bad_share'])} of these badly ({percent(day['bad_share_low'])} to "
                f"{percent(day['bad_share_high'])})"
            )  # fmt: skip
            more = "" if day["settled"] else "; more are to come, by the days before"
            yield f"  {day['day']} {day['sessions']} sessions, {known}{bad}{more}"
    if found["cohorts_in_all"] > len(found["cohorts"]):
        yield f"… and {found['cohorts_in_all'] - len(found['cohorts'])} more"
