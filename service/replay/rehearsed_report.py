"""What a rehearsal of rules on recorded telemetry gave, as text, as Markdown for a pull request, or for JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from alertrules.wording import clean, labels_text, utc
from detectors.core.columns import SECOND_NS
from service.replay.pages_told import Page
from service.replay.rehearsal import Difference, Rehearsed, RuleOutcome

PAGES_MAX = 50
"""Pages that a report lists one by one."""
CELL_MAX = 200


def report(now: Rehearsed, before: Rehearsed | None, changed: Difference | None) -> Iterator[str]:
    """Markdown that reads well as plain text, too."""
    yield f"### Pages that would have been sent, {utc(now.from_ns)} to {utc(now.until_ns)}"
    yield ""
    unread = f" {now.unread} bodies could not be read." if now.unread else ""
    yield f"{now.spans:,} spans, {now.weeks:.1f} weeks; {len(now.pages)} pages.{unread}"
    yield ""
    if now.dropped:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(now.dropped.items()))
        yield f"Not counted, or not wholly: {reasons}."
        yield ""
    yield from _table(now, before)
    if changed is None:
        yield from _listed("Pages", now.pages)
    else:
        yield f"{changed.both} pages are sent by both."
        yield ""
        yield from _listed("New pages", changed.new)
        yield from _listed("Pages that are gone", changed.gone)


def _table(now: Rehearsed, before: Rehearsed | None) -> Iterator[str]:
    """A row a rule: pages by week, and what it may cost."""
    weeks = sorted({week for one in (now, before) if one for rule in one.rules for week in rule.weeks})
    was = {rule.rule: rule for rule in before.rules} if before else {}
    head = ["rule", "budget a week", "pages", *(["before"] if before else []), *(f"week of {week}" for week in weeks)]
    rows = [head, ["---"] * len(head)]
    rows += [_row(rule, was.get(rule.rule), weeks, bool(before)) for rule in now.rules]
    gone = [rule for name, rule in was.items() if name not in {one.rule for one in now.rules}]
    rows += [[f"{rule.rule} (gone)", _budget(rule), "0", str(len(rule.pages)), *[""] * len(weeks)] for rule in gone]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
    yield ""
    silent = [rule.rule for rule in now.rules if not rule.series]
    learning = [rule.rule for rule in now.rules if rule.series and not rule.judged]
    if silent:
        yield f"Looked at nothing: {', '.join(silent)}."
        yield ""
    if learning:
        yield f"Still learning at the end, so silent: {', '.join(learning)}."
        yield ""


def _row(rule: RuleOutcome, was: RuleOutcome | None, weeks: Sequence[str], compares: bool) -> list[str]:
    before = [str(len(was.pages)) if was else "no such rule"] if compares else []
    return [rule.rule, _budget(rule), str(len(rule.pages)), *before, *(str(rule.weeks[week]) for week in weeks)]


def _budget(rule: RuleOutcome) -> str:
    return "none" if rule.budget_per_week is None else f"{rule.budget_per_week:g}"


def _listed(title: str, pages: Sequence[Page]) -> Iterator[str]:
    yield f"#### {title}: {len(pages)}"
    yield ""
    for page in pages[:PAGES_MAX]:
        who = clean(labels_text(page.alert.labels), CELL_MAX)
        yield f"- {utc(page.at_ns)} {page.alert.rule} ({who}): {_quoted(page)}"
    if len(pages) > PAGES_MAX:
        yield f"- … and {len(pages) - PAGES_MAX} more"
    if pages:
        yield ""


def _quoted(page: Page) -> str:
    """A page's title, which may hold any text of telemetry, as code of Markdown."""
    return f"`{clean(page.alert.title, CELL_MAX).replace('`', chr(39))}`"


def shown(now: Rehearsed, before: Rehearsed | None, changed: Difference | None) -> dict[str, Any]:
    """The same for JSON."""
    found: dict[str, Any] = {"rules": _rules(now)}
    found |= {} if before is None else {"before": _rules(before)}
    found |= {
        "from_s": now.from_ns / SECOND_NS, "until_s": now.until_ns / SECOND_NS, "weeks": round(now.weeks, 4),
        "spans": now.spans, "unread": now.unread, "dropped": dict(now.dropped),
        "tickets": dict(now.tickets),
    }  # fmt: skip
    if changed is None:
        return found | {"pages": [page.shown() for page in now.pages]}
    return found | {
        "new": [page.shown() for page in changed.new], "gone": [page.shown() for page in changed.gone],
        "both": changed.both,
    }  # fmt: skip


def _rules(one: Rehearsed) -> list[dict[str, Any]]:
    return [
        {
            "rule": rule.rule, "budget_per_week": rule.budget_per_week, "pages": len(rule.pages),
            "weeks": dict(sorted(rule.weeks.items())), "series": rule.series, "judged": rule.judged,
        }
        for rule in one.rules
    ]  # fmt: skip
