"""Traces of coding agents, gateways and servers that there is no capture of, as their sources write them."""

from pathlib import Path

import pytest

from tests.service.ingest.cases import Case, chat, found_in, usage

PRODUCTS = {
    # Claude Code's manual, traces: the tool's span holds the wait and the execution.
    "claude code": Case(
        (
            (1, 0, "claude_code.interaction", {"session.id": "s", "span.type": "interaction"}),
            (2, 1, "claude_code.llm_request", {"model": "claude-opus-4-5", "input_tokens": 10, "output_tokens": 2,
                                               "cache_read_tokens": 80, "cache_creation_tokens": 8, "success": True}),
            (3, 1, "claude_code.tool", {"tool_name": "Bash"}),
            (4, 3, "claude_code.tool.blocked_on_user", {"decision": "accept"}),
            (5, 3, "claude_code.tool.execution", {"success": False}),
            (6, 1, "claude_code.tool", {"tool_name": "Task"}),
            (7, 6, "claude_code.tool.execution", {"success": True}),
            (8, 7, "claude_code.tool", {"tool_name": "Read"}),
            (9, 8, "claude_code.tool.execution", {"success": True}),
            (10, 1, "claude_code.tool", {"tool_name": "Write"}),
            (11, 10, "claude_code.tool.blocked_on_user", {"decision": "reject"}),
        ),
        "llm 1, tool 4/1", (98, 2, 80, 8, 0), models=("claude-opus-4-5",),
    ),
    # openai/codex: the last event of a stream has the tokens, which the turn repeats; a server's tool is told thrice.
    "codex": Case(
        (
            (1, 0, "session_task.turn", {
                "thread.id": "t", "model": "gpt-5.5", "codex.turn.token_usage.input_tokens": 30,
                "codex.turn.token_usage.cached_input_tokens": 20, "codex.turn.token_usage.output_tokens": 5,
            }),
            (2, 1, "receiving_stream", {}),
            (3, 2, "handle_responses", {"from": "output_item_done", "tool_name": "exec_command"}),
            (4, 2, "handle_responses", usage(30, 5, gen_ai__usage__cache_read__input_tokens=20,
                                             codex__usage__reasoning_output_tokens=2)),
            (5, 1, "handle_tool_call", {}),
            (6, 5, "exec_command", {"tool_name": "exec_command", "call_id": "a", "aborted": False}),
            (7, 6, "dispatch_tool_call_with_terminal_outcome", {}),
            (8, 1, "mcp__docs__find", {"tool_name": "mcp__docs__find", "call_id": "b", "aborted": False}),
            (9, 8, "dispatch_tool_call_with_terminal_outcome", {}),
            (10, 9, "mcp.tools.call", {"rpc.method": "tools/call", "tool.name": "find", "session.id": "t"}),
            (11, 0, "GET", {"aborted": True, "model": "T"}),
        ),
        "llm 1, tool 2/1", (30, 5, 20, 0, 2), models=("gpt-5.5",), failed=(7,),
    ),
    # microsoft/vscode, Copilot Chat's monitoring: the agent has the tokens of its calls.
    "copilot": Case(
        (
            (1, 0, "invoke_agent", chat("gpt-4o", "invoke_agent", gen_ai__agent__name="copilot") | usage(30, 5)),
            (2, 1, "chat gpt-4o", chat("gpt-4o") | usage(30, 5)),
            (3, 1, "execute_tool readFile", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "readFile"}),
            (4, 1, "execute_hook Stop", {"gen_ai.operation.name": "execute_hook"}),
        ),
        "llm 1, tool 1", (30, 5, 0, 0, 0), "copilot", models=("gpt-4o",),
    ),
    # BerriAI/litellm, integrations/opentelemetry.py: the call type is the operation, and all is OK in its status.
    "litellm": Case(
        (
            (1, 0, "litellm_request", chat(
                "gpt-4o", "acompletion", llm__request__type="acompletion", gen_ai__cost__total_cost=0.5,
                gen_ai__cost__input_cost=0.25, metadata__user_api_key_team_id="", metadata__tenant_id="acme",
                gen_ai__response__id="r",
            ) | usage(20, 4, gen_ai__usage__total_tokens=24)),
            (2, 1, "raw_gen_ai_request", {"llm.openai.model": "gpt-4o", "llm.openai.usage": "{}"}),
            (3, 1, "guardrail", {"openinference.span.kind": "GUARDRAIL", "guardrail_name": "pii"}),
            (4, 0, "litellm_request", chat("e", "aembedding") | usage(6, 0)),
        ),
        "llm 1, embedding 1", (26, 4, 0, 0, 0), tenant="acme", models=("e", "gpt-4o"), stated=0.5,
    ),
    # OpenRouter's broadcast, as its receivers read it.
    "openrouter": Case(
        (
            (1, 0, "chat", chat("deepseek/v4", session__id="s", trace__metadata__tenant_id="acme") | usage(100, 20) | {
                "gen_ai.usage.input_tokens.cached": 60, "gen_ai.usage.output_tokens.reasoning": 5,
                "gen_ai.usage.total_cost": 0.5, "gen_ai.usage.input_cost": 0.25,
            }),
        ),
        "llm 1", (100, 20, 60, 0, 5), tenant="acme", models=("deepseek/v4",), stated=0.5,
    ),
    # TrueFoundry's manual: the first model failed, the next one answered; an embedding's model is `Model` too.
    "truefoundry": Case(
        (
            (1, 0, "ChatCompletion: pool", {"tfy.span_type": "ChatCompletion", "tfy.request.model_name": "pool"}),
            (2, 1, "Model: a", {"tfy.span_type": "Model", "tfy.model.name": "a"}),
            (3, 1, "Model: b", {"tfy.span_type": "Model", "tfy.model.name": "b", "tfy.model.metric.input_tokens": 9,
                                "tfy.model.metric.output_tokens": 2, "tfy.model.metric.cost_in_usd": 0.5}),
            (4, 0, "Embedding: e", {"tfy.span_type": "Embedding"}),
            (5, 4, "Model: e", {"tfy.span_type": "Model", "tfy.model.request_type": "Embedding",
                                "tfy.model.name": "e", "tfy.model.metric.input_tokens": 6}),
            (6, 0, "MCP", {"tfy.span_type": "MCP", "tfy.mcp.tool.name": "find"}),
            (7, 0, "Agent", {"tfy.span_type": "AgentResponse"}),
        ),
        "llm 2/1, embedding 1, tool 1", (15, 2, 0, 0, 0), models=("a", "b", "e"), stated=0.5, failed=(2,),
    ),
    # maximhq/bifrost, core/schemas/trace.go.
    "bifrost": Case(
        (
            (1, 0, "llm.call", chat("gpt-4o", gen_ai__customer_id="acme", gen_ai__usage__cost=0.5) | usage(9, 2) | {
                "gen_ai.usage.prompt_token_details.cached_read_tokens": 4, "gen_ai.number_of_retries": 1,
                "gen_ai.usage.completion_token_details.reasoning_tokens": 1,
            }),
            (2, 0, "llm.call", chat("gpt-4o", gen_ai__error__type="rate_limit", gen_ai__customer_id="acme")),
        ),
        "llm 2/1", (9, 2, 4, 0, 1), tenant="acme", models=("gpt-4o",), stated=0.5,
    ),
    # Sentry's manual instrumentation, and future-agi/traceAI of old.
    "requests": Case(
        (
            (1, 0, "request gpt-4o", chat("gpt-4o", "request")),
            (2, 0, "ChatCompletion", {"fi.span.kind": "LLM", "llm.model_name": "m", "llm.token_count.prompt": 3,
                                      "llm.token_count.completion": 1, "gen_ai.cost.total": 0.5}),
            (3, 0, "search", {"fi.span.kind": "RETRIEVER"}),
        ),
        "llm 2, retrieval 1", (3, 1, 0, 0, 0), models=("gpt-4o", "m"), stated=0.5,
    ),
    # Microsoft's Agent 365, ObservabilitySDK; and langgenius/dify, aliyun_trace/entities/semconv.py.
    "tenants": Case(
        (
            (1, 0, "invoke_agent help", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "help",
                                         "microsoft.tenant.id": "acme", "microsoft.session.id": "s"}),
            (2, 1, "Chat gpt-4o", chat("gpt-4o", "Chat") | usage(4, 1)),
            (3, 1, "llm", {"gen_ai.span.kind": "LLM", "gen_ai.model_name": "qwen-max", **usage(5, 2)}),
        ),
        "llm 2", (9, 3, 0, 0, 0), "help", "acme", models=("gpt-4o", "qwen-max"),
    ),
    # vllm-project/vllm, tracing: the server's span of a call whose client wrote one too.
    "vllm": Case(
        (
            (1, 0, "chat llama", chat("llama") | usage(30, 5)),
            (2, 1, "POST", {"http.request.method": "POST"}),
            (3, 2, "POST /v1/chat/completions", {"http.route": "/v1/chat/completions"}),
            (4, 3, "llm_request", {"gen_ai.usage.prompt_tokens": 30, "gen_ai.usage.completion_tokens": 5,
                                   "gen_ai.latency.e2e": 1.5}),
        ),
        "llm 1", (30, 5, 0, 0, 0), models=("llama",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", PRODUCTS)
def test_a_trace_is_read_as_what_happened(which: str, tmp_path: Path) -> None:
    """Each call once, with its tokens, its failure, its agent and its model."""
    case = PRODUCTS[which]
    found = found_in(case, tmp_path / "traces.binpb")
    assert found == {name: getattr(case, name) for name in found}
