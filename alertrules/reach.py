"""Which routes and inhibition rules can match at all, worked out from what the rules' alerts may be labelled with.

Of an alert its rule's name, severity and own labels are known, a label of a cell that the rule does not group by is
empty, and one that it groups by may be anything that its selection accepts.
"""

import re
from collections.abc import Sequence

from alertrules.rules import Rule, Severity
from alertrules.select import Matcher, Matchers, Operator

_LITERALS = re.compile(r"[\w-]+(?:\|[\w-]+)*", re.ASCII)
_OPPOSITE = {
    Operator.EQUAL: Operator.NOT_EQUAL, Operator.NOT_EQUAL: Operator.EQUAL,
    Operator.REGEX: Operator.NOT_REGEX, Operator.NOT_REGEX: Operator.REGEX,
}  # fmt: skip


def can_match(rules: Sequence[Rule], matchers: Matchers) -> bool:
    """Whether an alert of one of these rules can have labels that all matchers accept."""
    return any(_can(rule, matchers) for rule in rules if rule.severity is not Severity.TICKET)


def is_taken(rules: Sequence[Rule], matchers: Matchers, before: Sequence[Matchers]) -> bool:
    """Whether each alert that these matchers accept is one that matchers of `before` accept, too."""
    able = [rule for rule in rules if rule.severity is not Severity.TICKET and _can(rule, matchers)]
    return all(any(all(_follows(rule, matchers, one) for one in other) for other in before) for rule in able)


def _can(rule: Rule, matchers: Matchers) -> bool:
    for label in {matcher.label for matcher in matchers}:
        asked = [matcher for matcher in matchers if matcher.label == label]
        value = _fixed(rule, label)
        if value is not None:
            if not all(matcher.accepts(value) for matcher in asked):
                return False
            continue
        asked += [matcher for matcher in rule.select if matcher.label == label]
        values = _values(asked)
        if values == ():
            return False
        if any(Matcher(label, _OPPOSITE[one.operator], one.value) in asked for one in asked):
            return False
    return True


def _follows(rule: Rule, given: Matchers, asked: Matcher) -> bool:
    """Whether an alert of the rule that `given` accepts is one that `asked` accepts."""
    value = _fixed(rule, asked.label)
    if value is not None:
        return asked.accepts(value)
    known = [matcher for matcher in (*given, *rule.select) if matcher.label == asked.label]
    values = _values(known)
    if values is not None:
        return all(asked.accepts(one) for one in values)
    return asked in known or (asked.operator is Operator.REGEX and asked.value == ".*")


def _fixed(rule: Rule, label: str) -> str | None:
    """The value that a label has in every alert of the rule; None where it may be anything."""
    if label in ("alert", "alertname"):
        return rule.name
    if label == "severity":
        return rule.severity.value
    own = dict(rule.labels)
    if label in own and label not in rule.by:
        return own[label]
    return None if label in rule.by else ""


def _values(matchers: Sequence[Matcher]) -> tuple[str, ...] | None:
    """All values that these accept; None where they cannot be told one by one."""
    for matcher in matchers:
        if matcher.operator is Operator.EQUAL or (
            matcher.operator is Operator.REGEX and _LITERALS.fullmatch(matcher.value)
        ):
            values = [matcher.value] if matcher.operator is Operator.EQUAL else matcher.value.split("|")
            return tuple(value for value in values if all(one.accepts(value) for one in matchers))
    return None
