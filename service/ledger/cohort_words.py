"""What foretold bad ends, as JSON and in lines for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from alertrules.wording import VALUE_LENGTH_MAX, clean, percent
from service.ledger.cohorts import FALSE_SHARE, Cohorts, Foretold
from service.ledger.histories import Who

LOG_E_SHOWN_MAX = 700.0
FORETOLD_SHOWN_MAX = 200


def cohorts_told(found: Cohorts) -> dict[str, Any]:
    """All that is believed, fit for JSON."""
    return {
        "sessions": found.sessions,
        "known": found.known,
        "bad": found.bad,
        "asked": found.asked,
        "false_share": FALSE_SHARE,
        "believed": [_told(one) for one in found.believed[:FORETOLD_SHOWN_MAX]],
        "believed_in_all": len(found.believed),
    }


def _told(one: Foretold) -> dict[str, Any]:
    ratio = one.lift
    return {
        **one.who._asdict(),
        "sign": one.sign.name,
        "words": one.sign.words,
        "sessions_with": one.two.n_with,
        "bad_with": one.two.bad_with,
        "sessions_without": one.two.n_without,
        "bad_without": one.two.bad_without,
        "lift": ratio.value,
        "lift_low": ratio.low,
        "lift_high": ratio.high,
        "log_e_value": min(one.log_e, LOG_E_SHOWN_MAX),
    }


def cohort_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `cohorts_told` gave."""
    yield (
        f"{found['sessions']} sessions, of {found['known']} of which it is known how they ended, {found['bad']} badly; "
        f"{found['asked']} pairs of a cohort and a sign were asked about"
    )
    if not found["believed"]:
        yield "nothing that was seen of them foretold a bad end beyond chance"
        return
    yield f"of what follows at most {percent(found['false_share'])} is chance, on average (e-BH)"
    before = None
    for one in found["believed"]:
        who = Who(*(one[name] for name in Who._fields))
        if who != before:
            yield f"{cohort_name(who)}:"
            before = who
        rates = (one["bad_with"] / one["sessions_with"], one["bad_without"] / one["sessions_without"])
        yield (
            f"  {one['words']}: {percent(rates[0])} of {one['sessions_with']} ended badly, without it "
            f"{percent(rates[1])} of {one['sessions_without']}; {one['lift']:.2g} times ({one['lift_low']:.2g} to "
            f"{one['lift_high']:.2g})"
        )
    if found["believed_in_all"] > len(found["believed"]):
        yield f"… and {found['believed_in_all'] - len(found['believed'])} more"


def cohort_name(who: Who) -> str:
    """A cohort by the labels that it names."""
    named = [f"{name} {clean(value, VALUE_LENGTH_MAX)}" for name, value in zip(Who._fields, who, strict=True) if value]
    return ", ".join(named) or "sessions of no agent"
