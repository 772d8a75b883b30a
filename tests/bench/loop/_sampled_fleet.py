"""A fleet whose truth is known, its spans as bodies, and what Tocsin counts of them, sampled or not."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

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


def in_order(raw: Iterable[bytes]) -> list[tuple[float, bytes]]:
    """Bodies as a Collector sent them, put into order of time again, one a minute: when each ends, and the body."""
    minutes: dict[int, ExportTraceServiceRequest] = defaultdict(ExportTraceServiceRequest)
    for each in raw:
        for group in ExportTraceServiceRequest.FromString(each).resource_spans:
            for scope in group.scope_spans:
                places: dict[int, object] = {}
                for span in scope.spans:
                    minute = span.end_time_unix_nano // 60_000_000_000
                    if minute not in places:
                        own = minutes[minute].resource_spans.add(resource=group.resource)
                        places[minute] = own.scope_spans.add(scope=scope.scope)
                    places[minute].spans.append(span)  # type: ignore[attr-defined]
    return [((minute + 1) * 60.0 - EPOCH_S, minutes[minute].SerializeToString()) for minute in sorted(minutes)]


def counted(ordered: Iterable[tuple[float, bytes]]) -> Stream:
    """What Tocsin's ingest counts of them."""
    stream = Stream()
    for at_s, raw in ordered:
        answer = stream.send_bytes(raw, at_s + 1)
        assert not answer.error, answer.error
    return stream.flush()
