"""Sessions that were exported whole, as spans in the order in which they ended.

A session is exported once it has ended, with spans from its first minute on. Read session by session, those of one
would be late because of another's. So spans wait until every session that they could lie beside is there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.sources.agentforce_api import AgentforceError, Session, Why

SPANS_A_BODY = 2_000
SESSION_ID = "gen_ai.conversation.id"


@dataclass(frozen=True, eq=False)
class Span:
    """One span, with what OTLP/JSON keeps beside it."""

    end_ns: int
    resource: dict[str, Any]
    scope: dict[str, Any]
    span: dict[str, Any]


def spans_of(document: dict[str, Any], session: Session) -> list[Span]:
    """The spans of an export, each with the session's id where it names none; raises AgentforceError where it is none.

    A span without a sane end is taken as ending with the session: what reads it says what is wrong with it.
    """
    groups = document.get("resourceSpans")
    if not isinstance(groups, list):
        raise AgentforceError(Why.MALFORMED, "an exported session has no resourceSpans")
    found = []
    for group in groups:
        for scoped in _list(group, "scopeSpans"):
            resource, scope = _object(group, "resource"), _object(scoped, "scope")
            for span in _list(scoped, "spans"):
                if isinstance(span, dict):
                    found.append(Span(_end_ns(span, session), resource, scope, _with_session(span, session.id)))
    return found


def bodies(spans: list[Span]) -> Iterator[bytes]:
    """OTLP/JSON of these spans in the order of their ends, SPANS_A_BODY each."""
    ordered = sorted(spans, key=lambda one: one.end_ns)
    for first in range(0, len(ordered), SPANS_A_BODY):
        groups = [
            {"resource": one.resource, "scopeSpans": [{"scope": one.scope, "spans": [one.span]}]}
            for one in ordered[first : first + SPANS_A_BODY]
        ]
        yield json.dumps({"resourceSpans": groups}, separators=(",", ":")).encode()


def _list(of: object, name: str) -> list[Any]:
    found = of.get(name) if isinstance(of, dict) else None
    return found if isinstance(found, list) else []


def _object(of: object, name: str) -> dict[str, Any]:
    found = of.get(name) if isinstance(of, dict) else None
    return found if isinstance(found, dict) else {}


def _end_ns(span: dict[str, Any], session: Session) -> int:
    told = str(span.get("endTimeUnixNano", ""))
    return int(told) if told.isdecimal() and len(told) <= 19 else session.end_ns


def _with_session(span: dict[str, Any], name: str) -> dict[str, Any]:
    attributes = _list(span, "attributes")
    if any(isinstance(one, dict) and one.get("key") == SESSION_ID for one in attributes):
        return span
    return {**span, "attributes": [*attributes, {"key": SESSION_ID, "value": {"stringValue": name}}]}
