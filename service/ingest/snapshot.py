"""Ingest's state as named arrays, and back. Spans are columns, the rest is JSON text; nothing needs pickle.

What a trace lends follows from its spans, so it is worked out again; what its calls came to is saved.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from detectors.core.columns import Arrays
from detectors.core.series import SeriesTable
from service.ingest.remains import Kept
from service.ingest.resolve import Pending
from service.ingest.rollup import Unit
from service.ingest.sessions import Session, Sessions
from service.ingest.traces import Trace, TraceTable
from service.ingest.twins import Twins
from service.ingest.vocabulary import Own, Resource, Span
from service.ingest.watermark import Watermark

_FLAGS = 8
_NO_PARENT = bytes(8)
_TOLD = (False,) * 4


def take(
    cells: SeriesTable,
    watermark: Watermark,
    table: TraceTable,
    sessions: Sessions,
    pending: Mapping[int, list[Pending]],
    closed_sessions: Mapping[int, list[Unit]],
    floor_ns: int,
    twins: Twins,
) -> Arrays:
    """Named arrays of all state; `State` reads them."""
    # Evicted traces are no longer live, but calls of theirs may still wait, or a session hold them.
    waiting = (trace for calls in pending.values() for trace, _ in calls)
    held = (trace for session in sessions.open.values() for trace in session.traces)
    traces = list(dict.fromkeys([*table.live.values(), *waiting, *held]))
    rows: list[tuple[Trace, Kept]] = [(trace, span) for trace in traces for span in trace.spans.values()]
    place = {id(span): i for i, (_, span) in enumerate(rows)}
    # Spans that found no room in their trace still wait to be counted.
    for call in (call for calls in pending.values() for call in calls):
        if place.setdefault(id(call[1]), len(rows)) == len(rows):
            rows.append(call)
    owner = {id(trace): i for i, trace in enumerate(traces)}
    columns, told = _columns(rows)
    text = {
        "floor_ns": floor_ns,
        "twins": twins.state(),
        "watermark": watermark.state(),
        "live": len(table.live),
        **told,
        "traces": [
            [
                len(trace.spans), trace.waiting, trace.session_key, trace.first_ns, trace.last_ns, trace.root_ended,
                [trace.outcome[0], trace.outcome[1].hex(), trace.outcome[2]],
                trace.dollars, trace.unpriced, trace.free, trace.tokens, _session_of(trace), trace.answered,
            ]
            for trace in traces
        ],
        "sessions": [
            [session.key, session.queued_ns, [owner[id(trace)] for trace in session.traces]]
            for session in sessions.open.values()
        ],
        "pending": [
            [start_ns, [owner[id(trace)] for trace, _ in calls], [place[id(span)] for _, span in calls]]
            for start_ns, calls in pending.items()
        ],
        "closed_sessions": [[start_ns, units] for start_ns, units in closed_sessions.items()],
    }  # fmt: skip
    return {
        "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
        **columns,
        **{f"cells.{name}": array for name, array in cells.snapshot().items()},
    }


def _columns(rows: list[tuple[Trace, Kept]]) -> tuple[Arrays, dict[str, object]]:
    """One row a span; and what the columns point into: spans that were counted share what is left of them."""
    spans = [span for _, span in rows]
    owns = {id(span.own): span.own for span in spans}
    own_at = {key: i for i, key in enumerate(owns)}
    resources: dict[Resource, int] = {}
    resource_at = {id(span.resource): span.resource for span in spans}  # Few objects, so few are hashed.
    resource_of = {key: resources.setdefault(resource, len(resources)) for key, resource in resource_at.items()}
    kinds: dict[tuple[str, str, int, int], int] = {}
    kind_of = [
        kinds.setdefault((span.operation, *_read_by(span), resource_of[id(span.resource)]), len(kinds))
        for span in spans
    ]
    ids = b"".join(
        [part for trace, span in rows for part in (trace.trace_id, span.span_id, span.parent_id or _NO_PARENT)]
    )
    flags = [(span.failed, span.counted, span.usage_counted, span.spent, *_while_it_waits(span)) for span in spans]
    columns: Arrays = {
        "span_ids": np.frombuffer(ids, np.uint8).reshape(-1, 32),
        "span_times_ns": np.array([(span.start_ns, _end_ns(span)) for span in spans], np.int64).reshape(-1, 2),
        "span_weights": np.array([span.weight for span in spans], np.float64),
        "span_flags": np.array(flags, np.bool_).reshape(-1, _FLAGS),
        "span_own": np.array([own_at[id(span.own)] for span in spans], np.int32),
        "span_kind": np.array(kind_of, np.int32),
    }
    return columns, {"own": list(owns.values()), "kinds": list(kinds), "resources": list(resources)}


def _read_by(span: Kept) -> tuple[str, int]:
    return (span.dialect, span.session_rank) if isinstance(span, Span) else ("", 0)


def _end_ns(span: Kept) -> int:
    return span.end_ns if isinstance(span, Span) else span.start_ns


def _while_it_waits(span: Kept) -> tuple[bool, ...]:
    return (span.covered, span.usage_below, span.is_log, span.is_native) if isinstance(span, Span) else _TOLD


def _session_of(trace: Trace) -> list[object] | None:
    if trace.session is None:
        return None
    rank, (is_child, start_ns, span_id), name = trace.session
    return [rank, is_child, start_ns, span_id.hex(), name]


def cells_of(arrays: Arrays) -> Arrays:
    """The part of the arrays that is the table of cells."""
    return {name.removeprefix("cells."): array for name, array in arrays.items() if name.startswith("cells.")}


class State:
    """Saved state, read back: `fill` puts it into empty tables."""

    def __init__(self, arrays: Arrays) -> None:
        self._text = json.loads(arrays["text"].tobytes())
        self.floor_ns: int = self._text["floor_ns"]
        self.twins: list[list[Any]] = self._text["twins"]
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
            table.spans += len(trace.spans)
        for key, queued_ns, members in self._text["sessions"]:
            session = sessions.open[key] = Session(key, [traces[i] for i in members])
            session.recount()
            sessions.queue(session, queued_ns)
        for start_ns, owners, places in self._text["pending"]:
            pending[start_ns] = [(traces[i], self._spans[j]) for i, j in zip(owners, places, strict=True)]
        waiting = {id(span) for calls in pending.values() for _, span in calls}
        spans = ((trace, span) for trace in traces for span in list(trace.spans.values()))
        table.strip((trace, span) for trace, span in spans if isinstance(span, Span) and id(span) not in waiting)
        for start_ns, units in self._text["closed_sessions"]:
            closed_sessions[start_ns] = [tuple(unit) for unit in units]

    def _traces(self) -> list[Trace]:
        traces = []
        at = 0
        for count, waiting, key, first_ns, last_ns, root_ended, outcome, *cost, session, answered in self._text[
            "traces"
        ]:
            trace = Trace(self._spans[at].trace_id)
            for span in self._spans[at : at + count]:
                trace.add(span)
            at += count
            trace.claimed = any(span.usage_counted for span in trace.spans.values())
            trace.waiting, trace.answered, trace.session_key = waiting, answered, key
            trace.first_ns, trace.last_ns, trace.root_ended = first_ns, last_ns, root_ended
            trace.outcome = (outcome[0], bytes.fromhex(outcome[1]), outcome[2])
            trace.dollars, trace.unpriced, trace.free, trace.tokens = cost
            if session is not None:
                rank, is_child, start_ns, span_id, name = session
                trace.session = (rank, (is_child, start_ns, bytes.fromhex(span_id)), name)
            traces.append(trace)
        return traces


def _spans(arrays: Arrays, text: Mapping[str, Any]) -> list[Span]:
    owns: list[Own] = text["own"]
    resources = [Resource(*resource) for resource in text["resources"]]
    kinds = [(str(op), str(dialect), int(rank), resources[at]) for op, dialect, rank, at in text["kinds"]]
    spans: list[Span] = []
    ids = arrays["span_ids"].tobytes()
    columns = zip(
        arrays["span_times_ns"].tolist(), arrays["span_weights"].tolist(), arrays["span_flags"].tolist(),
        arrays["span_kind"].tolist(), arrays["span_own"].tolist(), strict=True,
    )  # fmt: skip
    for i, (times, weight, flags, kind, own) in enumerate(columns):
        at = 32 * i
        parent_id = ids[at + 24 : at + 32]
        span = Span(
            ids[at : at + 16],
            ids[at + 16 : at + 24],
            parent_id if any(parent_id) else b"",
            times[0],
            times[1],
            weight,
            kinds[kind][3],
        )
        span.operation, span.dialect, span.session_rank = kinds[kind][:3]
        span.own = owns[own]
        span.failed, span.counted, span.usage_counted, span.spent = flags[:4]
        span.covered, span.usage_below, span.is_log, span.is_native = flags[4:]
        spans.append(span)
    return spans
