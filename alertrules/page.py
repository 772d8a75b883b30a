"""One alert in words: the line and the title a page shows of it, with the cause of the change."""

import math
from collections.abc import Callable, Sequence

from alertrules.cause import UNKNOWN, Cause, How, Known, Term
from alertrules.lifecycle import Labels
from alertrules.rules import Rule
from alertrules.summary import filled
from alertrules.wording import LEVELS, VALUE_LENGTH_MAX, clean, digits, labels_text, percent, utc
from detectors.core.columns import Finding
from detectors.core.signals import SIGNALS

FEW = 100
"""Units below which a share is told with its counts, and with the interval in which it lies."""
_BARS = "▁▂▃▄▅▆▇█"


def trend(levels: Sequence[float]) -> str:
    """Levels as characters, the largest one a full bar; a dot where nothing is known. Empty if nothing is at all.

    >>> trend([1.0, 1.0, float("nan"), 4.0, 8.0])
    '▂▂·▅█'
    """
    known = [one for one in levels if math.isfinite(one)]
    most = max(known, default=0.0)
    if not most > 0:
        return ""
    return "".join(
        _BARS[min(int(max(one, 0.0) / most * len(_BARS)), len(_BARS) - 1)] if math.isfinite(one) else "·"
        for one in levels
    )


def interval(part: float, units: float) -> tuple[float, float]:
    """The 95% interval of a share by Clopper and Pearson, found by halving; `part` and `units` are whole numbers.

    >>> [round(end, 2) for end in interval(8, 11)], [round(end, 2) for end in interval(0, 3)]
    ([0.39, 0.94], [0.0, 0.71])
    """
    n, k = int(units), int(part)

    def at_most(k: int, share: float) -> float:
        return sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k + 1))

    def where(holds: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if holds(middle) else (low, middle)
        return low

    lower = 0.0 if k == 0 else where(lambda share: 1 - at_most(k - 1, share) < 0.025)
    upper = 1.0 if k == n else where(lambda share: at_most(k, share) > 0.025)
    return lower, upper


def line(rule: Rule, labels: Labels, finding: Finding, known: Known = UNKNOWN) -> str:
    """One alert in one line: what changed, by how much, since when, over how many, what explains it, and news."""
    level = LEVELS.get(finding.unit, digits)
    subject = SIGNALS[rule.signal].subject if rule.signal else rule.described.subject
    change = f"{subject} {level(finding.now)} ({rule.described.arrow} {level(finding.before)})"
    if not known.is_weighted and (counts := _few(finding)):  # An interval is of units that were seen.
        change = f"{subject} {counts} ({rule.described.arrow} {level(finding.before)})"
    sessions = ("operation", "session") in labels or rule.counts_sessions
    unit = ("session" if sessions else "call") + ("" if finding.count == 1 else "s")
    counted = "" if math.isnan(finding.count) else f", over {finding.count:,.0f} {unit}"
    said = f"{labels_text(labels)}: {change} since {utc(finding.since_ns)}{counted}"
    said += f"; {clean(finding.detail, VALUE_LENGTH_MAX)}" if finding.detail else ""
    return "; ".join([said, *([told(known.cause)] if known.cause else []), *known.news])


def _few(finding: Finding) -> str:
    """A share of few units with its counts: `8 of 11 (73%, 39 to 94)`; empty where it is of many, or is not known."""
    if finding.unit not in ("ratio", "share") or not (0 < finding.count < FEW and 0 <= finding.now <= 1):
        return ""
    units, part = round(finding.count), round(finding.now * finding.count)
    # Sampled units stand for others, and a level that is smoothed is no count.
    if abs(units - finding.count) > 1e-6 or abs(part - finding.now * finding.count) > 0.05 or part > units:
        return ""
    low, high = interval(part, units)
    return f"{part} of {units} ({percent(part / units)}, {100 * low:.0f} to {100 * high:.0f})"


def description(rule: Rule, labels: Labels, finding: Finding) -> str:
    """The rule's description filled in; empty where it has none."""
    if not rule.annotations.description:
        return ""
    return filled(rule.annotations.description, dict(rule.labels) | dict(labels), finding)


_BARE = ("tool", "model", "error", "provider")
"""Labels whose values say by themselves what they are."""


def named(cause: Cause) -> str:
    """The cause in a few words, for a title: `crm.search, timeout`; empty where there is none.

    >>> named((Term(How.RATE, "tool", "crm.search", 0.01, 0.4, "ratio", 0.98),))
    'crm.search'
    >>> named((Term(How.MIX, "model", "opus", 0.05, 0.6, "share", 0.9),))
    'more of opus (5% to 60%)'
    >>> named((Term(How.FACTOR, "tokens a call", "", 3200.0, 9800.0, "", 0.9),))
    'tokens a call 3,200 to 9,800'
    """
    return ", ".join(_named(term) for term in cause)


def _named(term: Term) -> str:
    value = clean(term.value, VALUE_LENGTH_MAX)
    bare = _BARE if value else (term.label,)
    value = value or f"calls without {term.label}"
    level = LEVELS.get(term.unit, digits)
    if term.how is How.FACTOR:
        return f"{term.label} {level(term.before)} to {level(term.now)}"
    name = value if term.label in bare else f"{term.label.removeprefix('agent_').replace('_', ' ')} {value}"
    if term.how is How.RATE:
        return name
    return f"{'more' if term.now > term.before else 'less'} of {name} ({level(term.before)} to {level(term.now)})"


def told(cause: Cause) -> str:
    """The cause as a sentence with its numbers, for a page's text; empty where there is none.

    >>> told((Term(How.RATE, "tool", "crm.search", 0.01, 0.4, "ratio", 0.98),))
    'crm.search went from 1% to 40%, which explains 98% of the change'
    """
    if not cause:
        return ""
    first, *within = cause
    level = LEVELS.get(first.unit, digits)
    said = _named(first)
    if first.how is How.RATE:
        since = f"from {level(first.before)} to" if first.before == first.before else "is new, at"
        said += f" went {since} {level(first.now)}" if first.before == first.before else f" {since} {level(first.now)}"
    inner = "".join(f", within it {_named(term)}" for term in within)
    beside = ", while what is not of it is unchanged" if first.label == "agent_version" else ""
    return f"{said}{inner}, which explains {_part(cause)} of the change{beside}"


def _part(cause: Cause) -> str:
    share = 1.0
    for term in cause:
        share *= min(max(term.share, 0.0), 1.0)
    return f"{digits(round(100 * share))}%"


def title(rule: Rule, labels: Labels, finding: Finding, cause: Cause = ()) -> str:
    """The rule's summary filled in, or a sentence of its own; then the cause, if one is known."""
    if rule.annotations.summary:
        said = filled(rule.annotations.summary, dict(rule.labels) | dict(labels), finding)
    else:
        said = f"{rule.name}: {_sentence(rule, labels, finding)}"
    return f"{said}: {named(cause)}" if cause else said


def _sentence(rule: Rule, labels: Labels, finding: Finding) -> str:
    """Who, what, from and to."""
    level = LEVELS.get(finding.unit, digits)
    subject = SIGNALS[rule.signal].subject if rule.signal else rule.described.subject
    before = "" if math.isnan(finding.before) else f"{level(finding.before)} to "
    if rule.described.limit:
        return f"{labels_text(labels)}: {subject} {level(finding.now)}, limit {level(finding.before)}"
    return f"{labels_text(labels)}: {subject} {before}{level(finding.now)}"
