"""Matchers: which label sets a rule (or an override) is about, in Prometheus' words.

Regular expressions are RE2's, as Prometheus' are: the time that one takes grows with the value's length and no faster.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import re2

from detectors.core.columns import CELL_LABELS

REGEX_LENGTH_MAX = 1000
_MATCHERS_MAX = 20
_ADVICE = {
    "invalid perl operator": "it has no look-around, back-references or flags but (?i): write two matchers, as "
    'tenant=~"shop-.*", tenant!~".*-test"',
    "invalid escape sequence": "it has no back-references; leave \\A and \\Z out, as the whole value is matched",
    "bad repetition operator": "write one of * + ? {2,5}, once",
    "invalid repetition size": "repeat at most 1000 times in all",
    "pattern too large": "write less of it",
}
"""By how RE2's complaint begins."""
_OPERATOR = r"(=~|!~|!=|=)"
_TEXT = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_MATCHER = re.compile(rf"\s*([A-Za-z_][A-Za-z0-9_]*)\s*{_OPERATOR}\s*{_TEXT}\s*(,|$)")
_CONDITION = re.compile(rf"{_OPERATOR}\s*+(?:{_TEXT}|(.*))")


class Operator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True)
class Matcher:
    """One condition on one label. A regular expression matches the whole value; a missing label is empty."""

    label: str
    operator: Operator
    value: str

    def accepts(self, value: str) -> bool:
        if self.operator is Operator.EQUAL:
            return value == self.value
        if self.operator is Operator.NOT_EQUAL:
            return value != self.value
        sound = value if value.isascii() else value.encode("utf-8", "replace").decode()
        found = _compiled(self.value).fullmatch(sound) is not None
        return found if self.operator is Operator.REGEX else not found

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.operator}"{escaped}"'


Matchers = tuple[Matcher, ...]


def matches(matchers: Matchers, label_names: Sequence[str], values: Sequence[str]) -> bool:
    """Whether a label set is selected, whose names and values these are."""
    return accept(matchers, dict(zip(label_names, values, strict=True)))


def accept(matchers: Matchers, labels: Mapping[str, str]) -> bool:
    """Whether every matcher accepts its label's value; a missing label is empty."""
    return all(matcher.accepts(labels.get(matcher.label, "")) for matcher in matchers)


def parse_matchers(written: object) -> Matchers:
    """Matchers from a mapping (`operation: tool`, `tenant: '!~"test-.*"'`) or from a Prometheus matcher string.

    Raises ValueError saying what was read and what is expected.
    """
    if isinstance(written, str):
        matchers = _from_text(written)
    elif isinstance(written, Mapping):
        matchers = from_mapping(written)
    else:
        raise ValueError(f"{written!r:.60} is not a selection; write {{operation: tool}} or 'operation=\"tool\"'")
    if len(matchers) > _MATCHERS_MAX:
        raise ValueError(f"{len(matchers)} matchers; at most {_MATCHERS_MAX} are taken")
    for matcher in matchers:
        _check(matcher)
    return matchers


def _from_text(text: str) -> Matchers:
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    found: list[Matcher] = []
    position = 0
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None:
            raise ValueError(f'"{inner[position:][:60]}" is not a matcher; write operation="tool", tenant!~"test-.*"')
        found.append(Matcher(match[1], Operator(match[2]), _unquoted(match[3])))
        position = match.end()
    return tuple(found)


def from_mapping(written: Mapping[Any, Any]) -> Matchers:
    """Matchers from a mapping, as `{operation: tool, tenant: '!~"test-.*"'}`."""
    return tuple(_from_pair(label, condition) for label, condition in written.items())


def _from_pair(label: object, condition: object) -> Matcher:
    if not isinstance(label, str) or not isinstance(condition, str):
        raise ValueError(f"{label}: {condition!r:.60} is not text; put the value in quotes, or write '=~\"a|b\"'")
    match = _CONDITION.fullmatch(condition.strip())
    if match is None:
        return Matcher(label, Operator.EQUAL, condition)
    return Matcher(label, Operator(match[1]), _unquoted(match[2]) if match[2] else match[3])


def _unquoted(quoted: str) -> str:
    """The text between the quotes. A backslash escapes a quote or itself; before anything else it stays (`\\d`)."""
    return re.sub(r"""\\([\\"'])""", r"\1", quoted[1:-1])


def _check(matcher: Matcher) -> None:
    if matcher.label not in CELL_LABELS:
        raise ValueError(f'"{matcher.label}" is not a label; there are {", ".join(CELL_LABELS)}')
    check_value(matcher)


def check_value(matcher: Matcher) -> None:
    """Raise ValueError for a regular expression that RE2 does not take, or that is too long."""
    if matcher.operator not in (Operator.REGEX, Operator.NOT_REGEX):
        return
    if len(matcher.value) > REGEX_LENGTH_MAX:
        raise ValueError(f"a regular expression of {len(matcher.value)} characters; write at most {REGEX_LENGTH_MAX}")
    try:
        _compiled(matcher.value)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f'"{matcher.value:.60}" is not a regular expression: {said}{_instead(said)}') from None
    except UnicodeEncodeError:
        raise ValueError(f"{matcher.value!a:.60} is not text that any label could have") from None


def _instead(said: str) -> str:
    """What to write instead of what this kind of regular expression does not have."""
    return next((f"; {advice}" for part, advice in _ADVICE.items() if said.startswith(part)), "")


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.dot_nl, options.log_errors = True, False
    return re2.compile(pattern, options)
