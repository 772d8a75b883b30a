"""Spans as five families of SDKs write them, in OTLP protobuf put together from templates: protobuf's own classes would
take most of the time of a replay."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from service.rule_tests.spans import field, pair, text, varint

Pack = Callable[..., bytes]
_TIMES: Pack = struct.Struct("<BQBQ").pack
_DOUBLE: Pack = struct.Struct("<Bd").pack
KIND = b"\x30\x03"


@lru_cache(maxsize=100_000)
def integer(key: str, value: int) -> bytes:
    """A span's attribute that is a whole number."""
    return field(9, pair(key, b"\x18" + varint(value)))


def double(key: str, value: float) -> bytes:
    """A span's attribute that is a number."""
    return field(9, pair(key, _DOUBLE(0x21, value)))


def span(
    trace: bytes, own: bytes, parent: bytes, start_ns: int, end_ns: int, template: bytes, more: bytes = b""
) -> bytes:
    """One span as a field of its scope: `template` is what all of its kind share, `more` what only this one says."""
    head = b"\x0a\x10" + trace + b"\x12\x08" + own + (b"\x22\x08" + parent if parent else b"")
    content = head + template + _TIMES(0x39, start_ns, 0x41, end_ns) + more
    return b"\x12" + varint(len(content)) + content


def body(groups: Iterable[tuple[bytes, list[bytes]]]) -> bytes:
    """An ExportTraceServiceRequest of some resources' spans, all of one scope."""
    return b"".join(field(1, of + field(2, b"\x0a\x04\x0a\x02ai" + b"".join(spans))) for of, spans in groups)


@dataclass(frozen=True)
class Dialect:
    """How one family writes an agent's spans: its attributes, and the keys of what only one span says.

    A `{agent}`, `{model}`, `{provider}` or `{tool}` in a value stands for the agent's. An empty key is never written.
    """

    name: str
    root: tuple[str, dict[str, str]]
    llm: tuple[str, dict[str, str]]
    tool: tuple[str, dict[str, str]]
    tokens: tuple[str, str]
    session: str
    cost: str


OUTCOME = "agent.session.outcome"
DIALECTS = (
    Dialect(
        "semconv",
        ("invoke_agent {agent}", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "{agent}"}),
        ("chat {model}", {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "{provider}",
                          "gen_ai.request.model": "{model}", "gen_ai.agent.name": "{agent}"}),
        ("execute_tool {tool}", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "{tool}"}),
        ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"), "gen_ai.conversation.id", "gen_ai.usage.cost",
    ),
    Dialect(
        "handwritten",
        ("agent.session", {"agent.name": "{agent}"}),
        ("agent.generate", {"gen_ai.request.model": "{model}", "gen_ai.provider.name": "{provider}"}),
        ("agent.tool {tool}", {}),
        ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"), "session.id", "agent.cost.usd",
    ),
    Dialect(
        "openinference",
        ("{agent}", {"openinference.span.kind": "AGENT", "agent.name": "{agent}"}),
        ("ChatCompletion", {"openinference.span.kind": "LLM", "llm.model_name": "{model}",
                            "llm.provider": "{provider}"}),
        ("{tool}", {"openinference.span.kind": "TOOL", "tool.name": "{tool}"}),
        ("llm.token_count.prompt", "llm.token_count.completion"), "session.id", "llm.cost.total",
    ),
    Dialect(
        "traceloop",
        ("{agent}.workflow", {"traceloop.span.kind": "workflow", "traceloop.entity.name": "{agent}",
                              "traceloop.workflow.name": "{agent}"}),
        ("openai.chat", {"llm.request.type": "chat", "gen_ai.system": "{provider}", "gen_ai.request.model": "{model}",
                         "traceloop.workflow.name": "{agent}"}),
        ("{tool}.tool", {"traceloop.span.kind": "tool", "traceloop.entity.name": "{tool}",
                         "traceloop.workflow.name": "{agent}"}),
        ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
        "traceloop.association.properties.session_id", "gen_ai.usage.cost",
    ),
    Dialect(
        "vercel",
        ("ai.generateText", {"ai.operationId": "ai.generateText", "ai.telemetry.functionId": "{agent}"}),
        ("ai.generateText.doGenerate", {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "{model}",
                                        "ai.telemetry.functionId": "{agent}", "ai.model.provider": "{provider}"}),
        ("ai.toolCall", {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "{tool}",
                         "ai.telemetry.functionId": "{agent}"}),
        ("ai.usage.inputTokens", "ai.usage.outputTokens"), "ai.telemetry.metadata.sessionId", "",
    ),
)  # fmt: skip


def template(of: tuple[str, dict[str, str]], **words: str) -> bytes:
    """What all spans of one kind share: name, kind and attributes."""
    name, attributes = of
    said = b"".join(text(key, value.format(**words)) for key, value in attributes.items())
    return field(5, name.format(**words).encode()) + KIND + said
