"""The kinds behind the cases: other frameworks, other parts, other names, built by hand."""

import json
from typing import Any

import pytest

from service.config.local_settings import rates
from service.ingest.failures import is_control_flow, names
from service.ingest.local import Local, overrides
from service.ingest.prices import CostSource, Prices, Tokens
from service.ingest.selfhosted import is_self_hosted
from service.ingest.stage import Ingest
from tests.service.ingest.test_cases import protobuf, read
from tests.service.ingest.wire import EPOCH_S, Stream

NOW_NS = EPOCH_S * 10**9
CHAT = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
}  # fmt: skip
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
RUN = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as JSON has them."""
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in attributes.items()]


def span(
    number: int, attributes: dict[str, Any], parent: int = 0, at_s: float = 0, lasts_s: float = 1, **more: Any
) -> dict[str, Any]:
    """A span as JSON has it."""
    start = NOW_NS + round(at_s * 1e9)
    return {
        "traceId": f"{more.pop('trace', 1):032x}", "spanId": f"{number:016x}",
        **({"parentSpanId": f"{parent:016x}"} if parent else {}),
        "name": more.pop("name", "x"), "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + round(lasts_s * 1e9)), "attributes": pairs(attributes), **more,
    }  # fmt: skip


def body(*spans: dict[str, Any], resource: dict[str, Any] | None = None, scope: str = "test") -> bytes:
    """A body of these spans."""
    scoped = {"scope": {"name": scope}, "spans": list(spans)}
    attributes = pairs(resource if resource is not None else {"service.name": "shop"})
    return json.dumps({"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [scoped]}]}).encode()


def raised(kind: str) -> dict[str, Any]:
    """The event of an exception."""
    return {"events": [{"name": "exception", "attributes": pairs({"exception.type": kind, "exception.message": "no"})}]}


def labels_of(row: dict[str, object]) -> tuple[str, ...]:
    """The labels of a row of a stream."""
    labels = row["labels"]
    assert isinstance(labels, tuple)
    return labels


ERROR: dict[str, Any] = {"code": 2}


@pytest.mark.parametrize(
    "kind",
    [
        "langgraph.errors.NodeInterrupt", "langgraph.errors.ParentCommand", "GraphBubbleUp", "GraphInterrupt",
        "asyncio.exceptions.CancelledError", "builtins.GeneratorExit", "AbortError", "APIUserAbortError",
        "pydantic_ai.exceptions.ApprovalRequired", "pydantic_ai.exceptions.CallDeferred",
        "crewai.flow.async_feedback.types.HumanFeedbackPending", "System.OperationCanceledException",
        "java.util.concurrent.CancellationException", "kotlinx.coroutines.JobCancellationException",
        "agno.exceptions.StopAgentRun", "workflows.runtime.types.results.WaitingForEvent", "anyio.Cancelled",
        "starlette.requests.ClientDisconnect", "temporalio.exceptions.CancelledError", "WorkflowSuspension",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["error.type", "event", "status", "all"])
@pytest.mark.parametrize("code", [0, 2])
def test_control_flow_is_no_failure(kind: str, how: str, code: int) -> None:
    """Wherever its type stands, with a status and without: of a tool, of a model, and of a root."""
    attributes = {"error.type": kind} if how in ("error.type", "all") else {}
    more = raised(kind) if how in ("event", "all") else {}
    status = {"code": code, **({"message": f"{kind.rpartition('.')[2]}: order 7"} if how in ("status", "all") else {})}
    spans = [
        span(1, RUN | attributes, status=status, **more, lasts_s=3),
        span(2, TOOL | attributes, 1, status=status, **more),
        span(3, CHAT | attributes, 1, status=status, **more),
    ]  # fmt: skip
    found = read([body(*spans)])
    assert (found["failed"], found["failed_sessions"], found["calls"]["tool"]) == ({}, 0, 1)
    assert read([protobuf(body(*spans))]) == found


@pytest.mark.parametrize(
    ("attributes", "more", "fails"),
    [
        ({}, {"status": ERROR}, True),  # A status without words is what it was.
        ({}, {"status": {"code": 2, "message": "context canceled"}}, False),
        ({}, {"status": {"code": 2, "message": "A task was canceled."}}, False),
        ({}, {"status": {"code": 2, "message": "the order was canceled by the shop"}}, True),
        ({"error.type": "_OTHER"}, {"status": ERROR, **raised("GraphInterrupt")}, False),
        ({"error.type": "ValueError"}, {"status": ERROR, **raised("GraphInterrupt")}, True),
        ({}, {**raised("ValueError")}, True),  # Only an event tells.
        ({}, {**raised("ValueError"), "status": {"code": 1}}, False),  # It was dealt with.
        ({}, {"status": ERROR, **raised("TimeoutError")}, True),
        ({"exception.type": "GraphInterrupt"}, {"status": ERROR}, False),
    ],
)  # fmt: skip
def test_what_tells_a_failed_tool(attributes: dict[str, Any], more: dict[str, Any], fails: bool) -> None:
    """The most specific type that is told; an event alone; a status alone."""
    raw = body(span(1, TOOL | attributes, **more))
    assert read([raw])["failed"] == ({"tool": 1} if fails else {})
    assert read([protobuf(raw)])["failed"] == ({"tool": 1} if fails else {})


def test_an_exception_of_a_first_try_is_no_failure() -> None:
    """A model that answered after all says how much; one that did not failed."""
    first_try: Any = raised("RateLimitError")
    assert read([body(span(1, CHAT, **first_try))])["failed"] == {}
    silent = {name: value for name, value in CHAT.items() if "usage" not in name}
    assert read([body(span(1, silent, **first_try))])["failed"] == {"llm": 1}
    last: Any = {"events": [*raised("RateLimitError")["events"], *raised("GraphInterrupt")["events"]]}
    assert read([body(span(1, TOOL, status=ERROR, **last))])["failed"] == {}


def test_the_operator_names_more() -> None:
    """By any spelling of a module; a list that is none is refused."""
    own = frozenset(names("myapp.flow.NeedsHuman, Paused"))  # type: ignore[call-overload]
    assert is_control_flow("NeedsHuman", own) and is_control_flow("x::Paused", own) and not is_control_flow("Lost", own)
    stream = Stream()
    stream.ingest = Ingest(stream.limits, local=Local(no_failures=own))
    stream.send_bytes(body(span(1, TOOL, status=ERROR, **raised("myapp.Paused"))), 2)
    assert [row["failed"] for row in stream.flush().of("tool")] == [0]
    with pytest.raises(ValueError, match="names of exceptions"):
        names("x" * 200)


@pytest.mark.parametrize(
    ("tops", "failed"),
    [
        ([(1, RUN, 99, {})], 1),
        ([(1, {"gen_ai.operation.name": "invoke_workflow"}, 99, {})], 1),
        ([(1, CHAT, 99, {"kind": 2})], 1),  # A server's span: its parent is of another process.
        ([(1, CHAT, 99, {"flags": 0x300})], 1),
        ([(1, RUN, 99, {}), (5, RUN, 99, {})], 1),  # A gateway that asked two.
        ([(1, RUN, 99, {}), (5, CHAT, 99, {})], 0),  # What is above them may still be under way.
        ([(1, CHAT, 99, {})], 0),
    ],
)  # fmt: skip
def test_a_top_stands_for_a_root(tops: list[tuple[int, dict[str, Any], int, dict[str, Any]]], failed: int) -> None:
    """A session whose root is not ours closes half a minute after its top, and can fail; else it is waited for."""
    stream = Stream()
    spans = [span(number, said, parent, status=ERROR, **more) for number, said, parent, more in tops]
    stream.send_bytes(body(*spans, span(9, CHAT, 1, lasts_s=0.5)), 2)
    stream.send_bytes(body(span(7, CHAT, trace=7, at_s=150)), 152)
    sessions = [row for row in stream.rows() if labels_of(row)[2] == "session"]
    assert [row["failed"] for row in sessions] == [1] * failed


def test_a_parent_that_comes_later_wins() -> None:
    """A top of a session that is still open is the root no more: the real root did not fail, and names the agent."""
    stream = Stream()
    stream.send_bytes(body(span(2, RUN, 1, status=ERROR)), 2)
    stream.send_bytes(body(span(1, RUN | {"gen_ai.agent.name": "boss"}, at_s=-1, lasts_s=20)), 20)
    stream.flush()
    (session,) = [row for row in stream.rows() if labels_of(row)[2] == "session"]
    assert (labels_of(session)[1], session["failed"]) == ("boss", 0)


def test_an_agent_that_only_such_a_root_names_is_kept() -> None:
    """A chain of OpenInference that another process asked for."""
    chain = {"openinference.span.kind": "CHAIN"}
    model = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.token_count.prompt": 10}
    for more in ({}, {"kind": 2}):
        spans = [
            span(1, chain, 99, name="Researcher", lasts_s=3, **more),
            span(2, chain, 1, name="node"),
            span(3, model, 2),
        ]
        assert read([body(*spans)])["agents"] == {"Researcher"}


@pytest.mark.parametrize(
    ("usage", "right"),
    [
        # No total: the conventions' way, unless the parts exceed the whole.
        ({"input": 100, "output": 50, "cache_read.input": 40}, (100, 50)),
        ({"input": 10, "output": 50, "cache_read.input": 40}, (50, 50)),
        ({"input": 100, "output": 10, "reasoning.output": 30}, (100, 40)),
        # A total that is the sum of all of them.
        ({"input": 100, "output": 50, "cache_read.input": 40, "total": 190}, (140, 50)),
        ({"input": 100, "output": 50, "cache_read.input": 40, "reasoning.output": 20, "total": 210}, (140, 70)),
        ({"input": 100, "output": 50, "cache_read.input": 40, "reasoning.output": 20, "total": 150}, (100, 50)),
        ({"input": 100, "output": 50, "reasoning.output": 20, "total": 170}, (100, 70)),
        # One side is missing, and the total has it.
        ({"output": 50, "total": 150}, (100, 50)),
        ({"input": 100, "total": 150}, (100, 50)),
    ],
)  # fmt: skip
def test_a_total_decides_what_is_inside(usage: dict[str, int], right: tuple[int, int]) -> None:
    """Input and output as the conventions have them, from whatever is told."""
    bare = {name: value for name, value in CHAT.items() if "usage" not in name}
    told = {f"gen_ai.usage.{name}_tokens": count for name, count in usage.items()}
    found = read([body(span(1, bare | told))])
    assert (found["input_tokens"], found["output_tokens"]) == right


def test_what_a_total_says_beyond_is_noted() -> None:
    """By scope; nothing is noted of totals that add up, with the cache or without."""
    stream = Stream()
    totals = {"gen_ai.usage.total_tokens": 1234}
    stream.send_bytes(body(span(1, CHAT | totals), scope="odd"), 2)
    stream.send_bytes(body(span(2, CHAT | {"gen_ai.usage.total_tokens": 1100}), scope="even"), 2)
    assert dict(stream.tally.unexplained) == {"odd": 134.0}


@pytest.mark.parametrize(
    ("model", "more", "dollars"),
    [
        ("gpt-4.1", {"openai.response.service_tier": "flex"}, None),
        ("gpt-5.2", {"openai.response.service_tier": "flex"}, (1000 * 0.875 + 100 * 7) / 1e6),
        ("gpt-4.1", {"openai.response.service_tier": "priority"}, 0.0049),
        ("gpt-4.1", {"openai.request.service_tier": "priority", "openai.response.service_tier": "default"}, 0.0028),
        ("gpt-4.1", {"openai.response.service_tier": "scale"}, None),
        ("gpt-4.1", {"gen_ai.usage.web_search_requests": 3}, 0.0028 + 0.03),
        ("gpt-4.1", {"gen_ai.usage.output_image_tokens": 5}, None),
        ("gpt-4.1", {"gen_ai.usage.input_image_tokens": 500}, 0.0028),
        ("gpt-realtime", {"gen_ai.usage.input_image_tokens": 500}, (500 * 4 + 500 * 5 + 100 * 16) / 1e6),
        ("gpt-realtime", {"gen_ai.usage.input_audio_tokens": 900, "gen_ai.usage.cache_read.input_tokens": 1000},
         (100 * 0.4 + 900 * 0.4 + 100 * 16) / 1e6),
    ],
)  # fmt: skip
def test_a_part_has_its_own_price_or_none(model: str, more: dict[str, Any], dollars: float | None) -> None:
    """Tiers, searches, images, cached audio; what the list does not know makes a call unpriced."""
    found = read([body(span(1, CHAT | {"gen_ai.request.model": model} | more))])
    assert (found["dollars"], found["unpriced"]) == (pytest.approx(dollars or 0), int(dollars is None))


def test_a_batch_costs_half() -> None:
    """Where the list has it, whichever name says so."""
    claude = CHAT | {"gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-opus-4-5"}
    whole = read([body(span(1, claude))])["dollars"]
    for more in ({"gen_ai.response.service_tier": "batch"}, {"gen_ai.request.batch": True}):
        assert read([body(span(1, claude | more))])["dollars"] == pytest.approx(whole / 2)


def test_an_own_price_has_tiers_and_parts() -> None:
    """The operator's table: a tier of its own, and audio; what it does not name is not known."""
    mine = overrides({"prices": [{"model": "voice", "input": 1, "output": 2, "audio_input": 10, "web_search": 5},
                                 {"model": "voice", "tier": "flex", "input": 0.5, "output": 1}]})  # fmt: skip
    prices = Prices(mine)

    def cost(tokens: Tokens, tier: str = "") -> tuple[float, CostSource]:
        return prices.cost("me", ("voice",), tokens, NOW_NS, tier)

    assert cost(Tokens(1e6, 0, audio_in=5e5))[0] == pytest.approx(5.5)
    assert cost(Tokens(0, 1e6, web_searches=2000))[0] == pytest.approx(12)
    assert cost(Tokens(1e6, 1e6), "flex")[0] == pytest.approx(1.5)
    assert cost(Tokens(1e6, 1e6), "priority")[1] is CostSource.UNPRICED
    assert cost(Tokens(1e6, 1e6, audio_out=1))[1] is CostSource.UNPRICED


@pytest.mark.parametrize("currency", ["EUR", "jpy", "credits", "GBP"])
def test_what_is_not_dollars_is_not_summed(currency: str) -> None:
    """It is not read; where nothing else prices the call it is unpriced. With a rate it is converted."""
    more = {"gen_ai.usage.cost.amount": 5.0, "gen_ai.usage.cost.currency": currency}
    assert read([body(span(1, CHAT | more))])["dollars"] == pytest.approx(0.0035)
    found = read([body(span(1, CHAT | more | {"gen_ai.request.model": "of-ours"}))])
    assert (found["dollars"], found["unpriced"]) == (0, 1)
    bare = {name: value for name, value in CHAT.items() if "usage" not in name}
    found = read([body(span(1, bare | more))])
    assert (found["dollars"], found["unpriced"]) == (0, 1)
    local = Local(rates=dict(rates(f"{currency}=0.5")))  # type: ignore[call-overload]
    assert local.rate(currency.lower()) == 0.5 and local.rate("usd") == 1


@pytest.mark.parametrize(
    ("provider", "model", "own"),
    [
        ("vllm", "deepseek-r1", True), ("lmstudio", "kimi-k2", True), ("LM Studio", "command-r", True),
        ("llama.cpp", "mistral-nemo", True), ("localai", "glm-4.5-air", True), ("tgi", "minimax-m2", True),
        ("sglang", "deepseek-v3", True), ("ollama_chat", "deepseek-r1", True), ("hosted_vllm", "deepseek-r1", True),
        ("", "ollama/deepseek-r1", True), ("", "hosted_vllm/deepseek-r1", True), ("", "deepseek-r1:14b", True),
        ("", "/models/deepseek-r1.Q4_K_M.gguf", True), ("deepseek", "deepseek-reasoner", False),
        ("openrouter", "deepseek/deepseek-r1", False), ("", "gpt-4o", False), ("aws.bedrock", "x-v1:0", False),
    ],
)  # fmt: skip
def test_who_serves_models_himself_has_no_list_price(provider: str, model: str, own: bool) -> None:
    """Servers of open weights by all of their names, in the provider or before the model's."""
    assert is_self_hosted(provider, model) is own
    if own:
        assert Prices().cost(provider, (model,), Tokens(1000, 10), NOW_NS)[1] is CostSource.UNPRICED


@pytest.mark.parametrize("name", ["session.id", "gen_ai.conversation.id", "session_id", "thread.id", "conversation_id"])
def test_a_resource_names_a_session(name: str) -> None:
    """Where no span of the trace does; a span's own word wins."""
    resource = {"service.name": "cli", name: "s-1"}
    turns = [span(number, RUN, trace=number) for number in (1, 2)]
    assert read([body(*turns, resource=resource)])["sessions"] == 1
    told = [span(number, RUN | {"gen_ai.conversation.id": f"c-{number}"}, trace=number) for number in (1, 2)]
    assert read([body(*told, resource=resource)])["sessions"] == 2


@pytest.mark.parametrize("name", ["tenant.id", "tenantId", "customer_id", "organization.id", "org_id"])
def test_a_resource_names_a_tenant_and_an_agent(name: str) -> None:
    """By the names that resources carry."""
    stream = Stream()
    stream.send_bytes(body(span(1, CHAT), resource={"service.name": "x", "agent.name": "helper", name: "acme"}), 2)
    stream.flush()
    assert {labels_of(row)[:2] for row in stream.rows()} == {("acme", "helper")}


def test_a_span_under_way_is_told_again() -> None:
    """What it is, how long it took, and whether it failed are the later account's; a smaller one changes nothing."""
    stream = Stream()
    stream.send_bytes(body(span(1, {}, name="work")), 2)
    stream.send_bytes(body(span(1, CHAT, lasts_s=25, status=ERROR)), 26)
    stream.send_bytes(body(span(1, CHAT | {"gen_ai.usage.input_tokens": 1}, lasts_s=25)), 26)
    stream.flush()
    (row,) = stream.of("llm")
    assert (row["count"], row["failed"], row["input_tokens"]) == (1, 1, 1000)
