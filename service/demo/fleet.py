"""A simulated fleet of AI agents, as the OTLP bodies its SDKs would send: deterministic from one seed.

Forty agents of eight tenants, with a daily rhythm, heavy-tailed latencies and real model prices. Four of them are busy
and have an incident each. History is thinned: one minute in `HISTORY_EVERY`, and few sessions in it, so that two weeks
of baseline are replayed in seconds; from `LIVE_NS` on every session is sent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from detectors.core.columns import SECOND_NS

MINUTE_NS, DAY_NS = 60 * SECOND_NS, 86_400 * SECOND_NS
LIVE_NS = 1_772_445_600 * SECOND_NS
"""The live part begins on Monday, 2 March 2026, at 10:00 UTC."""
PAST_DAYS = 14
HISTORY_EVERY = 15
CHUNK_NS = 10 * SECOND_NS
LIVE_MINUTES = 64
AGENTS, BUSY = 40, 4
TENANTS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka")
ROLES = ("billing", "support", "research", "onboarding", "sales", "triage", "refunds", "search", "legal", "ops")
MODELS = (("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4o"))
TOOLS = ("lookup_order", "search_kb", "create_ticket")
OUTCOMES = ("resolved", "escalated", "abandoned", "failed")
GOOD_MIX = np.array([0.80, 0.10, 0.08, 0.02])
BAD_MIX = np.array([0.60, 0.24, 0.12, 0.04])
TOOL_FAILURES, LLM_FAILURES = 0.01, 0.004


@dataclass(frozen=True)
class Incident:
    """What really happens to one agent, from `start_ns` to `end_ns`; `magnitude` as a page would put it."""

    incident_id: str
    kind: str
    tenant: str
    agent: str
    start_ns: int
    end_ns: int
    magnitude: str


@dataclass(frozen=True)
class Agent:
    """One agent: who it is, how busy (sessions a second in the live part; a history minute), and how it works."""

    tenant: str
    name: str
    rate: float
    history_minute: float
    provider: str
    model: str
    llm_s: float
    tool_s: float
    tokens: float
    tool_share: float


@dataclass(frozen=True)
class Chunk:
    """One OTLP body, and the time by which all of its spans have ended."""

    body: bytes
    until_ns: int
    spans: int
    live: bool


def agents(rng: np.random.Generator) -> tuple[Agent, ...]:
    """The fleet; the first BUSY of it are the busy ones."""
    fleet = []
    for i in range(AGENTS):
        provider, model = MODELS[i % len(MODELS)]
        busy = i < BUSY
        fleet.append(
            Agent(
                tenant=TENANTS[i % len(TENANTS)],
                name=f"{ROLES[i % len(ROLES)]}-agent" + (f"-{i // len(ROLES)}" if i >= len(ROLES) else ""),
                rate=8.0 if busy else float(np.exp(rng.normal(np.log(0.02), 0.5))),
                history_minute=25.0 if busy else 0.5,
                provider=provider,
                model=model,
                llm_s=float(rng.uniform(0.8, 2.0)),
                tool_s=float(rng.uniform(0.1, 0.6)),
                tokens=float(rng.uniform(800, 4000)),
                tool_share=0.6,
            )
        )
    return tuple(fleet)


def incidents(fleet: tuple[Agent, ...]) -> tuple[Incident, ...]:
    """The four incidents: each on its own busy agent, and overlapping in time."""
    plan = (
        ("latency", 8, 30, "p95 latency x2"),
        ("errors", 14, 34, "tool errors 1% to 8%"),
        ("cost", 20, 42, "cost per session x3, a retry loop"),
        ("outcomes", 26, 46, "resolved 80% to 60%"),
    )
    return tuple(
        Incident(kind, kind, a.tenant, a.name, LIVE_NS + start * MINUTE_NS, LIVE_NS + end * MINUTE_NS, words)
        for a, (kind, start, end, words) in zip(fleet, plan, strict=False)
    )


class Fleet:
    """Bodies in time order: history first, then the live part."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.agents = agents(self.rng)
        self.incidents = incidents(self.agents)
        self._templates = {a.name + a.tenant: _Templates(a) for a in self.agents}

    def chunks(self) -> Iterator[Chunk]:
        """Everything, ready to be posted one after another."""
        start = LIVE_NS - PAST_DAYS * DAY_NS
        for minute in range(0, PAST_DAYS * 1440, HISTORY_EVERY):
            from_ns = start + minute * MINUTE_NS
            yield self._chunk(from_ns, MINUTE_NS, [a.history_minute for a in self.agents], live=False)
        for from_ns in range(LIVE_NS, LIVE_NS + LIVE_MINUTES * MINUTE_NS, CHUNK_NS):
            seconds = CHUNK_NS / SECOND_NS
            yield self._chunk(from_ns, CHUNK_NS, [a.rate * seconds for a in self.agents], live=True)

    def _chunk(self, from_ns: int, width_ns: int, means: list[float], live: bool) -> Chunk:
        """Sessions that end in [from_ns, from_ns + width_ns), every agent's by its mean and the hour's rhythm."""
        request = ExportTraceServiceRequest()
        spans = 0
        rhythm = 1 + 0.4 * math.sin(2 * math.pi * (from_ns % DAY_NS / DAY_NS - 0.3))
        counts = self.rng.poisson(np.array(means) * rhythm)
        for agent, count in zip(self.agents, counts.tolist(), strict=True):
            if count:
                ends = np.sort(self.rng.integers(from_ns, from_ns + width_ns, count)).tolist()
                spans += self._sessions(agent, ends, request.resource_spans.add())
        return Chunk(request.SerializeToString(), from_ns + width_ns, spans, live)

    def _sessions(self, agent: Agent, ends: list[int], into: ResourceSpans) -> int:
        """Add one agent's sessions, which end at `ends`; returns their spans."""
        rng, n, kit = self.rng, len(ends), self._templates[agent.name + agent.tenant]
        wrong = [self._active(agent, end) for end in ends]
        slow = np.array([2.0 if "latency" in w else 1.0 for w in wrong])
        tail = np.where(rng.random(n) < 0.03, 4.0, 1.0)
        llm_s = np.minimum(agent.llm_s * np.exp(rng.normal(0, 0.45, n)) * tail * slow, 30.0)
        tool_s = np.minimum(agent.tool_s * np.exp(rng.normal(0, 0.6, n)) * slow, 15.0)
        tokens = np.maximum(agent.tokens * np.exp(rng.normal(0, 0.6, n)), 20)
        calls_tool = rng.random(n) < agent.tool_share
        tool_fails = rng.random(n) < [0.08 if "errors" in w else TOOL_FAILURES for w in wrong]
        llm_fails = rng.random(n) < LLM_FAILURES
        pick = rng.random(n)
        ids = rng.bytes(16 * n + 8 * 8 * n)
        into.CopyFrom(kit.resource)
        scope = into.scope_spans[0]
        for i, end in enumerate(ends):
            trace, span_ids = ids[16 * i : 16 * i + 16], ids[16 * n + 64 * i : 16 * n + 64 * i + 64]
            mix = BAD_MIX if "outcomes" in wrong[i] else GOOD_MIX
            outcome = OUTCOMES[int(np.searchsorted(np.cumsum(mix)[:-1], pick[i], "right"))]
            start = end - int((llm_s[i] + calls_tool[i] * tool_s[i] + 0.02) * SECOND_NS)
            root = _span(scope.spans, kit.root, trace, span_ids[:8], b"", start, end)
            _text(root, "gen_ai.conversation.id", trace.hex())
            _text(root, "agent.session.outcome", outcome)
            at = start + SECOND_NS // 100
            # The retry loop sends the same request three times at once: dearer, and no slower.
            for k in range(3 if "cost" in wrong[i] else 1):
                done = at + int(llm_s[i] * SECOND_NS)
                llm = _span(scope.spans, kit.llm, trace, span_ids[8 + 8 * k : 16 + 8 * k], span_ids[:8], at, done)
                if llm_fails[i]:
                    _fail(llm, "RateLimitError")
                else:
                    _number(llm, "gen_ai.usage.input_tokens", int(tokens[i]))
                    _number(llm, "gen_ai.usage.output_tokens", int(tokens[i] / 8) + 1)
            if calls_tool[i]:
                at += int(llm_s[i] * SECOND_NS)
                done = at + int(tool_s[i] * SECOND_NS)
                tool = _span(scope.spans, kit.tools[i % len(TOOLS)], trace, span_ids[40:48], span_ids[:8], at, done)
                if tool_fails[i]:
                    _fail(tool, "TimeoutError")
        return len(scope.spans)

    def _active(self, agent: Agent, at_ns: int) -> tuple[str, ...]:
        """Kinds of the incidents that this agent is in."""
        return tuple(
            i.kind
            for i in self.incidents
            if i.agent == agent.name and i.tenant == agent.tenant and i.start_ns <= at_ns < i.end_ns
        )


class _Templates:
    """What all spans of one agent share, built once."""

    def __init__(self, agent: Agent) -> None:
        self.resource = ResourceSpans()
        self.resource.resource.attributes.append(_key("service.name", "fleet"))
        self.resource.resource.attributes.append(_key("tenant.id", agent.tenant))
        self.resource.scope_spans.add().scope.name = "tocsin.demo"
        self.root = self._of(f"invoke_agent {agent.name}", Span.SPAN_KIND_INTERNAL, "invoke_agent", agent)
        self.llm = self._of(f"chat {agent.model}", Span.SPAN_KIND_CLIENT, "chat", agent)
        self.llm.attributes.append(_key("gen_ai.provider.name", agent.provider))
        self.llm.attributes.append(_key("gen_ai.request.model", agent.model))
        self.tools = []
        for tool in TOOLS:
            span = self._of(f"execute_tool {tool}", Span.SPAN_KIND_INTERNAL, "execute_tool", agent)
            span.attributes.append(_key("gen_ai.tool.name", tool))
            self.tools.append(span)

    @staticmethod
    def _of(name: str, kind: "Span.SpanKind.ValueType", operation: str, agent: Agent) -> Span:
        attributes = [_key("gen_ai.operation.name", operation), _key("gen_ai.agent.name", agent.name)]
        return Span(name=name, kind=kind, attributes=attributes)


def _key(name: str, text: str) -> KeyValue:
    pair = KeyValue(key=name)
    pair.value.string_value = text
    return pair


def _span(spans, template: Span, trace: bytes, span_id: bytes, parent: bytes, start_ns: int, end_ns: int) -> Span:  # type: ignore[no-untyped-def]
    span: Span = spans.add()
    span.CopyFrom(template)
    span.trace_id, span.span_id, span.parent_span_id = trace, span_id, parent
    span.start_time_unix_nano, span.end_time_unix_nano = start_ns, end_ns
    return span


def _text(span: Span, name: str, text: str) -> None:
    pair = span.attributes.add()
    pair.key = name
    pair.value.string_value = text


def _number(span: Span, name: str, number: int) -> None:
    pair = span.attributes.add()
    pair.key = name
    pair.value.int_value = number


def _fail(span: Span, error: str) -> None:
    span.status.code = Status.STATUS_CODE_ERROR
    _text(span, "error.type", error)
