"""What a rule can never do, told from its words alone: a selection that nothing matches, a signal that what it selects
never has, an override that never counts. What has a doubt of the kind `never` cannot page as it is written.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alertrules.rules import Rule
from alertrules.select import Matcher, Matchers, Operator
from detectors.core.signals import SIGNALS

_ALL = frozenset(("tenant", "agent", "agent_version", "operation"))
_OF_MODELS = frozenset(("provider", "model", "prompt", "response_model"))
LABELS_OF = {
    "llm": _ALL | _OF_MODELS,
    "embedding": _ALL | _OF_MODELS,
    "tool": _ALL | {"tool"},
    "retrieval": _ALL | {"tool"},
    "evaluation": _ALL | {"tool"},
    **dict.fromkeys(("agent", "workflow", "guardrail", "classification", "other", "session", "spend"), _ALL),
}
"""The operations of cells that are not a metric's, and the labels that such cells may have a value of."""
COUNTED = tuple(name for name in LABELS_OF if name != "spend")
"""Operations that are calls or sessions; what is spent without either counts neither."""
OF_METRICS = frozenset(("calls_per_minute", "latency_p50", "latency_p95", "latency_p99"))
"""Signals that a metric's points have besides those that only points have."""
CALIBRATED_LEAST = 7 / 30
"""One page in thirty days: what is calibrated from four weeks tells little of what is seldomer."""
_LITERALS = re.compile(r"[\w /:|@-]+", re.ASCII)


@dataclass(frozen=True)
class Doubt:
    """What is odd about a rule. `never`: it cannot page as it is written."""

    rule: str
    field: str
    message: str
    never: bool


def doubts(rule: Rule) -> Iterator[Doubt]:
    """Everything that is odd about one rule."""
    for label in dict.fromkeys(matcher.label for matcher in rule.select):
        mine = [matcher for matcher in rule.select if matcher.label == label]
        if label != "operation" and _values(mine) == frozenset():
            yield Doubt(rule.name, "select", f"{_and(mine)} contradict each other: nothing matches", True)
            return
    if _is_of_metrics(rule):
        yield from _of_metrics(rule)
    elif not rule.described.of_pipeline:
        yield from _of_calls(rule)
    yield from _overrides(rule)
    budget = rule.budget_per_week
    if not rule.described.effects and budget is not None and budget < CALIBRATED_LEAST:
        said = f"{rule.detector} learns its bar from four weeks, which cannot tell what comes less than once a month; "
        yield Doubt(rule.name, "budget", f"{said}write 1/month or more", False)


def _of_calls(rule: Rule) -> Iterator[Doubt]:
    """Doubts of a rule about calls and sessions."""
    on_operation = [matcher for matcher in rule.select if matcher.label == "operation"]
    asked = [name for name in LABELS_OF if all(matcher.accepts(name) for matcher in on_operation)]
    if not asked:
        words = ", ".join(LABELS_OF)
        said = f"{_and(on_operation)}: nothing matches, as there is no such operation; there are {words}"
        yield Doubt(rule.name, "select", said, True)
        return
    found = [name for name in asked if not _lacking(rule.select, name)]
    if not found:
        lacks = _lacking(rule.select, asked[0])
        having = [name for name, labels in LABELS_OF.items() if lacks.label in labels] if lacks else []
        said = (
            f"{lacks}: nothing matches, as {lacks.label if lacks else ''} is empty for the operations that are selected"
        )
        yield Doubt(rule.name, "select", f"{said}; {', '.join(having) or 'none'} have it", True)
        return
    told, what = _operations(rule)
    if not set(found) & set(told):
        said = f"{what} {_or(told)}, and the rule selects {_or(found)}; write select: {{operation: {told[0]}}}"
        yield Doubt(rule.name, "signal" if rule.signal else "detector", said, True)
        return
    for name in rule.by if not rule.described.of_running else ():
        if name == "metric" or not any(name in LABELS_OF[operation] for operation in found):
            yield Doubt(rule.name, "by", f"{name} is empty in all that is selected; leave it out", False)


def _operations(rule: Rule) -> tuple[Sequence[str], str]:
    """The operations that tell what a rule looks at, and what that is."""
    if rule.signal is not None:
        return SIGNALS[rule.signal].operations or COUNTED, f"{rule.signal} is a signal of"
    return rule.described.operations or COUNTED, f"{rule.detector} judges"


def _of_metrics(rule: Rule) -> Iterator[Doubt]:
    """Doubts of a rule about the points of metrics."""
    if rule.signal is not None:
        if not SIGNALS[rule.signal].of_metric and rule.signal not in OF_METRICS:
            known = [name for name, signal in SIGNALS.items() if signal.of_metric]
            said = f"the points of a metric never tell {rule.signal}; write one of {', '.join(known)}"
            yield Doubt(rule.name, "signal", said, True)
    elif rule.described.operations or not rule.described.of_points:
        said = f"{rule.detector} judges calls or sessions, not the points of a metric; write detector: level"
        yield Doubt(rule.name, "detector", said, True)


def _overrides(rule: Rule) -> Iterator[Doubt]:
    """Overrides that never count."""
    for number, override in enumerate(rule.overrides):
        labels = {matcher.label for matcher in override.match}
        both = [matcher for matcher in (*rule.select, *override.match) if matcher.label in labels]
        for label in sorted(labels):
            mine = [matcher for matcher in both if matcher.label == label]
            if _values(mine) == frozenset():
                said = f"{_and(mine)}: matches no series that the rule selects; leave it out"
                yield Doubt(rule.name, f"overrides.{number}.match", said, False)
        for earlier, other in enumerate(rule.overrides[:number]):
            if set(other.match) <= set(override.match):
                said = f"never counts, as overrides.{earlier} matches all that it matches; write the narrower one first"
                yield Doubt(rule.name, f"overrides.{number}", said, False)
                break


def _is_of_metrics(rule: Rule) -> bool:
    """Whether it is about points of metrics alone."""
    mine = [matcher for matcher in rule.select if matcher.label == "metric"]
    return bool(mine) and not all(matcher.accepts("") for matcher in mine)


def _lacking(select: Matchers, operation: str) -> Matcher | None:
    """A condition on a label that cells of this operation never have; None where all can hold."""
    empty = (matcher for matcher in select if matcher.label not in LABELS_OF[operation])
    return next((matcher for matcher in empty if not matcher.accepts("")), None)


def _values(matchers: Sequence[Matcher]) -> frozenset[str] | None:
    """All values that these conditions on one label accept together; None where they are not to be listed."""
    listed = [_listed(matcher) for matcher in matchers]
    known = [values for values in listed if values is not None]
    if not known:
        return None
    return frozenset(value for value in known[0] if all(matcher.accepts(value) for matcher in matchers))


def _listed(matcher: Matcher) -> frozenset[str] | None:
    """The values that one condition accepts, where they are few."""
    if matcher.operator is Operator.EQUAL:
        return frozenset((matcher.value,))
    if matcher.operator is Operator.NOT_REGEX and matcher.value in (".*", "(.*)"):
        return frozenset()
    if matcher.operator is Operator.REGEX and (not matcher.value or _LITERALS.fullmatch(matcher.value)):
        return frozenset(matcher.value.split("|"))
    return None


def _and(matchers: Sequence[Matcher]) -> str:
    return " and ".join(map(str, matchers))


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def alike(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Pairs of rules that ask the same of the same, under two names: both page for each incident."""
    first: dict[str, Rule] = {}
    for rule in rules:
        asks = repr((
            rule.detector, sorted(map(str, rule.select)), rule.by, rule.signal, rule.above, rule.below,
                rule.objective, rule.spans, rule.every_ns, rule.window_ns,
            rule.at_least, rule.effect, rule.overrides, rule.severity,
        ))  # fmt: skip
        if asks in first:
            yield first[asks], rule
        first.setdefault(asks, rule)
