"""What pages were worth: what people said of each, how soon each came, what rules that never page could see.

From the levels of all rules, for a span of event time. A page has one verdict. What nobody said anything of is open,
and is no success: precision counts what was called an incident or noise, and says how many pages that leaves out.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import Any

from alertrules.ledger import WEEK_NS, Page
from alertrules.marks import Kind
from alertrules.wording import digits, percent
from detectors.core.columns import SECOND_NS
from detectors.core.engine import HORIZONS
from service.ledger.rates import share
from service.pipeline.rule_runner import Level
from service.reports.explain import keeps_budget, seen

NOISIEST_MAX = 10
BY_RULE = "rule"


class Verdict(StrEnum):
    """What became of a page."""

    INCIDENT = "incident"
    NOISE = "noise"
    EXPECTED = "expected"  # A maintenance window, or the new normal.
    ACKNOWLEDGED = "acknowledged"  # Somebody looked into it, and said no more.
    OPEN = "never_looked_at"


_SAID = {
    Kind.INCIDENT: Verdict.INCIDENT,
    Kind.NOISE: Verdict.NOISE,
    Kind.EXPECTED: Verdict.EXPECTED,
    Kind.NEW_NORMAL: Verdict.EXPECTED,
}


def verdict(page: Page) -> Verdict:
    """The last word of a person on a page."""
    if page.said is not None:
        return _SAID[page.said]
    return Verdict.ACKNOWLEDGED if page.acknowledged_by else Verdict.OPEN


def quality(levels: Sequence[Level], now_ns: int, weeks: float, by: str = BY_RULE) -> dict[str, Any]:
    """Alert quality over the last weeks before `now_ns` (event time), fit for JSON; `by` rule, or by a label of rules.

    Rules without that label are of the group "".
    """
    since_ns = now_ns - int(weeks * WEEK_NS)
    groups: dict[str, list[Level]] = {}
    for level in levels:
        name = level.rule.name if by == BY_RULE else dict(level.rule.labels).get(by, "")
        groups.setdefault(name, []).append(level)
    return {
        "weeks": weeks,
        "by": by,
        "groups": [_group(name, group, since_ns, weeks) for name, group in sorted(groups.items())],
        "never_fired": [told for level in levels if not level.sums.paged for told in _never(level)],
        "noisiest": list(_noisiest(levels, since_ns)),
    }


def _group(name: str, levels: Sequence[Level], since_ns: int, weeks: float) -> dict[str, Any]:
    pages = [page for level in levels for page in _of_late(level, since_ns)]
    counts = Counter(map(verdict, pages))
    judged = counts[Verdict.INCIDENT] + counts[Verdict.NOISE]
    precision = share(counts[Verdict.INCIDENT], judged)
    delays_s = [(page.at_ns - page.began_ns) / SECOND_NS for page in pages if page.began_ns]
    budgets = [level.rule.budget_in_all for level in levels if level.rule.budget_in_all is not None]
    counted = min((max(level.sums.weeks, 0.0) for level in levels), default=0.0)
    false_a_week = counts[Verdict.NOISE] / min(weeks, counted) if counted > 0 else math.nan
    return {
        "name": name,
        "rules": [level.rule.name for level in levels],
        "pages": len(pages),
        "verdicts": {one.value: counts[one] for one in Verdict},
        "precision": _number(precision.value),
        "precision_from": _number(precision.low),
        "precision_to": _number(precision.high),
        "budget_per_week": sum(budgets) if budgets else None,
        "false_pages_per_week": _number(false_a_week),
        "keeps_budget": _all([keeps_budget(level) for level in levels]),
        "median_delay_s": median(delays_s) if delays_s else None,
    }


def _of_late(level: Level, since_ns: int) -> Iterator[Page]:
    yield from (page for page in level.pages if page.at_ns >= since_ns)


def _never(level: Level) -> Iterator[dict[str, Any]]:
    """What a rule that never paged could see: the smallest change, of the median series, by how long it may take."""
    asked, sees = str(level.rule.effect) if level.rule.effect else None, {}
    for horizon in HORIZONS:
        values = [one for one in level.gauges.get(f"visible_{horizon}", ()) if not math.isnan(one)]
        if values:
            sees[horizon] = seen(asked, median(values))
    judged = level.gauges.get("warm")
    warm = int((judged > 0).sum()) if judged is not None else len(level.labels)
    yield {"rule": level.rule.name, "weeks": round(level.sums.weeks, 2), "series_judged": warm, "sees": sees}


def _noisiest(levels: Sequence[Level], since_ns: int) -> Iterator[dict[str, Any]]:
    """The series with most pages that were called noise, and what to change."""
    found: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    rules = {level.rule.name: level.rule for level in levels}
    for level in levels:
        found.update((level.rule.name, page.labels) for page in _of_late(level, since_ns) if page.said is Kind.NOISE)
    for (name, labels), times in found.most_common(NOISIEST_MAX):
        rule = rules[name]
        series = ", ".join(f"{label}: {value}" for label, value in labels) or "its one series"
        change = (
            f"a higher limit in overrides of {name} for {series}"
            if rule.described.limit
            else f"a larger effect, or a smaller budget, in overrides of {name} for {series}"
        )
        yield {"rule": name, "labels": dict(labels), "noise": times, "change": change}


def worded(found: Mapping[str, Any]) -> Iterator[str]:
    """The same for a person, line by line."""
    by = found["by"]
    yield f"the last {found['weeks']:g} weeks, by {by}"
    for group in found["groups"]:
        counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in group["verdicts"].items() if n)
        yield f"{group['name'] or f'(no {by})'}: {pages_in_words(group['pages'])}{f' ({counts})' if counts else ''}"
        if group["precision"] is not None:
            low, high = percent(group["precision_from"]), percent(group["precision_to"])
            yield f"  precision {percent(group['precision'])} (95%: {low} to {high}), of those that somebody judged"
        elif group["pages"]:
            yield "  precision unknown: nobody said of any page whether it was an incident or noise"
        if group["budget_per_week"] is not None and group["false_pages_per_week"] is not None:
            asked = digits(group["budget_per_week"])
            yield f"  {digits(group['false_pages_per_week'])} pages a week called noise, of a budget of {asked}"
        if group["median_delay_s"] is not None:
            yield f"  from the event to the page: {group['median_delay_s'] / 60:.1f} min (median)"
    if young := [one["rule"] for one in found["never_fired"] if not one["series_judged"]]:
        yield f"never paged, and have judged no series yet: {', '.join(young)}"
    for one in found["never_fired"]:
        if not one["series_judged"]:
            continue
        changes = " or ".join(f"{effect} within {horizon}" for horizon, effect in one["sees"].items())
        could = f"; at its usual traffic its median series would see {changes}" if changes else ""
        yield f"{one['rule']} never paged in {one['weeks']:g} weeks: nothing that it may page of has happened{could}"
    for one in found["noisiest"]:
        series = " ".join(f"{name}={value}" for name, value in one["labels"].items())
        yield f"noisiest: {one['rule']} {series}: {one['noise']} called noise; write {one['change']}"


def pages_in_words(count: int) -> str:
    """How many pages, in words.

    >>> pages_in_words(1), pages_in_words(3)
    ('1 page', '3 pages')
    """
    return f"{count} page{'' if count == 1 else 's'}"


def _all(kept: Sequence[bool | None]) -> bool | None:
    """Whether all rules keep their budgets; None while that of some is unknown and of none is broken."""
    if any(one is False for one in kept):
        return False
    return None if not kept or any(one is None for one in kept) else True


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
