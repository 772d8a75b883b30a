"""The parts of `python -m tests.bench.soak` that could be wrong without a word: its batches, and its verdict."""

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.bench.sessions import bodies
from tests.bench.soak import DROPPED, LAG, SPANS, Batch, Seen, judged

HOUR_NS = 3600 * 10**9


def spans(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]


def sessions(some: list[Span]) -> set[str]:
    named = "gen_ai.conversation.id"
    return {pair.value.string_value for span in some for pair in span.attributes if pair.key == named}


def test_a_batch_comes_again_as_another() -> None:
    """All times are later by as much, every trace and session is a new one, and nothing else has changed."""
    body = bodies(1, 5)[0]
    batch, before = Batch(body), spans(body)
    after = spans(batch.again(7, HOUR_NS))
    assert len(after) == len(before) == batch.spans
    traces = [{span.trace_id for span in some} for some in (before, after, spans(batch.again(8, HOUR_NS)))]
    assert len(set.union(*traces)) == 3 * len(traces[0]) and len(sessions(before) | sessions(after)) == 10
    for old, new in zip(before, after, strict=True):
        assert new.start_time_unix_nano - old.start_time_unix_nano == HOUR_NS
        assert new.end_time_unix_nano - old.end_time_unix_nano == HOUR_NS
        assert (new.name, new.span_id, len(new.attributes)) == (old.name, old.span_id, len(old.attributes))


def verdict(growth: float, lag: float, unread: float, dropped: float = 0.0) -> set[str]:
    """What a soak of an hour misses whose memory and lag grow by so much; one look in nine is an outlier."""
    at_s, chance = np.arange(0.0, 3600.0, 30.0), np.random.default_rng(1)
    seen = [
        Seen(s, 4e8 * (1 + growth * s / 3600 + chance.normal(0, 1e-3) + (i % 9 == 0) * 0.2), s / 4,
             {SPANS: s * 20_000, LAG: lag * s / 3600})
        for i, s in enumerate(at_s)
    ]  # fmt: skip
    last = {SPANS: 7.2e7 - unread, f'{DROPPED}{{reason="late"}}': dropped}
    rows = judged(seen, Seen(3600.0, 4e8, 900.0, last), 72_000_000, 54.0)
    return {row["metric"] for row in rows if row["holds"] is False}


def test_what_grows_is_told() -> None:
    """Memory by one per cent an hour, lag by ten seconds of records, spans never read or dropped; else nothing."""
    assert not verdict(growth=0.005, lag=300, unread=0)
    assert verdict(growth=0.0, lag=0, unread=0, dropped=80_000) == {"dropped"}
    assert verdict(growth=0.015, lag=0, unread=0) == {"memory slope"}
    assert verdict(growth=0.0, lag=2_000, unread=1) == {"lag, last fifth", "spans not read"}
