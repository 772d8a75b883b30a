"""Traces of SDKs that there is no capture of, as their sources write them: calls, failures, tokens, and whose."""

import json
from pathlib import Path

import pytest

from tests.service.ingest.cases import Attributes, Case, chat, found_in, kind, quoted, usage

MLFLOW_CHAT = quoted(
    mlflow__spanType="CHAT_MODEL",
    mlflow__llm__model="gpt-4o",
    mlflow__llm__cost={"total_cost": 0.25},
    mlflow__chat__tokenUsage={"input_tokens": 90, "output_tokens": 10, "cache_read_input_tokens": 40},
)
OI_CHAT = kind("LLM", llm__model_name="gpt-4o", llm__token_count__prompt=9, llm__token_count__completion=1)


def logfire_message(inside: int) -> Attributes:
    """A call of Anthropic's as Logfire tells it, with that many input tokens."""
    used = {"input_tokens": 12_000, "cache_read_input_tokens": 7_000, "cache_creation_input_tokens": 1_000,
            "output_tokens": 500}  # fmt: skip
    response = {"message": {"role": "assistant", "content": '{"usage": 1}'}, "usage": used}
    told = {"gen_ai.system": "anthropic", "response_data": json.dumps(response)}
    return chat("claude-sonnet-4-5") | usage(inside, 500) | told


CASES = {
    # mlflow/mlflow, tracing/constant.py: LangChain's and OpenAI's autologging each write a span of the call.
    "mlflow": Case(
        (
            (1, 0, "support", quoted(mlflow__spanType="AGENT") | {"session.id": "s"}),
            (2, 1, "ChatOpenAI", MLFLOW_CHAT),
            (3, 2, "Completions", MLFLOW_CHAT),
            (4, 1, "look_up", quoted(mlflow__spanType="TOOL")),
            (5, 4, "KB", quoted(mlflow__spanType="RETRIEVER")),
            (6, 1, "parse", quoted(mlflow__spanType="PARSER")),
        ),
        "llm 1, tool 1/1, retrieval 1", (90, 10, 40, 0, 0), "support", models=("gpt-4o",), stated=0.25, failed=(4,),
    ),
    # firebase/genkit, js/core/src/tracing/instrumentation.ts and action.ts.
    "genkit": Case(
        (
            (1, 0, "menuFlow", {"genkit:type": "action", "genkit:metadata:subtype": "flow", "genkit:name": "menuFlow"}),
            (2, 1, "generate", {"genkit:type": "util", "genkit:name": "generate"}),
            (3, 2, "googleai/gemini-2.5-flash", {
                "genkit:type": "action", "genkit:metadata:subtype": "model", "genkit:name": "googleai/gemini-2.5-flash",
                "genkit:output": json.dumps({"usage": {"inputTokens": 42, "outputTokens": 17, "totalTokens": 62,
                                                       "thoughtsTokens": 3}}),
                "genkit:state": "success",
            }),
            (4, 2, "menu", {"genkit:type": "action", "genkit:metadata:subtype": "tool", "genkit:name": "menu",
                            "genkit:state": "error"}),
        ),
        "llm 1, tool 1/1", (42, 20, 0, 0, 3), "menuFlow", models=("googleai/gemini-2.5-flash",),
    ),
    # braintrustdata's Java SDK, InstrumentationSemConv and its tests.
    "braintrust": Case(
        (
            (1, 0, "answer", {"braintrust.span_attributes": '{"type": "task"}'}),
            (2, 1, "Chat Completion", {
                "braintrust.span_attributes": '{"type": "llm"}',
                "braintrust.metadata": '{"provider": "openai", "model": "gpt-4o", "tenant_id": "acme"}',
                "braintrust.metrics": '{"prompt_tokens": 30, "completion_tokens": 8, "tokens": 38, '
                                      '"prompt_cached_tokens": 20, "completion_reasoning_tokens": 4}',
            }),
            (3, 1, "look_up", {"braintrust.span_attributes": '{"type": "tool"}'}),
        ),
        "llm 1, tool 1", (30, 8, 20, 0, 4), tenant="acme", models=("gpt-4o",),
    ),
    # spring-projects/spring-ai, the manual's observability pages: numbers are texts.
    "spring ai": Case(
        (
            (1, 0, "spring_ai chat_client", {"gen_ai.operation.name": "framework", "gen_ai.system": "spring_ai",
                                             "spring.ai.kind": "chat_client",
                                             "spring.ai.chat.client.conversation.id": "c"}),
            (2, 1, "call", {"gen_ai.operation.name": "framework", "spring.ai.kind": "advisor"}),
            (3, 2, "chat gpt-4o", chat("gpt-4o", gen_ai__usage__input_tokens="12", gen_ai__usage__output_tokens="5")),
            (4, 3, "tool_call look_up", {"gen_ai.operation.name": "framework", "spring.ai.kind": "tool_call",
                                         "spring.ai.tool.definition.name": "look_up"}),
            (5, 3, "http post", {"http.request.method": "POST", "http.response.status_code": 200}),
            (6, 2, "pg_vector query", {"spring.ai.kind": "vector_store", "db.system": "pg_vector"}),
        ),
        "llm 1, tool 1, retrieval 1", (12, 5, 0, 0, 0), models=("gpt-4o",),
    ),
    # semantic-kernel, utils/telemetry/model_diagnostics (1.1-1.17).
    "semantic kernel": Case(
        (
            (1, 0, "AutoFunctionInvocationLoop", {"sk.available_functions": "a,b"}),
            (2, 1, "chat.completions gpt-4o", chat("gpt-4o", "chat.completions", gen_ai__response__prompt_tokens=16,
                                                  gen_ai__response__completion_tokens=28)),
            (3, 1, "execute_tool time", {"gen_ai.tool.name": "time", "gen_ai.tool.call.id": "t"}),
            (4, 1, "chat.streaming_completions gpt-4o", chat("gpt-4o", "chat.streaming_completions")),
        ),
        "llm 2/1, tool 1", (16, 28, 0, 0, 0), models=("gpt-4o",), failed=(4,),
    ),
    # strands-agents 0.1, telemetry/tracer.py, on Bedrock, whose total has the cache that its input leaves out.
    "strands of old": Case(
        (
            (1, 0, "Strands Agent", {"gen_ai.system": "strands-agents", "gen_ai.agent.name": "helper",
                                     "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12}),
            (2, 1, "Cycle 1", {"event_loop.cycle_id": "1"}),
            (3, 2, "Model invoke", {"gen_ai.agent.name": "helper", "gen_ai.request.model": "claude",
                                    "gen_ai.usage.prompt_tokens": 40, "gen_ai.usage.completion_tokens": 12,
                                    "gen_ai.usage.total_tokens": 82, "gen_ai.usage.cache_read_input_tokens": 30}),
            (4, 2, "Tool: look_up", {"tool.name": "look_up", "tool.status": "error"}),
        ),
        "llm 1, tool 1/1", (70, 12, 30, 0, 0), "helper", models=("claude",),
    ),
    # livekit/agents, telemetry/trace_types.py: a request is tried again within itself.
    "livekit": Case(
        (
            (1, 0, "agent_session", {"lk.agent_name": "voice"}),
            (2, 1, "agent_turn", {"lk.generation_id": "g"}),
            (3, 2, "llm_node", {"gen_ai.request.model": "gpt-4o"}),
            (4, 3, "llm_request", chat("gpt-4o") | usage(11, 3)),
            (5, 4, "llm_request_run", {"lk.retry_count": 0}),
            (6, 4, "llm_request_run", {"lk.retry_count": 1}),
            (7, 2, "function_tool", {"lk.function_tool.name": "look_up", "lk.function_tool.is_error": True}),
        ),
        "llm 1, tool 1/1", (11, 3, 0, 0, 0), "voice", models=("gpt-4o",), failed=(5,),
    ),
    # Arize-ai/openinference, llama-index: each public method is a span, and so is what it calls.
    "llama index": Case(
        (
            (1, 0, "RetrieverQueryEngine.query", kind("CHAIN")),
            (2, 1, "VectorIndexRetriever.retrieve", kind("RETRIEVER")),
            (3, 2, "VectorIndexRetriever._retrieve", kind("RETRIEVER")),
            (4, 3, "OpenAIEmbedding.get_query_embedding", kind("EMBEDDING")),
            (5, 4, "OpenAIEmbedding._get_query_embedding", kind("EMBEDDING", embedding__model_name="e")),
            (6, 1, "CompactAndRefine.synthesize", kind("CHAIN")),
            (7, 6, "OpenAI.chat", OI_CHAT),
            (8, 7, "ChatCompletion", OI_CHAT),
        ),
        "llm 1, embedding 1, retrieval 1", (9, 1, 0, 0, 0), "RetrieverQueryEngine.query", models=("e", "gpt-4o"),
    ),
    # The same, crewai beside openai: the crew repeats what its calls spent.
    "crewai": Case(
        (
            (1, 0, "Crew_1.kickoff", kind("CHAIN", llm__token_count__prompt=9, llm__token_count__completion=1)),
            (2, 1, "Researcher._execute_core", kind("AGENT", graph__node__id="Researcher")),
            (3, 2, "ChatCompletion", OI_CHAT),
            (4, 2, "search.run", kind("TOOL", tool__name="search")),
        ),
        "llm 1, tool 1", (9, 1, 0, 0, 0), "Researcher", models=("gpt-4o",),
    ),
    # vercel/ai 4 on Anthropic, which counts the cache apart; the stream broke off.
    "vercel of old": Case(
        (
            (1, 0, "ai.streamText help", {"ai.operationId": "ai.streamText", "ai.telemetry.functionId": "help",
                                          "ai.usage.promptTokens": 7, "ai.usage.completionTokens": 4}),
            (2, 1, "ai.streamText.doStream help", {
                "ai.operationId": "ai.streamText.doStream", "ai.model.id": "claude", "gen_ai.usage.input_tokens": 7,
                "gen_ai.usage.output_tokens": 4, "ai.response.finishReason": "error",
                "ai.response.providerMetadata": '{"anthropic": {"cacheReadInputTokens": 90}}',
            }),
        ),
        "llm 1/1", (97, 4, 90, 0, 0), "help", models=("claude",),
    ),
    # lmnr-ai/lmnr around the AI SDK: its DEFAULT says nothing, and what its cache answers is no call.
    "laminar": Case(
        (
            (1, 0, "run", {"lmnr.span.type": "DEFAULT", "lmnr.association.properties.metadata.tenant_id": "acme"}),
            (2, 1, "ai.generateText", {"lmnr.span.type": "DEFAULT", "ai.operationId": "ai.generateText"}),
            (3, 2, "ai.generateText.doGenerate", {"lmnr.span.type": "LLM", "gen_ai.request.model": "gpt-4o",
                                                  "ai.operationId": "ai.generateText.doGenerate", **usage(5, 1)}),
            (4, 1, "again", {"lmnr.span.type": "CACHED"}),
            (5, 1, "look_up", {"lmnr.span.type": "TOOL"}),
        ),
        "llm 1, tool 1", (5, 1, 0, 0, 0), tenant="acme", models=("gpt-4o",),
    ),
    # alibaba/loongsuite-python-agent.
    "loongsuite": Case(
        (
            (1, 0, "enter", {"gen_ai.span.kind": "ENTRY", "gen_ai.session.id": "s"}),
            (2, 1, "agent", {"gen_ai.span.kind": "AGENT", "gen_ai.agent.name": "helper"}),
            (3, 2, "call", {"gen_ai.span.kind": "LLM", "gen_ai.request.model": "qwen-max", **usage(5, 1)}),
            (4, 2, "step", {"gen_ai.span.kind": "TOOL", "gen_ai.tool.name": "look_up"}),
        ),
        "llm 1, tool 1", (5, 1, 0, 0, 0), "helper", models=("qwen-max",),
    ),
    # langwatch and deepeval.
    "langwatch": Case(
        (
            (1, 0, "turn", {"langwatch.span.type": "chain", "langwatch.thread.id": "t"}),
            (2, 1, "call", {"langwatch.span.type": "llm", "gen_ai.request.model": "gpt-4o", "langwatch.metrics":
                            '{"type": "json", "value": {"promptTokens": 10, "completionTokens": 5, "cost": 0.5}}'}),
            (3, 1, "look_up", {"langwatch.span.type": "rag"}),
        ),
        "llm 1, retrieval 1", (10, 5, 0, 0, 0), models=("gpt-4o",), stated=0.5,
    ),
    "confident": Case(
        (
            (1, 0, "answer", {"confident.span.type": "agent", "confident.agent.name": "helper"}),
            (2, 1, "llm_span", {"confident.span.type": "llm", "confident.llm.model": "gpt-4o",
                                "confident.llm.input_token_count": 42, "confident.llm.output_token_count": 18}),
            (3, 1, "tool_span", {"confident.span.type": "tool", "confident.tool.name": "look_up"}),
        ),
        "llm 1, tool 1", (42, 18, 0, 0, 0), "helper", models=("gpt-4o",),
    ),
    # logfire's integration of OpenAI's agents: names are templates.
    "logfire": Case(
        (
            (1, 0, "OpenAI Agents trace: {name}", {"name": "run"}),
            (2, 1, "Turn {turn} for agent assistant", {"agent_name": "assistant"}),
            (3, 2, "Responses API with {gen_ai.request.model!r}", {"gen_ai.request.model": "gpt-4o"}),
            (4, 2, "Function: {name}", {"name": "look_up", "gen_ai.system": "openai"}),
        ),
        "llm 1/1, tool 1", agent="assistant", models=("gpt-4o",), failed=(3,),
    ),
    # logfire 4.30.0, integrations/llm_providers/anthropic.py: the cache stands in the response, and not in the input.
    "logfire, Anthropic's usage": Case(
        (
            (1, 0, "Message with {request_data[model]!r}", logfire_message(12_000)),
        ),
        "llm 1", (20_000, 500, 7_000, 1_000, 0), models=("claude-sonnet-4-5",),
    ),
    # From logfire 4.31.0 on it is.
    "logfire, input with the cache": Case(
        (
            (1, 0, "Message with {request_data[model]!r}", logfire_message(20_000)),
        ),
        "llm 1", (20_000, 500, 7_000, 1_000, 0), models=("claude-sonnet-4-5",),
    ),
    # google-adk 1.0, telemetry.py: what ran side by side is handed in once more.
    "adk of old": Case(
        (
            (1, 0, "invocation", {}),
            (2, 1, "agent_run [helper]", {}),
            (3, 2, "call_llm", {"gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.0-flash",
                                "gcp.vertex.agent.session_id": "s"}),
            (4, 3, "execute_tool one", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "one"}),
            (5, 3, "execute_tool two", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "two"}),
            (6, 3, "execute_tool (merged)", {"gen_ai.operation.name": "execute_tool",
                                             "gen_ai.tool.name": "(merged tools)"}),
        ),
        "llm 1, tool 2", agent="helper", models=("gemini-2.0-flash",),
    ),
    # quarkus-langchain4j: a failed call has no more than its name and what was asked for.
    "langchain4j": Case(
        (
            (1, 0, "langchain4j.aiservices.Poet.write", {}),
            (2, 1, "completion gpt-4o", {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.prompt_tokens": 7,
                                         "gen_ai.usage.completion_tokens": 2}),
            (3, 1, "completion gpt-4o", {"gen_ai.request.model": "gpt-4o"}),
            (4, 1, "langchain4j.tools.look_up", {}),
        ),
        "llm 2/1, tool 1", (7, 2, 0, 0, 0), models=("gpt-4o",), failed=(3,),
    ),
    # deepset-ai/haystack: a pipeline of 2.x, and the agent of 3.0.
    "haystack": Case(
        (
            (1, 0, "haystack.pipeline.run", {}),
            (2, 1, "haystack.component.run", {"haystack.component.type": "OpenAIChatGenerator"}),
            (3, 1, "haystack.component.run", {"haystack.component.type": "InMemoryBM25Retriever"}),
            (4, 1, "haystack.component.run", {"haystack.component.type": "PromptBuilder"}),
            (5, 1, "haystack.agent.run", {}),
            (6, 5, "haystack.agent.step", {}),
            (7, 6, "haystack.agent.step.llm", {}),
            (8, 6, "haystack.agent.step.tool", {"haystack.tool.name": "look_up"}),
        ),
        "llm 2, tool 1, retrieval 1",
    ),
    # Smolagents writes a tool's and an agent's totals from the same counts; MCP names a tool in the span's name alone.
    "tools within tools": Case(
        (
            (1, 0, "ToolCallingAgent.run", kind("AGENT", llm__token_count__prompt=30, llm__token_count__completion=3)),
            (2, 1, "Retriever", kind("TOOL", llm__token_count__prompt=30, llm__token_count__completion=3)),
            (3, 2, "Model", kind("LLM", llm__token_count__prompt=30, llm__token_count__completion=3)),
            (4, 0, "execute_tool find", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find"}),
            (5, 4, "tools/call find", {"mcp.method.name": "tools/call"}),
            (6, 5, "POST", {"http.request.method": "POST"}),
            (7, 6, "tools/call find", {"mcp.method.name": "tools/call"}),
        ),
        "llm 1, tool 2", (30, 3, 0, 0, 0), agent="ToolCallingAgent",
    ),
    # A provider's client tries again by itself, somebody stops waiting, and a server completes an argument.
    "no failures and no calls": Case(
        (
            (1, 0, "chat gpt-4o", chat("gpt-4o") | usage(9, 2)),
            (2, 1, "POST", {"http.request.method": "POST", "error.type": "429"}),
            (3, 1, "POST", {"http.request.method": "POST"}),
            (4, 0, "chat gpt-4o", chat("gpt-4o", error__type="asyncio.exceptions.CancelledError")),
            (5, 0, "completion/complete", {"mcp.method.name": "completion/complete"}),
            (6, 0, "SELECT", {"db.system.name": "postgresql", "db.operation.name": "SELECT"}),
        ),
        "llm 2", (9, 2, 0, 0, 0), models=("gpt-4o",), failed=(2,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", CASES)
def test_a_trace_is_read_as_what_happened(which: str, tmp_path: Path) -> None:
    """Each call once, with its tokens, its failure, its agent and its model."""
    case = CASES[which]
    found = found_in(case, tmp_path / "traces.binpb")
    assert found == {name: getattr(case, name) for name in found}
