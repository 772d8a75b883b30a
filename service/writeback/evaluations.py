"""What is written back: of each fact a span `gen_ai.evaluation`, and an event `gen_ai.evaluation.result` of its trace.

The ids of a span are a hash of its fact, so one that is sent twice is the same span. Of a session's traces only the ids
are known: a link names a trace and no span of it, and so does the event.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from alertrules.wording import percent
from service.ingest.otlp.wanted import EVALUATION_EVENT, OWN_MARK
from service.ledger.cohorts import Foretold
from service.ledger.late_rows import Joined

OWN_SERVICE = "tocsin"
EVALUATION_SPAN = "gen_ai.evaluation"
COHORT_EVALUATION = "tocsin.foretells_bad_end"
"""The evaluation that a believed sign of a cohort is: its score is the lift."""
_RESOURCE = Resource({"service.name": OWN_SERVICE, OWN_MARK: True})
_SCOPE = InstrumentationScope(OWN_SERVICE)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_SPAN = 0
Facts = Mapping[str, str | float]


class Written(NamedTuple):
    """One fact, as it is sent."""

    span: ReadableSpan
    event: ReadableLogRecord


def of_outcome(joined: Joined, now_ns: int) -> Written:
    """A late outcome whose session is known. Its time is that at which it became known."""
    has_number = not math.isnan(joined.number)
    passed = "" if joined.good is None else "pass" if joined.good else "fail"
    facts: Facts = {
        "gen_ai.evaluation.name": joined.name,
        "gen_ai.evaluation.score.label": passed if has_number else joined.value,
        "gen_ai.evaluation.score.value": joined.number,
        "gen_ai.conversation.id": joined.session,
        "gen_ai.agent.name": joined.agent,
        "gen_ai.agent.version": joined.version,
        "tenant.id": joined.tenant,
    }
    return _written(facts, joined.at_ns, joined.traces, now_ns)


def of_sign(one: Foretold, at_ns: int, now_ns: int) -> Written:
    """A sign that was believed to foretell bad ends of a cohort. It is of no trace."""
    two, ratio = one.two, one.lift
    rates = percent(two.bad_with / two.n_with), percent(two.bad_without / two.n_without)
    facts: Facts = {
        "gen_ai.evaluation.name": COHORT_EVALUATION,
        "gen_ai.evaluation.score.label": one.sign.name,
        "gen_ai.evaluation.score.value": ratio.value,
        "gen_ai.evaluation.explanation": (
            f"{one.sign.words}: {rates[0]} of {two.n_with} ended badly, without it {rates[1]} of {two.n_without}"
        ),
        "gen_ai.agent.name": one.who.agent,
        "gen_ai.agent.version": one.who.version,
        "gen_ai.request.model": one.who.model,
        "tenant.id": one.who.tenant,
        "tocsin.lift.low": ratio.low,
        "tocsin.lift.high": ratio.high,
        "tocsin.sessions": float(two.n_with + two.n_without),
    }
    return _written(facts, at_ns, (), now_ns)


def _written(facts: Facts, at_ns: int, traces: Sequence[bytes], now_ns: int) -> Written:
    """A fact of these traces; what is empty or no finite number is left out, and a letter that UTF-8 has not is `?`."""
    told = {
        name: value.encode(errors="replace").decode() if isinstance(value, str) else value
        for name, value in facts.items()
        if (value if isinstance(value, str) else math.isfinite(value))
    }
    hashed = hashlib.sha256(repr((sorted(told.items()), at_ns, traces)).encode()).digest()
    own = SpanContext(int.from_bytes(hashed[:16], "big"), int.from_bytes(hashed[16:24], "big"), False, _SAMPLED)
    of = [SpanContext(int.from_bytes(trace, "big"), _NO_SPAN, True, _SAMPLED) for trace in traces]
    span = ReadableSpan(
        EVALUATION_SPAN, own, resource=_RESOURCE, instrumentation_scope=_SCOPE, attributes=told, start_time=at_ns,
        end_time=at_ns, links=[Link(one, {"tocsin.link": "session"}) for one in of],
    )  # fmt: skip
    event = LogRecord(
        timestamp=at_ns, observed_timestamp=now_ns, attributes=told, event_name=EVALUATION_EVENT,
        context=set_span_in_context(NonRecordingSpan(of[0] if of else own)),
    )  # fmt: skip
    return Written(span, ReadableLogRecord(event, _RESOURCE, _SCOPE))
