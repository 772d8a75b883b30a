"""A fleet whose truth is known, its spans as bodies, and what Tocsin counts of them, sampled or not."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from detectors.core.columns import OUTCOMES as OUTCOME_CLASSES
from tests.service.ingest.wire import EPOCH_S, Sent, Stream, agent, body, chat

OUTCOMES = OUTCOME_CLASSES[:3]
BATCH = 200
"""Traces in a body."""


@dataclass(frozen=True)
class Law:
    """How an agent's sessions go: one trace each, its run with one call of a model below it.

    a_minute   sessions a minute
    failed     share of calls that fail
    mix        shares of OUTCOMES
    incident   what the failed share is multiplied with from `since_s` on
    """

    name: str
    a_minute: float
    failed: float
    mix: tuple[float, float, float]
    incident: float = 1.0
    since_s: float = math.inf


@dataclass(frozen=True)
class Session:
    """What really happened in a session."""

    agent: str
    at_s: float
    failed: bool
    outcome: str
    tokens: int
    flagged: bool

    @property
    def dollars(self) -> float:
        """What its call costs, by the list price of the model."""
        return self.tokens * 0.15e-6 + 10 * 0.6e-6

    def spans(self, number: int) -> tuple[Sent, Sent]:
        """Its run and its call."""
        of = {"gen_ai__conversation__id": f"c{number}", "agent__session__outcome": self.outcome}
        root = agent(number, 1, self.at_s, self.at_s + 2, self.agent, **of)
        if self.flagged:
            root = replace(root, attributes={**root.attributes, "conversation.flagged": True})
        call = chat(number, 2, self.at_s + 0.1, self.at_s + 1.5, 1, gen_ai__usage__input_tokens=self.tokens)
        return root, replace(call, failed=self.failed)


def fleet(laws: Sequence[Law], seconds: float, seed: int) -> list[Session]:
    """All sessions in order of time. Failed calls answer nothing and cost half; some sessions are flagged."""
    sessions = []
    for law, rng in zip(laws, np.random.default_rng(seed).spawn(len(laws)), strict=True):
        times = np.sort(rng.uniform(0, seconds, rng.poisson(law.a_minute * seconds / 60)))
        share = np.where(times < law.since_s, law.failed, np.minimum(0.9, law.failed * law.incident))
        failed = rng.random(len(times)) < share
        tokens = (rng.lognormal(7, 1, len(times)) * np.where(failed, 0.5, 1) + 1).astype(int)
        outcome = rng.choice(len(OUTCOMES), len(times), p=law.mix)
        flagged = rng.random(len(times)) < 0.01
        sessions += [
            Session(law.name, *each)
            for each in zip(
                times.tolist(), failed.tolist(), [OUTCOMES[one] for one in outcome], tokens.tolist(), flagged.tolist(),
                strict=True,
            )
        ]  # fmt: skip
    return sorted(sessions, key=lambda one: one.at_s)


def bodies(sessions: Iterable[Session]) -> Iterator[bytes]:
    """Their spans, many sessions a body. Trace ids are drawn, as SDKs draw them: the Collector hashes them."""
    rng = np.random.default_rng(7)
    spans: list[Sent] = []
    for session in sessions:
        number = int.from_bytes(rng.bytes(16), "big") or 1
        spans += session.spans(number)
        if len(spans) >= 2 * BATCH:
            yield body(*spans)
            spans = []
    if spans:
        yield body(*spans)


Minutes = Mapping[int, Mapping[str, bytes]]
"""Bodies by the minute in which the runs in them ended, since 1970, and by agent. Bodies put together are one body."""


def by_minute(raw: Iterable[bytes]) -> Minutes:
    """Bodies as a Collector sent them, put into order of time again."""
    requests = [ExportTraceServiceRequest.FromString(each) for each in raw]
    runs = {
        span.trace_id: (span.end_time_unix_nano // 60_000_000_000, pair.value.string_value)
        for request in requests for group in request.resource_spans for scope in group.scope_spans
        for span in scope.spans for pair in span.attributes if pair.key == "gen_ai.agent.name"
    }  # fmt: skip
    found: dict[int, dict[str, ExportTraceServiceRequest]] = defaultdict(lambda: defaultdict(ExportTraceServiceRequest))
    for request in requests:
        for group in request.resource_spans:
            for scope in group.scope_spans:
                places: dict[tuple[int, str], ScopeSpans] = {}
                for span in scope.spans:
                    minute, name = run = runs[span.trace_id]
                    if run not in places:
                        own = found[minute][name].resource_spans.add(resource=group.resource)
                        places[run] = own.scope_spans.add(scope=scope.scope)
                    places[run].spans.append(span)
    return {
        minute: {name: each.SerializeToString() for name, each in sorted(found[minute].items())}
        for minute in sorted(found)
    }


def end_s(minute: int) -> float:
    """When a minute since 1970 ends, by the recording's clock."""
    return (minute + 1) * 60.0 - EPOCH_S


def counted(minutes: Minutes) -> Stream:
    """What Tocsin's ingest counts of them."""
    stream = Stream()
    for minute, agents in minutes.items():
        answer = stream.send_bytes(b"".join(agents.values()), end_s(minute) + 1)
        assert not answer.error, answer.error
    return stream.flush()
