"""Ingest's state as named arrays, and back. Spans are columns, the rest is JSON text; nothing needs pickle.

What a trace knows follows from its spans, so it is worked out again; what its calls came to is saved.
"""

import json
from collections.abc import Mapping

import numpy as np

from detectors.core.columns import Arrays
from detectors.core.series import SeriesTable
from service.ingest.resolve import Pending
from service.ingest.rollup import Unit
from service.ingest.sessions import Session, Sessions
from service.ingest.traces import Trace, TraceTable
from service.ingest.vocabulary import Resource, Span
from service.ingest.watermark import Watermark

FLAGS = ("failed", "covered", "usage_below", "counted", "usage_counted")


def take(
    cells: SeriesTable,
    watermark: Watermark,
    table: TraceTable,
    sessions: Sessions,
    pending: Mapping[int, list[Pending]],
    closed_sessions: Mapping[int, list[Unit]],
    floor_ns: int,
) -> Arrays:
    """Named arrays of all state; `State` reads them."""
    # Evicted traces are no longer live, but calls of theirs may still wait, or a session hold them.
    waiting = (trace for calls in pending.values() for trace, _ in calls)
    held = (trace for session in sessions.open.values() for trace in session.traces)
    traces = list(dict.fromkeys([*table.live.values(), *waiting, *held]))
    spans = [span for trace in traces for span in trace.spans.values()]
    place = {id(span): i for i, span in enumerate(spans)}
    owner = {id(trace): i for i, trace in enumerate(traces)}
    resources = list(dict.fromkeys(span.resource for span in spans))
    resource_at = {resource: i for i, resource in enumerate(resources)}
    text = {
        "floor_ns": floor_ns,
        "watermark": watermark.state(),
        "live": len(table.live),
        "resources": resources,
        "own": [span.own for span in spans],
        "told": [[span.operation, span.dialect, span.session_rank, resource_at[span.resource]] for span in spans],
        "traces": [
            [
                len(trace.spans), trace.waiting, trace.session_key, trace.first_ns, trace.last_ns, trace.root_ended,
                [trace.outcome[0], trace.outcome[1].hex(), trace.outcome[2]],
                trace.dollars, trace.unpriced, trace.free, trace.answered,
            ]
            for trace in traces
        ],
        "sessions": [
            [session.key, session.queued_ns, [owner[id(trace)] for trace in session.traces]]
            for session in sessions.open.values()
        ],
        "pending": [[start_ns, [place[id(span)] for _, span in calls]] for start_ns, calls in pending.items()],
        "closed_sessions": [[start_ns, units] for start_ns, units in closed_sessions.items()],
    }  # fmt: skip
    ids = b"".join(span.trace_id + span.span_id + (span.parent_id or bytes(8)) for span in spans)
    return {
        "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
        "span_ids": np.frombuffer(ids, np.uint8).reshape(-1, 32),
        "span_times_ns": np.array([(span.start_ns, span.end_ns) for span in spans], np.int64).reshape(-1, 2),
        "span_weights": np.array([span.weight for span in spans], np.float64),
        "span_flags": np.array([[getattr(span, flag) for flag in FLAGS] for span in spans], np.bool_).reshape(
            -1, len(FLAGS)
        ),
        **{f"cells.{name}": array for name, array in cells.snapshot().items()},
    }


def cells_of(arrays: Arrays) -> Arrays:
    """The part of the arrays that is the table of cells."""
    return {name.removeprefix("cells."): array for name, array in arrays.items() if name.startswith("cells.")}


class State:
    """Saved state, read back: `fill` puts it into empty tables."""

    def __init__(self, arrays: Arrays) -> None:
        self._text = json.loads(arrays["text"].tobytes())
        self.floor_ns: int = self._text["floor_ns"]
        self.watermark: dict[str, object] = self._text["watermark"]
        self._spans = _spans(arrays, self._text)

    def fill(
        self,
        table: TraceTable,
        sessions: Sessions,
        pending: dict[int, list[Pending]],
        closed_sessions: dict[int, list[Unit]],
    ) -> None:
        """Put the saved traces, sessions and open slots where they were."""
        traces = self._traces()
        for trace in traces[: self._text["live"]]:
            table.live[trace.trace_id] = trace
        for key, queued_ns, members in self._text["sessions"]:
            session = sessions.open[key] = Session(key)
            session.traces = {traces[i]: None for i in members}
            session.recount()
            sessions.queue(session, queued_ns)
        owner = [trace for trace in traces for _ in trace.spans]
        for start_ns, places in self._text["pending"]:
            pending[start_ns] = [(owner[i], self._spans[i]) for i in places]
        for start_ns, units in self._text["closed_sessions"]:
            closed_sessions[start_ns] = [tuple(unit) for unit in units]

    def _traces(self) -> list[Trace]:
        traces = []
        at = 0
        for count, waiting, key, first_ns, last_ns, root_ended, outcome, *cost, answered in self._text["traces"]:
            trace = Trace(self._spans[at].trace_id)
            for span in self._spans[at : at + count]:
                trace.add(span)
            at += count
            trace.claimed = any(span.usage_counted for span in trace.spans.values())
            trace.waiting, trace.answered, trace.session_key = waiting, answered, key
            trace.first_ns, trace.last_ns, trace.root_ended = first_ns, last_ns, root_ended
            trace.outcome = (outcome[0], bytes.fromhex(outcome[1]), outcome[2])
            trace.dollars, trace.unpriced, trace.free = cost
            traces.append(trace)
        return traces


def _spans(arrays: Arrays, text: Mapping[str, list[list[str | int]]]) -> list[Span]:
    resources = [Resource(*(str(part) for part in each)) for each in text["resources"]]
    spans: list[Span] = []
    ids = arrays["span_ids"].tobytes()
    columns = zip(
        arrays["span_times_ns"].tolist(), arrays["span_weights"].tolist(), arrays["span_flags"].tolist(),
        text["told"], text["own"], strict=True,
    )  # fmt: skip
    for i, (times, weight, flags, told, own) in enumerate(columns):
        at = 32 * i
        operation, dialect, rank, resource = told
        parent_id = ids[at + 24 : at + 32]
        span = Span(
            ids[at : at + 16],
            ids[at + 16 : at + 24],
            parent_id if any(parent_id) else b"",
            times[0],
            times[1],
            weight,
            resources[int(resource)],
        )
        span.operation, span.dialect, span.session_rank = str(operation), str(dialect), int(rank)
        assert isinstance(own, dict)
        span.own = own
        for flag, value in zip(FLAGS, flags, strict=True):
            setattr(span, flag, value)
        spans.append(span)
    return spans
