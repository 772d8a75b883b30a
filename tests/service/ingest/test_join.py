"""What a call is counted by, and that it is counted once."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from detectors.core.columns import CELL_LABELS
from service.ingest.dialects import DIALECTS, HASHED, WANTED
from service.ingest.prices import CostSource, Prices, Tokens
from tests.service.ingest.wire import Sent, Stream, Value, agent, at_ns, body, chat

EXECUTE = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up"}


def told(stream: Stream, operation: str = "llm") -> dict[str, str]:
    """The labels of the only row of an operation."""
    (row,) = stream.flush().of(operation)
    labels = row["labels"]
    assert isinstance(labels, tuple)
    return dict(zip(CELL_LABELS, labels, strict=True))


def tool(trace: int, span: int, parent: int = 0, name: str = "look_up") -> Sent:
    """A tool's execution."""
    attributes = {**EXECUTE, "gen_ai.tool.name": name}
    return Sent(trace, span, 1, 2, parent, f"execute_tool {name}", attributes=attributes)


def test_the_span_itself_is_believed_first() -> None:
    """What a span says beats its parent, and the parent its root."""
    stream = Stream()
    own = chat(1, 3, 1, 2, parent=2, gen_ai__agent__name="own", tenant__id="mine")
    middle = replace(agent(1, 2, 0, 3, name="middle", tenant="middle", gen_ai__agent__version="2"), parent=1)
    stream.send(agent(1, 1, 0, 4, name="root", tenant="root", gen_ai__agent__version="1"), middle, own)
    labels = told(stream)
    assert (labels["tenant"], labels["agent"], labels["agent_version"]) == ("mine", "own", "2")


def test_a_sibling_speaks_for_the_trace() -> None:
    """Where no ancestor knows, any span of the trace does."""
    stream = Stream()
    stream.send(chat(1, 2, 1, 2, parent=1), replace(tool(1, 3, parent=1), attributes={**EXECUTE, "tenant": "acme"}))
    assert told(stream)["tenant"] == "acme"


@pytest.mark.parametrize(("service", "agent_name"), [("shop", "shop"), ("unknown_service:python", "")])
def test_the_service_is_the_agent_of_last_resort(service: str, agent_name: str) -> None:
    """A resource's service name is the agent where nothing names one, unless the SDK made it up."""
    stream = Stream()
    raw = body(chat(1, 1, 1, 2), resource={"service.name": service, "service.version": "7", "tenant_id": "t"})
    stream.send_bytes(raw, 3)
    labels = told(stream)
    assert (labels["agent"], labels["agent_version"], labels["tenant"]) == (agent_name, "7", "t")


def test_model_and_provider_may_stand_on_the_root() -> None:
    """The hand-written agent names its model on `agent.session` alone, and is told by span names."""
    stream = Stream()
    root = Sent(1, 1, 0, 5, 0, "agent.session", attributes={"gen_ai.system": "xai", "gen_ai.request.model": "grok-4"})
    stream.send(root, Sent(1, 2, 1, 2, 1, "agent.generate", attributes={"gen_ai.usage.input_tokens": 5}))
    labels = told(stream)
    assert (labels["provider"], labels["model"]) == ("x_ai", "grok-4")


@pytest.mark.parametrize(
    ("name", "operation", "tool_name"),
    [
        ("agent.retrieve", "retrieval", ""),
        ("agent.classify", "classification", ""),
        ("agent.intent", "classification", ""),
        ("agent.tool look_up", "tool", "look_up"),
        ("agent.tool.look_up", "tool", "look_up"),
        ("agent.tool", "tool", ""),
        ("agent.unheard_of", "other", ""),
        ("GET /", "other", ""),
    ],
)
def test_hand_written_spans_are_told_by_name(name: str, operation: str, tool_name: str) -> None:
    """A span without an operation is what its name says, and a tool's name may follow."""
    stream = Stream()
    stream.send(Sent(1, 1, 0, 1, 0, name))
    assert told(stream, operation)["tool"] == tool_name


def test_labels_that_mean_nothing_are_empty() -> None:
    """A tool call has no model, though its ancestors have one; a model call has no tool."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 5), tool(1, 2, parent=1))
    labels = told(stream, "tool")
    assert (labels["provider"], labels["model"], labels["tool"]) == ("", "", "look_up")


def test_two_spans_of_one_model_call_are_one() -> None:
    """A model span within a model span is one call, counted at the inner one."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 5), Sent(1, 2, 0, 5, 1, "POST"), chat(1, 3, 1, 3, parent=2))
    (row,) = stream.flush().of("llm")
    assert (row["count"], row["input_tokens"]) == (1.0, 100.0)
    assert row["start_s"] == 0


def test_a_wrapper_hands_in_what_its_leaf_did_not_report() -> None:
    """Where only the outer of two spans has tokens, the one call has them."""
    stream = Stream()
    inner = Sent(1, 2, 1, 3, 1, "chat", attributes={"gen_ai.operation.name": "chat"})
    stream.send(chat(1, 1, 0, 15), inner)
    rows = stream.flush().of("llm")
    assert [row["count"] for row in rows] == [1.0, 0.0]
    assert [row["input_tokens"] for row in rows] == [0.0, 100.0]


def test_the_same_answer_is_one_call() -> None:
    """Siblings with the same response id are one call."""
    stream = Stream()
    stream.send(*(chat(1, n, 1, n, parent=1, gen_ai__response__id="r") for n in (2, 3)))
    (row,) = stream.flush().of("llm")
    assert (row["count"], row["input_tokens"]) == (1.0, 100.0)


def test_a_model_call_under_a_tool_is_another_call() -> None:
    """An agent used as a tool within a model span calls a model of its own."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 5), tool(1, 2, parent=1), chat(1, 3, 1, 2, parent=2))
    assert [row["count"] for row in stream.flush().of("llm")] == [2.0]


def test_client_and_server_of_a_tool_are_one_call() -> None:
    """MCP's client and server both say execute_tool of the same tool: one call; another tool is another."""
    stream = Stream()
    stream.send(tool(1, 1), tool(1, 2, parent=1), tool(1, 3, parent=2, name="other"))
    assert sorted((row["labels"][5], row["count"]) for row in stream.flush().of("tool")) == [  # type: ignore[index]
        ("look_up", 1.0),
        ("other", 1.0),
    ]


def test_an_aggregate_never_adds_to_its_leaves() -> None:
    """Tokens on an agent span are the sum of its calls' and count for nothing."""
    stream = Stream()
    total = replace(agent(1, 1, 0, 5), attributes={**agent(1, 1, 0, 5).attributes, "gen_ai.usage.input_tokens": 100})
    stream.send(total, chat(1, 2, 1, 2, parent=1))
    assert sum(float(str(row["input_tokens"])) for row in stream.flush().rows()) == 100.0


def test_an_aggregate_stands_in_where_no_leaf_reports() -> None:
    """An instrumentation with agent spans alone still has its tokens counted, once, and priced."""
    attributes = {**chat(1, 1, 0, 1).attributes, "gen_ai.operation.name": "invoke_agent"}
    workflow = {**chat(1, 1, 0, 1).attributes, "gen_ai.operation.name": "invoke_workflow"}
    stream = Stream()
    stream.send(Sent(1, 1, 0, 5, attributes=workflow), Sent(1, 2, 1, 4, 1, attributes=attributes))
    (row,) = stream.flush().of("agent")
    assert (row["input_tokens"], row["cost_usd"]) == (100.0, pytest.approx(21e-6))
    assert [row["input_tokens"] for row in stream.of("workflow")] == [0.0]


def test_parts_beyond_the_whole_were_reported_apart() -> None:
    """Cache above input, or reasoning above output, means that the sender left them out of the total."""
    stream = Stream()
    more = {"gen_ai__usage__cache_read__input_tokens": 300, "gen_ai__usage__reasoning__output_tokens": 50}
    stream.send(chat(1, 1, 0, 1, 0, **more))
    (row,) = stream.flush().of("llm")
    assert (row["input_tokens"], row["output_tokens"]) == (400.0, 60.0)


def test_parents_in_a_circle_do_no_harm() -> None:
    """Two spans that call each other parent are resolved like any other."""
    stream = Stream()
    stream.send(replace(agent(1, 1, 0, 3), parent=2), chat(1, 2, 0, 2, parent=1))
    assert told(stream)["agent"] == "helper"


def test_a_placeholder_is_no_agent() -> None:
    """A name that an instrumentation writes on everything gives way to the nearest real agent's."""
    stream = Stream()
    stream.send(agent(1, 1, 0, 3, name="billing"), chat(1, 2, 0, 2, parent=1, gen_ai__agent__name="OpenAI Agent"))
    assert told(stream)["agent"] == "billing"


def test_a_sampled_span_counts_for_all_it_stands_for() -> None:
    """One in four kept by `th:c`: its call, tokens, cost and duration count four times."""
    stream = Stream()
    stream.send(replace(chat(1, 1, 0, 1), state="ot=th:c", failed=True))
    (row,) = stream.flush().of("llm")
    assert (row["count"], row["failed"], row["input_tokens"]) == (4.0, 4.0, 400.0)
    assert row["duration"] == [(-1, 4.0)]
    assert stream.slots[0].squares.tolist() == [16.0]


def test_errors_are_a_status_or_an_error_type() -> None:
    """Either says that a call failed; an empty error type does not."""
    stream = Stream()
    stream.send(
        replace(chat(1, 1, 0, 1), failed=True), chat(2, 1, 0, 1, error__type="x"), chat(3, 1, 0, 1, error__type="")
    )
    (row,) = stream.flush().of("llm")
    assert (row["count"], row["failed"]) == (3.0, 2.0)


@pytest.mark.parametrize(
    ("more", "dollars", "unpriced", "free"),
    [
        ({}, 21e-6, 0.0, 0.0),
        ({"operation__cost": 0.25}, 0.25, 0.0, 0.0),
        ({"gen_ai__usage__cost": 0.0}, 0.0, 0.0, 1.0),
        ({"gen_ai__usage__cost": float("nan")}, 21e-6, 0.0, 0.0),
        ({"gen_ai__request__model": "unheard-of"}, 0.0, 1.0, 0.0),
        ({"gen_ai__response__model": "gpt-4o-2024-08-06"}, 350e-6, 0.0, 0.0),
        ({"gen_ai__usage__input_tokens": 0, "gen_ai__usage__output_tokens": 0}, 0.0, 0.0, 0.0),
        ({"gen_ai__provider__name": "strands-agents"}, 21e-6, 0.0, 0.0),
    ],
    ids=["listed", "stated", "stated-zero", "insane", "unheard-of", "answering-model", "no-tokens", "framework"],
)
def test_what_a_call_costs(more: dict[str, Value], dollars: float, unpriced: float, free: float) -> None:
    """As stated, else by list price of the model that answered, else not known: never 0 for unknown."""
    stream = Stream()
    stream.send(chat(1, 1, 0, 1, 0, **more))
    (row,) = stream.flush().of("llm")
    assert row["cost_usd"] == pytest.approx(dollars)
    assert (row["unpriced"], row["free"]) == (unpriced, free)


def test_a_tool_without_a_price_is_not_unpriced() -> None:
    """A tool call has a cost only where its span states one."""
    stream = Stream()
    stream.send(tool(1, 1))
    (row,) = stream.flush().of("tool")
    assert (row["cost_usd"], row["unpriced"], row["free"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("provider", "listed", "model"),
    [
        ("anthropic", "anthropic", "claude-sonnet-4-5"),
        ("gcp.gemini", "google", "gemini-2.5-pro"),
        ("openai", "openai", "gpt-4o"),
        ("azure.ai.openai", "azure", "gpt-4o"),
        ("deepseek", "deepseek", "deepseek-chat"),
        ("openai", "openai", "text-embedding-3-small"),
    ],
)
@pytest.mark.parametrize(
    "tokens", [Tokens(1000, 100), Tokens(200_000, 5), Tokens(200_001, 5), Tokens(300_000, 100, 100_000, 50_000)]
)
def test_unit_prices_agree_with_the_library(provider: str, listed: str, model: str, tokens: Tokens) -> None:
    """What is worked out from cached unit prices, tiers and cache included, is what genai-prices answers."""
    usage = Usage(
        input_tokens=int(tokens.input),
        output_tokens=int(tokens.output),
        cache_read_tokens=int(tokens.cache_read) or None,
        cache_write_tokens=int(tokens.cache_write) or None,
    )
    moment = datetime.fromtimestamp(at_ns(0) / 1e9, UTC)
    asked = calc_price(usage, model, provider_id=listed, genai_request_timestamp=moment).total_price
    dollars, source = Prices().cost(provider, ("", model), tokens, at_ns(0))
    assert source is CostSource.PRICED
    assert Decimal(dollars) == pytest.approx(asked)


def test_prices_follow_the_day() -> None:
    """A call of last year costs last year's price."""
    prices = Prices()
    tokens = Tokens(1_000_000, 0)
    before, after = (prices.cost("openai", ("o3",), tokens, ns)[0] for ns in (1_746_000_000 * 10**9, at_ns(0)))
    assert [before, after] == pytest.approx([10.0, 2.0])


def test_dialects_are_found_and_never_read_content() -> None:
    """A dialect is found by being in the package; none asks for prompts, completions, arguments or results."""
    assert {dialect.name for dialect in DIALECTS} >= {"semconv", "handwritten", "metadata"}
    content = ("messages", "prompt", "completion", "arguments", "result", "input.value", "output.value", "query")
    read = WANTED.keys() - HASHED  # Of those a number is kept that stands for the text.
    assert not [name for name in read if name.endswith(content) and "token" not in name and "cost" not in name]
