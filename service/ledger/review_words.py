"""A week's review as JSON, in lines for a terminal, and in Markdown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from alertrules.links import Links, trace_link
from alertrules.wording import percent, utc
from detectors.core.columns import SECOND_NS
from service.ledger.cohort_words import cohort_name
from service.ledger.histories import Who
from service.ledger.rates import Interval
from service.ledger.worst import Review, Worth

SIGNS_SHOWN = 3


def review_told(found: Review, links: Links) -> dict[str, Any]:
    """All of it, fit for JSON."""
    return {
        "sessions": found.sessions,
        "weights_learnt": found.learnt,
        "worst": [_told(one, links) for one in found.worst],
        "worst_bad": _share(*found.worst_bad),
        "audit": [_told(one, links) for one in found.audit],
        "audit_bad": _share(*found.audit_bad),
    }


def _told(one: Worth, links: Links) -> dict[str, Any]:
    trace_id = one.trace.hex()
    return {
        **one.who._asdict(),
        "trace_id": trace_id,
        "link": trace_link(links, trace_id),
        "until_s": one.until_ns / SECOND_NS,
        "score": round(one.score, 3),
        "cause": one.cause.words if one.cause else "",
        "signs": [sign.words for sign in one.signs],
        "bad": one.bad,
    }


def _share(found: Interval, known: int) -> dict[str, Any]:
    """A share with its interval; null where nothing is known."""
    values = [None if math.isnan(one) else one for one in found]
    return {"known": known, "share": values[0], "low": values[1], "high": values[2]}


def by_cause(found: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The sessions that are most worth a look, by their likely cause; those of one cause stand together."""
    for cause, rows in groupby(found["worst"], lambda one: one["cause"]):
        yield cause, list(rows)


def review_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What `review_told` gave, for a terminal."""
    yield f"{found['sessions']} sessions; the {len(found['worst'])} that are most worth a look, by likely cause"
    yield f"  {_compared(found)}"
    for cause, rows in by_cause(found):
        yield f"{cause}: {len(rows)}"
        yield from (f"  {_row(one)}" for one in rows)
    yield f"and {len(found['audit'])} at random:"
    yield from (f"  {_row(one)}" for one in found["audit"])
    yield "say what each was: tocsin review mark TRACE_ID good|bad"


def _row(one: Mapping[str, Any]) -> str:
    more = ", ".join(words for words in one["signs"][:SIGNS_SHOWN] if words != one["cause"])
    where = one["link"] or one["trace_id"]
    return f"{where} {_who(one)}, {_utc(one)}{_ended(one)}{f'; {more}' if more else ''}"


def review_markdown(found: Mapping[str, Any]) -> Iterator[str]:
    """The same as Markdown."""
    yield f"## The week's sessions: {len(found['worst'])} of {found['sessions']} that are most worth a look"
    yield ""
    yield _compared(found)
    for cause, rows in by_cause(found):
        yield from ("", f"### {cause[:1].upper()}{cause[1:]}: {len(rows)}", "")
        yield from _table(rows)
    yield from ("", f"### At random: {len(found['audit'])}", "")
    yield from _table(found["audit"])


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| session | whose | ended | signs |"
    yield "|---|---|---|---|"
    for one in rows:
        trace = f"[{one['trace_id'][:8]}]({one['link']})" if one["link"] else f"`{one['trace_id']}`"
        who = _who(one).translate(_ESCAPED)
        yield f"| {trace} | {who} | {_utc(one)}{_ended(one)} | {'; '.join(one['signs'])} |"


_ESCAPED = {ord(letter): f"\\{letter}" for letter in "\\`*_{}[]<>()#|!~"}


def _compared(found: Mapping[str, Any]) -> str:
    """Both shares of bad ends."""
    worst, audit = (_said(found[name]) for name in ("worst_bad", "audit_bad"))
    weights = f"{found['weights_learnt']} weights are learnt from bad ends before" if found["weights_learnt"] else (
        "weights are plain, as no sign is known to foretell bad ends"
    )  # fmt: skip
    return f"ended badly: {worst}; of as many at random {audit}; {weights}"


def _said(bad: Mapping[str, Any]) -> str:
    if not bad["known"]:
        return "not known of any"
    return f"{percent(bad['share'])} ({percent(bad['low'])} to {percent(bad['high'])}) of {bad['known']}"


def _who(one: Mapping[str, Any]) -> str:
    return cohort_name(Who(*(one[name] for name in Who._fields)))


def _utc(one: Mapping[str, Any]) -> str:
    return utc(round(one["until_s"] * SECOND_NS))


def _ended(one: Mapping[str, Any]) -> str:
    return {None: "", True: ", ended badly", False: ", ended well"}[one["bad"]]
