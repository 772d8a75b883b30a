"""Inhibition, in Alertmanager's words: while an alert fires that explains another, the other is not told.

A target is inhibited by a source that fires and has the same values of the `equal` labels; a missing label is empty. An
alert that matches both sides is not inhibited by another that does: alerts of one kind never silence each other.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from alertrules.routes import Matching
from alertrules.rules import Written
from alertrules.select import accept


def _some(written: object) -> object:
    if not written:
        raise ValueError('names no alert; write ["severity=page"]')
    return written


class InhibitRule(Written):
    """Which alerts keep which others from being told."""

    source_matchers: Annotated[Matching, BeforeValidator(_some)]
    target_matchers: Annotated[Matching, BeforeValidator(_some)]
    equal: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(strict=False)] = ()


class Sources:
    """The alerts that fire, as sources of each inhibition rule.

    firing  labels of every alert that fires, by its id
    """

    def __init__(self, rules: Sequence[InhibitRule], firing: Mapping[str, Mapping[str, str]]) -> None:
        self._rules = tuple(rules)
        self._found: list[dict[tuple[str, ...], list[tuple[str, bool]]]] = []
        for rule in self._rules:
            by_values: dict[tuple[str, ...], list[tuple[str, bool]]] = {}
            for alert_id in sorted(firing):
                labels = firing[alert_id]
                if accept(rule.source_matchers, labels):
                    is_target = accept(rule.target_matchers, labels)
                    by_values.setdefault(_values(rule, labels), []).append((alert_id, is_target))
            self._found.append(by_values)

    def inhibiting(self, labels: Mapping[str, str]) -> str:
        """The id of an alert that inhibits one with these labels; empty if none does."""
        for rule, by_values in zip(self._rules, self._found, strict=True):
            if not accept(rule.target_matchers, labels):
                continue
            is_source = accept(rule.source_matchers, labels)
            for alert_id, is_target in by_values.get(_values(rule, labels), ()):
                if not (is_source and is_target):
                    return alert_id
        return ""


def _values(rule: InhibitRule, labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in rule.equal)
