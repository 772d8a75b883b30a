"""The weekly report in words: the sessions that are most worth a look, and what pages were worth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from alertrules.groups import digest
from alertrules.notice import Notice, NoticeAlert, Status
from alertrules.wording import percent
from service.ledger.review_words import by_cause
from service.reports.quality import pages_in_words, worded

LINKS_A_CAUSE = 3
AGENTS_NAMED = 3


def review_notice(found: Mapping[str, Any], receiver: str, monday_ns: int) -> Notice | None:
    """What `review_told` gave, as a report; None where the week had no sessions."""
    if not found["sessions"]:
        return None
    title = f"{len(found['worst'])} of the week's {found['sessions']:,} sessions are most worth a look"
    causes = list(by_cause(found))
    lines = [_ends(found), *(_cause(cause, rows) for cause, rows in causes)]
    links = [
        (f"{cause} {number}", row["link"])
        for cause, rows in causes
        for number, row in enumerate(rows[:LINKS_A_CAUSE], 1)
        if row["link"]
    ]
    said = "All of them, and as many at random: tocsin review. Say what each was: tocsin review mark TRACE_ID good|bad"
    return _notice("WeeklyReview", receiver, monday_ns, title, lines, said, links)


def quality_notice(found: Mapping[str, Any], receiver: str, monday_ns: int) -> Notice | None:
    """What `quality` gave of one week, as a report; None where there are no rules."""
    if not found["groups"]:
        return None
    counts = Counter[str]()
    for group in found["groups"]:
        counts.update(group["verdicts"])
    pages = sum(group["pages"] for group in found["groups"])
    verdicts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    title = f"{pages_in_words(pages)} last week{f': {verdicts}' if verdicts else ''}"
    lines = [line.strip() for line in worded({**found, "groups": [one for one in found["groups"] if one["pages"]]})]
    said = "Four weeks, or by team: tocsin quality --by team. Say what a page was: tocsin mark"
    return _notice("WeeklyQuality", receiver, monday_ns, title, lines[1:], said, ())


def _notice(
    rule: str, receiver: str, monday_ns: int, title: str, lines: Sequence[str], said: str,
    links: Sequence[tuple[str, str]],
) -> Notice:  # fmt: skip
    number = digest(rule, receiver, monday_ns)
    first = lines[0] if lines else title
    alert = NoticeAlert(
        number, rule, "info", (), title, first, "", monday_ns, monday_ns, said, links=tuple(links)
    )  # fmt: skip
    return Notice(
        notice_id=number, receiver=receiver, group=number, status=Status.REPORT, severity="info", rule=rule,
        title=title, lines=tuple(lines), labels=(), at_ns=monday_ns, began_ns=monday_ns, runbook="",
        alert_ids=(number,), description=said, alerts=(alert,),
    )  # fmt: skip


def _ends(found: Mapping[str, Any]) -> str:
    worst, audit = found["worst_bad"], found["audit_bad"]
    if not worst["known"] or not audit["known"]:
        return "how they ended is not known of enough of them"
    return (
        f"{percent(worst['share'])} of them ended badly, of as many at random {percent(audit['share'])} "
        f"(of {worst['known']} and {audit['known']} whose end is known)"
    )


def _cause(cause: str, rows: Sequence[Mapping[str, Any]]) -> str:
    agents = list(dict.fromkeys(row["agent"] or "(no agent)" for row in rows))
    more = len(agents) - AGENTS_NAMED
    names = ", ".join(agents[:AGENTS_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{cause}: {len(rows)}, of {names}"
