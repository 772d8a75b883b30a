"""What the record says of one session, or of who names sessions, in lines for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from alertrules.wording import VALUE_LENGTH_MAX, clean, utc
from detectors.core.columns import SECOND_NS

_CALLS = (
    (
        "model_calls",
        "model calls",
        (("failed_model_calls", "failed"), ("truncated_answers", "cut by their token limit")),
    ),
    ("tool_calls", "tool calls", (("failed_tool_calls", "failed"), ("repeated_tool_calls", "the same as before"))),
    ("retrievals", "retrievals", (("empty_retrievals", "found nothing"),)),
)


def session_lines(session_id: str, found: Mapping[str, Any]) -> Iterator[str]:
    """One session."""
    who = ", ".join(
        f"{name} {clean(found[name], VALUE_LENGTH_MAX)}"
        for name in ("agent", "version", "tenant", "model")
        if found[name]
    )
    yield f"session {session_id}: {who or 'of an agent that nothing names'}"
    turns = f"{found['traces']} traces, {found['legs_in_all']} legs" if found["traces"] > 1 else "1 trace"
    yield f"  {_utc(found['from_s'])} to {_utc(found['until_s'])}, active for {found['active_s']:.1f} s, {turns}"
    for name, words, parts in _CALLS:
        if found[name]:
            more = ", ".join(f"{found[part]} {said}" for part, said in parts if found[part])
            yield f"  {words}: {found[name]}{f' ({more})' if more else ''}"
    if found["lowest_retrieval_score"] is not None:
        yield f"  lowest best score of a retrieval: {found['lowest_retrieval_score']:.3g}"
    if found["guardrail_blocks"]:
        yield f"  guardrails that stopped something: {found['guardrail_blocks']}"
    cost = "not known: a call has no known price" if found["cost_usd"] is None else f"${found['cost_usd']:.4f}"
    yield f"  tokens: {found['input_tokens']:.0f} in, {found['output_tokens']:.0f} out; cost: {cost}"
    failed = "its root failed; " if found["failed"] else ""
    yield f"  ended: {failed}outcome {found['outcome'] or 'not stated'}"
    for late in found["late_outcomes"]:
        good = {None: "", True: ", good", False: ", bad"}[late["good"]]
        source = f", from {late['source']}" if late["source"] else ""
        held = "" if late["holds"] else "; a later one holds"
        yield f"  later: {late['outcome']} {late['value']}{good} at {_utc(late['at_s'])}{source}{held}"
    for leg in found["legs"]:
        yield f"  trace {leg['trace_id']} {_utc(leg['from_s'])} {leg['link']}".rstrip()
    if found["legs_in_all"] > len(found["legs"]):
        yield f"  … and {found['legs_in_all'] - len(found['legs'])} more legs"


def audit_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Who names sessions."""
    if not found["legs"]:
        yield f"no session has closed since {_utc(found['since_s'])}"
        return
    yield (
        f"since {_utc(found['since_s'])}: {found['named']} of {found['legs']} legs of sessions have a name "
        f"({found['named_share']:.1%}); an audit record can be joined to those alone"
    )
    for one in found["agents"]:
        name, since = clean(one["agent"], VALUE_LENGTH_MAX) or "no agent", one["nameless_since_s"]
        share = f"{one['named']} of {one['legs']} ({one['named_share']:.1%})"
        yield f"  {name}: {share}{f'; none has a name since {_utc(since)}' if since is not None else ''}"
    if found["agents_in_all"] > len(found["agents"]):
        yield f"  … and {found['agents_in_all'] - len(found['agents'])} more agents"


def _utc(seconds: float) -> str:
    return utc(round(seconds * SECOND_NS))
