"""Matchers of routes, inhibition and silences, over labels of any name: Alertmanager's texts, or our mapping."""

import re
from collections.abc import Iterator, Mapping

from alertrules.select import Matcher, Matchers, Operator, check_value, from_mapping

MATCHERS_MAX = 20
_EXAMPLE = 'write [team="agents", severity=~"page|critical"] or {team: agents}'
_MATCHER = re.compile(
    r"""\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^",]*?))\s*(?:,|$)""", re.DOTALL
)
_ESCAPE = re.compile(r"""\\(n|"|\\)""")


def matchers_of(written: object) -> Matchers:
    """Read matchers as Alertmanager has them, or as a mapping.

    Raises ValueError that says what was read and what to write instead.

    >>> [str(one) for one in matchers_of(['team=agents, severity!="page"'])]
    ['team="agents"', 'severity!="page"']
    >>> [str(one) for one in matchers_of({"team": '=~"a|b"'})]
    ['team=~"a|b"']
    """
    if isinstance(written, Mapping):
        found = from_mapping(written)
    elif isinstance(written, str):
        found = tuple(_parsed(written))
    elif isinstance(written, list) and all(isinstance(one, str) for one in written):
        found = tuple(matcher for one in written for matcher in _parsed(one))
    else:
        raise ValueError(f"{written!r:.60} are not matchers; {_EXAMPLE}")
    if len(found) > MATCHERS_MAX:
        raise ValueError(f"{len(found)} matchers; at most {MATCHERS_MAX} are taken")
    for matcher in found:
        check_value(matcher)
    return found


def _parsed(text: str) -> Iterator[Matcher]:
    """The matchers of one text. A value without quotes ends at a comma; a backslash escapes as Alertmanager has it."""
    inner = text.strip()
    inner = inner[1:-1].strip() if inner.startswith("{") and inner.endswith("}") else inner
    position = 0
    while position < len(inner):
        match = _MATCHER.match(inner, position)
        if match is None:
            raise ValueError(f'"{inner[position:][:60]}" is not a matcher; {_EXAMPLE}')
        value = match[4] if match[3] is None else match[3]
        yield Matcher(match[1], Operator(match[2]), _ESCAPE.sub(_unescaped, value))
        position = match.end()


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def text_of(matchers: Matchers) -> str:
    """The matchers as Prometheus writes them, in one order whatever theirs.

    >>> text_of(matchers_of(["b=2", "a=1"]))
    '{a="1",b="2"}'
    """
    return "{" + ",".join(sorted(map(str, matchers))) + "}"
