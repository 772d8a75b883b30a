"""Evaluations that events of spans tell: a body that has any is read once more, by protobuf, for them alone.

An evaluator writes its event beside what it judged. It is of the session that the event or its span names; else of the
trace that the span's first link names; without a link of the span's own trace.
"""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.batch import Dropped, Signal
from service.ingest.otlp.in_json import is_json
from service.ingest.otlp.in_protobuf import CrowdedError, UnreadableError, parse
from service.ingest.otlp.points import (
    SESSION_ATTRIBUTES,
    Labels,
    Read,
    from_json,
    id_of,
    is_own,
    labels_of,
    read_evaluation,
    text_of,
)
from service.ingest.otlp.wanted import EVALUATION_EVENT


def read(body: bytes) -> Read:
    """The evaluations of a body of traces, and what was dropped of them. Its spans were read by others, and stand.

    Where the body holds too much for protobuf, or is JSON that it refuses, that is one drop.
    """
    found = Read()
    try:
        message = from_json(ExportTraceServiceRequest(), body) if is_json(body) else parse(Signal.TRACES, body)
    except CrowdedError:
        found.dropped[Dropped.TOO_LARGE] += 1
        return found
    except UnreadableError:
        found.dropped[Dropped.MALFORMED] += 1
        return found
    for each in message.resource_spans:
        if is_own(each.resource):  # Its spans are counted.
            continue
        resource: Labels | None = None
        for span in [span for scope in each.scope_spans for span in scope.spans if span.events]:
            for event in span.events:
                if text_of(event.name) == EVALUATION_EVENT:
                    resource = labels_of(each.resource.attributes) if resource is None else resource
                    _read(span, event, resource, found)
    return found


def _read(span: Any, event: Any, resource: Labels, found: Read) -> None:
    judged = span.links[0] if span.links else span
    labels = dict(labels_of(event.attributes))
    if not any(labels.get(name) for name in SESSION_ATTRIBUTES):
        labels |= dict(labels_of(pair for pair in span.attributes if text_of(pair.key) in SESSION_ATTRIBUTES))
    time_ns = event.time_unix_nano or span.end_time_unix_nano
    ids = id_of(judged.trace_id), id_of(judged.span_id)
    read_evaluation(tuple(sorted(labels.items())), resource, time_ns, ids, found)
