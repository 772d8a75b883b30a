"""Sessions of many agents as their SDKs export them, for measuring how fast they are read."""

import random
import uuid
from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from detectors.core.columns import SECOND_NS

BEGIN_NS = 1_790_000_000 * SECOND_NS
AGENTS = [
    f"{what}-{how}"
    for what in ("billing", "support", "research", "coding", "sales", "legal", "travel", "hr", "ops", "data")
    for how in ("triage", "planner", "writer", "router", "reviewer")
]
TENANTS = [f"tenant-{i:04d}" for i in range(40)]
MODELS = (
    ("openai", "gpt-4.1"), ("openai", "gpt-4.1-mini"), ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"), ("gcp.vertex_ai", "gemini-2.5-pro"), ("aws.bedrock", "amazon.nova-pro-v1:0"),
)  # fmt: skip
TOOLS = ("web_search", "sql_query", "read_file", "send_email", "create_ticket", "get_weather", "calculator", "lookup")
OUTCOMES = ("success", "success", "success", "success", "escalated", "abandoned", "failed")
RESOURCE = {
    "service.version": "1.14.2", "deployment.environment.name": "prod", "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.version": "1.38.0", "k8s.namespace.name": "agents",
}  # fmt: skip
Value = str | int | float | bool


def session(chance: random.Random, end_ns: int) -> list[tuple[str, Span]]:
    """The spans of one session that ended then, with the agent that wrote them, children first; about nine of them."""
    spans = list(_session(chance))
    by_ns = end_ns - spans[-1][1].end_time_unix_nano
    for _, span in spans:
        span.start_time_unix_nano += by_ns
        span.end_time_unix_nano += by_ns
        for event in span.events:
            event.time_unix_nano += by_ns
    return spans


def _session(chance: random.Random) -> Iterator[tuple[str, Span]]:
    agent, trace_id = chance.choice(AGENTS), chance.randbytes(16)
    root_id, begun_ns = chance.randbytes(8), BEGIN_NS
    model = chance.choice(MODELS)
    shared: dict[str, Value] = {
        "gen_ai.conversation.id": f"conv_{uuid.UUID(bytes=chance.randbytes(16)).hex}",
        "gen_ai.agent.name": agent,
        "gen_ai.agent.id": f"asst_{AGENTS.index(agent):024x}",
        "tenant.id": chance.choice(TENANTS),
    }
    end_ns = begun_ns
    for _ in range(chance.randint(4, 14)):
        kind = chance.choices(("chat", "execute_tool", "retrieval"), (5, 4, 1))[0]
        mean = {"chat": 7.3, "execute_tool": 5.0, "retrieval": 4.2}[kind]
        start_ns, end_ns = end_ns, end_ns + int(chance.lognormvariate(mean, 0.9) * 1e6)
        name, said = _call(chance, kind, model)
        span = _span(trace_id, chance.randbytes(8), root_id, name, (start_ns, end_ns), said | shared)
        if chance.random() < 0.04:
            _fail(span, chance.choice(("timeout", "rate_limit_exceeded")))
        yield agent, span
    said = {"gen_ai.operation.name": "invoke_agent", "session.turns": 3, "enduser.plan": "pro"}
    outcome = chance.choice(OUTCOMES)
    root = _span(trace_id, root_id, b"", "agent.session", (begun_ns, end_ns), said | shared)
    _set(root, {"session.outcome": outcome, "user.id": f"u_{chance.getrandbits(50):016x}"})
    yield agent, root


def _call(chance: random.Random, kind: str, model: tuple[str, str]) -> tuple[str, dict[str, Value]]:
    """The name of a call and what is said of it."""
    number = chance.getrandbits(40)
    said: dict[str, Value] = {"gen_ai.operation.name": kind}
    if kind == "chat":
        said |= {
            "gen_ai.provider.name": model[0], "gen_ai.request.model": model[1], "gen_ai.response.model": model[1],
            "gen_ai.response.id": f"chatcmpl-{number:x}", "gen_ai.request.temperature": 0.7,
            "gen_ai.request.max_tokens": 4096, "gen_ai.usage.input_tokens": chance.randrange(200, 20_000),
            "gen_ai.usage.output_tokens": chance.randrange(10, 1_500), "gen_ai.usage.cost": number % 1000 * 1e-5,
            "server.address": f"api.{model[0]}.com", "server.port": 443,
        }  # fmt: skip
        return f"chat {model[1]}", said
    if kind == "execute_tool":
        tool = chance.choice(TOOLS)
        said |= {
            "gen_ai.tool.name": tool, "gen_ai.tool.type": "function", "gen_ai.tool.call.id": f"call_{number:x}",
            "gen_ai.tool.description": f"Runs {tool} against the tenant's workspace",
            "gen_ai.tool.call.arguments": f'{{"query":"{"x" * (number % 160)}","limit":{number % 50}}}',
            "cache.hit": bool(number & 2),
        }  # fmt: skip
        return f"execute_tool {tool}", said
    said |= {
        "gen_ai.data_source.id": f"kb-{number % 3}", "db.system.name": "pgvector", "db.query.summary": "knn documents",
        "retrieval.top_k": 8, "retrieval.score.max": 0.83, "server.address": f"pg-{number % 4}.internal",
    }  # fmt: skip
    return "retrieval kb", said


def _span(
    trace_id: bytes, span_id: bytes, parent_id: bytes, name: str, times: tuple[int, int], said: dict[str, Value]
) -> Span:
    span = Span(
        trace_id=trace_id, span_id=span_id, parent_span_id=parent_id, name=name, start_time_unix_nano=times[0],
        end_time_unix_nano=times[1], flags=0x100, kind=Span.SPAN_KIND_CLIENT,
    )  # fmt: skip
    _set(span, said)
    return span


def _fail(span: Span, error: str) -> None:
    """Let a span fail, with an exception and its stack trace, as SDKs record them."""
    span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="upstream timed out after 30s"))
    _set(span, {"error.type": error})
    event = span.events.add(name="exception", time_unix_nano=span.end_time_unix_nano)
    trace = "Traceback (most recent call last):\n" + '  File "x", line 1\n' * 20
    for key, text in (("exception.type", "TimeoutError"), ("exception.stacktrace", trace)):
        event.attributes.add(key=key).value.string_value = text


def _set(span: Span, said: dict[str, Value]) -> None:
    for key, value in said.items():
        target = span.attributes.add(key=key).value
        if isinstance(value, bool):
            target.bool_value = value
        elif isinstance(value, int):
            target.int_value = value
        elif isinstance(value, float):
            target.double_value = value
        else:
            target.string_value = value


def bodies(count: int, sessions_each: int, seed: int = 1, after_ns: int = 0, every_ns: int = SECOND_NS) -> list[bytes]:
    """So many requests, so far apart, each of so many whole sessions that ended in it, as a collector that groups by
    trace sends them; the first so long after BEGIN_NS.
    """
    chance, made = random.Random(seed), []
    for number in range(count):
        request = ExportTraceServiceRequest()
        for _ in range(sessions_each):
            spans = session(chance, BEGIN_NS + after_ns + number * every_ns + chance.randrange(every_ns))
            group = request.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.37.0")
            for key, text in {"service.name": spans[0][0], **RESOURCE}.items():
                group.resource.attributes.add(key=key).value.string_value = text
            scope = group.scope_spans.add()
            scope.scope.name, scope.scope.version = "opentelemetry.instrumentation.genai", "0.5b0"
            scope.spans.extend(span for _, span in spans)
        made.append(request.SerializeToString())
    return made
