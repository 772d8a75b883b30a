"""What each family of SDKs says of one call, in its own words."""

import json
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from detectors.core.columns import CELL_LABELS
from service.ingest.dialects import DIALECTS, langfuse
from service.ingest.read import read_resource
from service.ingest.stage import Ingest
from tests.service.ingest.wire import Sent, Stream, Value, agent, body, chat, same_slots

NATIVE = "com.anthropic.sdk.python"
NESTED = json.dumps({"prompt_tokens": 82, "completion_tokens": 17, "prompt_tokens_details": {"cached_tokens": 64}})
CALLS: dict[str, tuple[str, dict[str, Value], tuple[str, str, str], tuple[float, float]]] = {
    "langfuse buckets": (
        "answer",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.usage_details": '{"input": 95, "output": 20, "input_cached_tokens": 50}',
        },
        ("llm", "gpt-4o", ""),
        (145, 20),
    ),
    "langfuse openai": (
        "answer",
        {"langfuse.observation.type": "generation", "langfuse.observation.usage_details": NESTED},
        ("llm", "", ""),
        (82, 17),
    ),
    "langfuse tool": ("look_up", {"langfuse.observation.type": "tool"}, ("tool", "", "look_up"), (0, 0)),
    "langsmith retriever": (
        "KB",
        {"langsmith.span.kind": "retriever", "gen_ai.operation.name": "embeddings"},
        ("retrieval", "", "KB"),
        (0, 0),
    ),
    "langsmith prompt": (
        "ChatPromptTemplate",
        {"langsmith.span.kind": "prompt", "gen_ai.operation.name": "chat"},
        ("other", "", ""),
        (0, 0),
    ),
    "langsmith usage": (
        "ChatOpenAI",
        {
            "langsmith.span.kind": "llm",
            "langsmith.metadata.usage_metadata": '{"input_tokens": 9, "output_tokens": 3}',
            "langsmith.metadata.ls_model_name": "gpt-4o",
        },
        ("llm", "gpt-4o", ""),
        (9, 3),
    ),
    "openinference": (
        "ChatCompletion",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o-2024-08-06",
            "llm.invocation_parameters": '{"model": "gpt-4o", "tools": [1, 2]}',
            "llm.token_count.prompt": "12",
            "llm.token_count.completion": 3.0,
        },
        ("llm", "gpt-4o", ""),
        (12, 3),
    ),
    "openinference embedding": (
        "CreateEmbeddings",
        {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e", "llm.token_count.total": 9},
        ("embedding", "e", ""),
        (9, 0),
    ),
    "openinference handoff": (
        "handoff to x",
        {"openinference.span.kind": "TOOL"},
        ("tool", "", "handoff to x"),
        (0, 0),
    ),
    "traceloop old": (
        "openai.chat",
        {"llm.request.type": "chat", "llm.request.model": "gpt-4", "llm.usage.prompt_tokens": 7},
        ("llm", "gpt-4", ""),
        (7, 0),
    ),
    "traceloop tool": (
        "look_up.tool",
        {"traceloop.span.kind": "tool", "traceloop.entity.name": "look_up"},
        ("tool", "", "look_up"),
        (0, 0),
    ),
    "traceloop retriever": (
        "vector_db_retrieve KB",
        {"gen_ai.operation.name": "vector_db_retrieve", "traceloop.span.kind": "task", "traceloop.entity.name": "KB"},
        ("retrieval", "", "KB"),
        (0, 0),
    ),
    "vercel": (
        "ai.generateText.doGenerate",
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.id": "gpt-4o",
            "ai.usage.promptTokens": 5,
            "ai.usage.completionTokens": 2,
        },
        ("llm", "gpt-4o", ""),
        (5, 2),
    ),
    "claude code": (
        "claude_code.llm_request",
        {"model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 2, "cache_read_tokens": 8},
        ("llm", "claude-sonnet-4-5", ""),
        (18, 2),
    ),
    "mcp": (
        "tools/call look_up",
        {"mcp.method.name": "tools/call", "gen_ai.tool.name": "look_up"},
        ("tool", "", "look_up"),
        (0, 0),
    ),
    "agentforce": ("Look up &amp; tell", {"step.type": "ACTION_STEP"}, ("tool", "", "Look up & tell"), (0, 0)),
    "guardrail": ("check", {"gen_ai.guardrail.name": "pii"}, ("guardrail", "", ""), (0, 0)),
    "plain names elsewhere": ("GET /", {"model": "Model T", "input_tokens": 5}, ("other", "", ""), (0, 0)),
    "google thoughts": (
        "generate_content",
        {
            "gen_ai.operation.name": "generate_content",
            "gen_ai.provider.name": "gcp.gen_ai",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 19,
            "gen_ai.usage.total_tokens": 127,
        },
        ("llm", "", ""),
        (100, 27),
    ),
}


@pytest.mark.parametrize("which", CALLS)
def test_a_call_in_its_own_words(which: str) -> None:
    """Operation, model, tool and tokens of one span as each dialect writes them."""
    name, attributes, labels, tokens = CALLS[which]
    stream = Stream()
    stream.send(Sent(1, 1, 0, 1, 0, name, attributes=attributes))
    (row,) = [row for row in stream.flush().rows() if row["labels"][2] != "session"]  # type: ignore[index]
    said = row["labels"]
    assert isinstance(said, tuple)
    found = dict(zip(CELL_LABELS, said, strict=True))
    assert (found["operation"], found["model"], found["tool"]) == labels
    assert (row["input_tokens"], row["output_tokens"]) == tokens


TENANTS = (
    ("tenant", "acme"),
    ("traceloop.association.properties.customer_id", "acme"),
    ("langfuse.trace.metadata.tenantId", '"acme"'),
    ("langfuse.observation.metadata.org_id", "acme"),
    ("langsmith.metadata.tenant_id", "acme"),
    ("ai.telemetry.metadata.tenant", "acme"),
    ("metadata", '{"tenant_id": "acme", "other": [1]}'),
)


@pytest.mark.parametrize(("key", "value"), TENANTS)
def test_a_tenant_under_any_prefix(key: str, value: str) -> None:
    """The user's own key under the metadata of whichever SDK, as text or as JSON in text."""
    stream = Stream()
    stream.send(replace(chat(1, 1, 0, 1), attributes={key: value}))
    assert stream.flush().rows()[0]["labels"][0] == "acme"  # type: ignore[index]


@pytest.mark.parametrize("text", ['{"tenant": ', "{" * 5000, '{"tenant": {"a": 1}}', '{"a":' + "9" * 5000 + "}", "[]"])
def test_a_document_that_is_none_is_passed_over(text: str) -> None:
    """Whatever stands where JSON is expected, the span counts without it."""
    stream = Stream()
    names = ("metadata", "langfuse.observation.usage_details", "llm.invocation_parameters")
    stream.send(replace(chat(1, 1, 0, 1), attributes={**chat(1, 1, 0, 1).attributes, **dict.fromkeys(names, text)}))
    (row,) = stream.flush().of("llm")
    assert (row["labels"][0], row["input_tokens"]) == ("", 100.0)  # type: ignore[index]


def test_a_langfuse_level_says_that_a_call_failed() -> None:
    """Langfuse may leave the span's status alone."""
    stream = Stream()
    attributes = {"langfuse.observation.type": "generation", "langfuse.observation.level": "ERROR"}
    stream.send(Sent(1, 1, 0, 1, attributes=attributes))
    assert stream.flush().of("llm")[0]["failed"] == 1.0


def test_stated_nothing_for_nothing_is_no_price() -> None:
    """A failed call whose sender states a cost of zero and no tokens is not a free call."""
    stream = Stream()
    attributes = {"langfuse.observation.type": "generation", "langfuse.observation.cost_details": '{"total": 0}'}
    stream.send(Sent(1, 1, 0, 1, attributes=attributes))
    assert stream.flush().of("llm")[0]["free"] == 0.0


def test_an_agent_is_told_by_name_only_for_want_of_better() -> None:
    """The name of an agent's span gives way to what any span of the trace calls its agent."""
    stream = Stream()
    root = Sent(1, 1, 0, 5, 0, "frontdesk", attributes={"openinference.span.kind": "AGENT"})
    named = {"openinference.span.kind": "AGENT", "agent.name": "support"}
    call = {"openinference.span.kind": "LLM"}
    stream.send(root, Sent(1, 2, 0, 4, 1, "x", attributes=named), Sent(1, 3, 1, 2, 2, "y", attributes=call))
    stream.send(replace(root, trace=2), Sent(2, 3, 1, 2, 1, "y", attributes=call))
    assert {row["labels"][1] for row in stream.flush().of("llm")} == {"support", "frontdesk"}  # type: ignore[index]
    assert {row["labels"][1] for row in stream.of("session")} == {"support", "frontdesk"}  # type: ignore[index]


def test_a_bare_model_call_names_no_agent() -> None:
    """The root of a lone model call is named after its class, not after an agent."""
    stream = Stream()
    stream.send(Sent(1, 1, 0, 1, 0, "ChatOpenAI", attributes={"langsmith.span.kind": "llm"}))
    assert stream.flush().of("llm")[0]["labels"][1] == "shop"  # type: ignore[index]


def test_client_and_server_of_mcp_are_one_call() -> None:
    """Both ends and the agent's own span of one tool call are one, though the client names the server as well."""
    stream = Stream()
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "crm_look_up"}
    end = {"mcp.method.name": "tools/call", "gen_ai.tool.name": "look_up"}
    stream.send(
        Sent(1, 1, 0, 5, 0, "execute_tool crm_look_up", attributes=tool),
        Sent(1, 2, 1, 4, 1, "tools/call look_up", attributes=end),
        Sent(1, 3, 2, 3, 2, "tools/call look_up", attributes=end),
    )
    assert [row["count"] for row in stream.flush().of("tool")] == [1.0]


def test_a_log_written_as_a_span_is_no_call() -> None:
    """Logfire's end of a stream hands in its tokens, once, and is not counted."""
    stream = Stream()
    log = chat(1, 3, 2, 2, parent=1, logfire__span_type="log")
    silent = Sent(1, 2, 1, 2, 1, "chat", attributes={"gen_ai.operation.name": "chat"})
    stream.send(agent(1, 1, 0, 3), silent, log)
    rows = stream.flush().of("llm")
    assert sum(float(str(row["count"])) for row in rows) == 1
    assert sum(float(str(row["input_tokens"])) for row in rows) == 100


def test_what_one_account_of_a_call_lacks_the_other_adds() -> None:
    """The inner of two spans says no cache, the outer does: the call has it, and its cost."""
    stream = Stream()
    cached = {"gen_ai__usage__cache_read__input_tokens": 50}
    stream.send(chat(1, 1, 0, 5, 0, **cached), chat(1, 2, 1, 2, parent=1))
    (row,) = stream.flush().of("llm")
    assert row["cost_usd"] == pytest.approx(50 * 0.15e-6 + 50 * 0.075e-6 + 10 * 0.6e-6)


PARTS = {
    "the cache": ({"input": 10, "output": 5, "cache_read": 30, "total": 45}, (40, 5)),
    "the cache, written too": ({"input": 50, "output": 5, "cache_read": 30, "cache_creation": 2, "total": 87}, (82, 5)),
    "the reasoning": ({"input": 10, "output": 25, "reasoning": 20, "total": 55}, (10, 45)),
    "both": ({"input": 40, "output": 25, "cache_read": 30, "reasoning": 20, "total": 115}, (70, 45)),
    "nothing": ({"input": 40, "output": 25, "cache_read": 30, "reasoning": 20, "total": 65}, (40, 25)),
    "one of two alike": ({"input": 40, "output": 25, "cache_read": 20, "reasoning": 20, "total": 85}, (40, 45)),
}
NAMES = {"cache_read": "cache_read.input", "cache_creation": "cache_creation.input", "reasoning": "reasoning.output"}


@pytest.mark.parametrize("which", PARTS)
def test_a_total_tells_what_was_counted_apart(which: str) -> None:
    """A sender's own sum says whether its input has the cache and its output the reasoning."""
    parts, tokens = PARTS[which]
    stream = Stream()
    attributes = {f"gen_ai.usage.{NAMES.get(part, part)}_tokens": count for part, count in parts.items()}
    stream.send(Sent(1, 1, 0, 1, 0, "chat", attributes={"gen_ai.operation.name": "chat", **attributes}))
    (row,) = stream.flush().of("llm")
    assert (row["input_tokens"], row["output_tokens"]) == tokens


def test_the_inner_of_two_tool_spans_knows_how_it_went_and_the_outer_its_name() -> None:
    """Claude Code's execution names no tool; it is the call, by the name of the span it lies in."""
    stream = Stream()
    stream.send(
        Sent(1, 1, 0, 9, 0, "claude_code.tool", attributes={"tool_name": "Bash"}),
        Sent(1, 2, 5, 8, 1, "claude_code.tool.execution", attributes={"success": False}),
    )
    (row,) = stream.flush().of("tool")
    assert dict(zip(CELL_LABELS, row["labels"], strict=True))["tool"] == "Bash"  # type: ignore[call-overload]
    assert (row["count"], row["failed"]) == (1.0, 1.0)


def native(*spans: Sent) -> bytes:
    """A body of spans from an SDK's own scope."""
    request = ExportTraceServiceRequest.FromString(body(*spans))
    request.resource_spans[0].scope_spans[0].scope.name = NATIVE
    return request.SerializeToString()


def both(stream: Stream, count: int, at_s: float, ended: float, **more: Value) -> None:
    """Calls that an SDK and an instrumentation each tell, in traces of their own."""
    ids = [{"gen_ai__response__id": f"r{n}"} if more.get("ids") else {} for n in range(count)]
    failed = bool(more.get("failed"))
    inner = [replace(chat(n + 1, 1, at_s + 0.1, ended - 0.1, 0, **ids[n]), failed=failed) for n in range(count)]
    outer = [replace(chat(n + 5001, 1, at_s, ended, 0, tenant="acme", **ids[n]), failed=failed) for n in range(count)]
    stream.send_bytes(native(*inner), ended + 1)
    stream.send(*outer, now_s=ended + 1)


@pytest.mark.parametrize("more", [{"ids": 1}, {"failed": 1}, {}], ids=["answered", "failed", "without-id"])
@pytest.mark.parametrize("ended", [5.0, 10.05], ids=["one-slot", "two-slots"])
def test_two_accounts_in_unrelated_traces_are_one_call(more: dict[str, Value], ended: float) -> None:
    """Joined by the answer's id, else by time; as many calls as there were, in one slot or across two."""
    runs = []
    for cut in (False, True):
        stream = Stream()
        both(stream, 3, 1, ended, **more)
        stream.send(agent(9999, 1, 75, 75))
        if cut:
            stream.ingest = Ingest.restore(stream.ingest.snapshot(), stream.limits)
        runs.append(stream.flush())
    rows = runs[0].of("llm")
    assert sum(float(str(row["count"])) for row in rows) == 3
    assert sum(float(str(row["input_tokens"])) for row in rows) == 300
    assert sum(float(str(row["failed"])) for row in rows) == (3 if more.get("failed") else 0)
    if ended < 10:
        assert {row["labels"][0] for row in rows} == {"acme"}  # type: ignore[index]
    assert same_slots(runs[0].slots, runs[1].slots)


def test_other_calls_of_the_same_kind_stay_apart() -> None:
    """An SDK's call outside the other's time, of another model, or from another process is a call of its own."""
    stream = Stream()
    stream.send_bytes(native(chat(1, 1, 1, 2), chat(2, 1, 5, 6), chat(3, 1, 3, 3.5, 0, gen_ai__request__model="o3")), 9)
    stream.send(chat(11, 1, 3, 4))
    stream.send_bytes(body(chat(12, 1, 0, 9), resource={"service.name": "another"}), 9)
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == 5


def test_an_outage_of_thousands_is_joined_in_reasonable_time() -> None:
    """Alike failures by the thousand, each told twice, are as many as there were."""
    stream = Stream()
    both(stream, 3000, 1, 5, failed=1)
    assert sum(float(str(row["count"])) for row in stream.flush().of("llm")) == 3000


def test_langfuse_costs() -> None:
    """A total is the cost; without one, its parts are."""
    assert dict(langfuse.cost({"input": 1.0, "output": 0.5, "total": 1.25})) == {"cost_usd": 1.25}
    assert dict(langfuse.cost({"input": 1.0, "output": 0.5})) == {"cost_usd": 1.5}
    assert dict(langfuse.cost({})) == {"cost_usd": None}


def test_a_resource_may_be_escaped() -> None:
    """Agentforce escapes its text as HTML, the agent's name on the resource too."""
    assert read_resource([("gen_ai.agent.name", "Q&amp;A")]).agent == "Q&A"


def test_every_dialect_has_a_name_and_a_place_of_its_own() -> None:
    """No two dialects share a name or a precedence, so who is believed first is never chance."""
    assert (
        len({dialect.name for dialect in DIALECTS})
        == len({dialect.precedence for dialect in DIALECTS})
        == len(DIALECTS)
    )
