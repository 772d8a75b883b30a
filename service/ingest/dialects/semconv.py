"""OpenTelemetry's GenAI conventions, every generation at once: senders rarely say which one they follow.

And what SDKs and gateways put under the same prefix beside them: parts of usage, costs, and operations of their own.

Source: semantic-conventions v1.27-v1.41 and semantic-conventions-genai, registries and changelogs. Sentry's SDKs and
OpenRouter's broadcast (`input_tokens.cached`, `total_cost`, `request`); pydantic-ai's `usage.details`; litellm's
opentelemetry.py (its call types, `gen_ai.cost`); semantic-kernel's model_diagnostics (`chat.completions`,
`response.prompt_tokens`); openlit's semcov (`vectordb`, `framework`); Microsoft.Extensions.AI's OpenTelemetryConsts
(`orchestrate_tools`); gemini-cli (`llm_call`); azure-ai-agents (`process_thread_run`); strands-agents 0.1
(`Model invoke`); google-adk; maximhq/bifrost (`token_details`); Cloudflare's AI Gateway (`model.provider`).
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    AGENT_VERSION,
    CACHE_READ,
    CACHE_WRITE,
    CLASSIFICATION,
    COST,
    EMBEDDING,
    ERROR_TYPE,
    EVALUATION,
    GUARDRAIL,
    INPUT,
    INPUT_COST,
    LLM,
    OPERATION,
    OUTPUT,
    OUTPUT_COST,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_ID,
    RESPONSE_MODEL,
    RETRIEVAL,
    SESSION,
    STORE,
    TENANT,
    TOOL,
    TOOL_NAME,
    TOTAL,
    WORKFLOW,
    Dialect,
    paths,
)

_MODEL_CALLS = (
    "chat", "chat.completion", "chat.completions", "chat.streaming_completions", "chat_completion", "completion",
    "acompletion", "text.completions", "text.streaming_completions", "text_completion", "atext_completion",
    "generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream", "generate",
    "generate_text", "stream_text", "generate_object", "stream_object", "message", "messages", "anthropic_messages",
    "response", "responses", "aresponses", "converse", "converse_stream", "invoke_model", "llm", "llm_call",
    "model_call", "request",
)  # fmt: skip

DIALECT = Dialect(
    name="semconv",
    precedence=50,
    fields={
        AGENT: ("gen_ai.agent.name",),
        AGENT_VERSION: ("gen_ai.agent.version",),
        SESSION: ("gen_ai.conversation.id", "session.id", "gcp.vertex.agent.session_id"),
        OPERATION: ("gen_ai.operation.name",),
        PROVIDER: ("gen_ai.provider.name", "gen_ai.system", "gen_ai.provider", "gen_ai.model.provider"),
        REQUEST_MODEL: ("gen_ai.request.model",),
        RESPONSE_MODEL: ("gen_ai.response.model",),
        RESPONSE_ID: ("gen_ai.response.id",),
        TOOL_NAME: ("gen_ai.tool.name",),
        STORE: ("gen_ai.data_source.id", "db.collection.name", "db.system.name", "db.system"),
        ERROR_TYPE: ("error.type", "gen_ai.error.type"),
        INPUT: ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.response.prompt_tokens"),
        OUTPUT: ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "gen_ai.response.completion_tokens"),
        TOTAL: ("gen_ai.usage.total_tokens",),
        CACHE_READ: (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.cache_read_tokens",
            "gen_ai.usage.cached_input_tokens",
            "gen_ai.usage.cached_tokens",
            "gen_ai.usage.input_tokens.cached",
            "gen_ai.usage.input_tokens_details.cached_tokens",
            "gen_ai.usage.prompt_tokens_details.cached_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_read_input_tokens",
            "gen_ai.usage.details.cached_tokens",
            "gen_ai.usage.prompt_token_details.cached_read_tokens",
            "gen_ai.usage.input_token_details.cached_read_tokens",
        ),
        CACHE_WRITE: (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_tokens",
            "gen_ai.usage.cache_creation_tokens",
            "gen_ai.usage.input_tokens.cache_write",
            "gen_ai.usage.details.cache_write_tokens",
            "gen_ai.usage.details.cache_creation_input_tokens",
            "gen_ai.usage.prompt_token_details.cached_write_tokens",
            "gen_ai.usage.input_token_details.cached_write_tokens",
        ),
        REASONING: (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.experimental.reasoning_tokens",
            "gen_ai.usage.reasoning_output_tokens",
            "gen_ai.usage.output_tokens.reasoning",
            "gen_ai.usage.output_tokens_details.reasoning_tokens",
            "gen_ai.usage.completion_tokens_details.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "gen_ai.usage.details.thinking_tokens",
            "gen_ai.usage.details.thoughts_tokens",
            "gen_ai.usage.completion_token_details.reasoning_tokens",
            "gen_ai.usage.output_token_details.reasoning_tokens",
            "codex.usage.reasoning_output_tokens",
        ),
        COST: (
            "operation.cost",
            "gen_ai.usage.cost.amount",
            "gen_ai.usage.cost",
            "gen_ai.usage.total_cost",
            "gen_ai.usage.cost_usd",
            "gen_ai.usage.total_cost_usd",
            "gen_ai.cost.total_cost",
            "gen_ai.cost.total",
        ),
        INPUT_COST: ("gen_ai.usage.input_cost", "gen_ai.cost.input_cost", "gen_ai.cost.input"),
        OUTPUT_COST: ("gen_ai.usage.output_cost", "gen_ai.cost.output_cost", "gen_ai.cost.output"),
    },
    operations={
        **dict.fromkeys(_MODEL_CALLS, LLM),
        **dict.fromkeys(("embeddings", "embedding", "embed", "embed_content", "aembedding"), EMBEDDING),
        **dict.fromkeys(("retrieval", "retrieve", "search_memory", "rerank", "arerank", "vectordb"), RETRIEVAL),
        **dict.fromkeys(("execute_tool", "call_tool", "tool_call", "function_call", "call_mcp_tool"), TOOL),
        **dict.fromkeys(("invoke_agent", "create_agent", "agent_step", "agent_call", "agent_run"), AGENT_RUN),
        **dict.fromkeys(("start_thread_run", "process_thread_run"), AGENT_RUN),
        **dict.fromkeys(("invoke_workflow", "plan", "framework", "orchestrate_tools"), WORKFLOW),
        **dict.fromkeys(("apply_guardrail", "run_guardrail", "guardrail_check"), GUARDRAIL),
        **dict.fromkeys(("classify", "classification", "intent", "classify_intent"), CLASSIFICATION),
        **dict.fromkeys(("intent_classification", "topic_classification"), CLASSIFICATION),
        **dict.fromkeys(("evaluate", "evaluation"), EVALUATION),
    },
    documents={
        # LiteLLM tells the parts of usage there and nowhere else.
        "metadata.usage_object": paths(
            {
                "prompt_tokens_details.cached_tokens": CACHE_READ,
                "cache_read_input_tokens": CACHE_READ,
                "cache_creation_input_tokens": CACHE_WRITE,
                "completion_tokens_details.reasoning_tokens": REASONING,
            }
        ),
        # ADK 1.x tells there what its attributes leave out: of an answer with thoughts they count only the rest.
        "gcp.vertex.agent.llm_response": paths(
            {
                "usage_metadata.cached_content_token_count": CACHE_READ,
                "usage_metadata.thoughts_token_count": REASONING,
                "usage_metadata.total_token_count": TOTAL,
            }
        ),
    },
    # Those of ADK, Strands and Pydantic AI from before they named their operations.
    span_names={
        "call_llm": LLM,
        "Model invoke": LLM,
        "execute_tool": TOOL,
        "Tool": TOOL,
        "agent_run": AGENT_RUN,
        "invoke_agent": AGENT_RUN,
    },
    # OpenLIT writes its attributes once there is an answer, so a call that failed has its name and nothing else.
    model_names={"chat": LLM, "text_completion": LLM, "generate_content": LLM, "embeddings": EMBEDDING},
    means={INPUT: LLM, OUTPUT: LLM, RESPONSE_MODEL: LLM, TOOL_NAME: TOOL},
    failures={
        "gen_ai.tool.status": frozenset(("error",)),
        "tool.status": frozenset(("error",)),
        "gen_ai.response.status": frozenset(("failed",)),
        # The conventions' own reason, of senders (Mastra's exporter) that write a list as JSON and leave the status OK.
        "gen_ai.response.finish_reasons": frozenset(("error", '["error"]')),
    },
    excuses={"gen_ai.response.status": frozenset(("cancelled", "canceled"))},
    # opentelemetry-instrumentation-openai-agents-v2 names its agents on invoke_agent only.
    placeholders=frozenset(("OpenAI Agent",)),
    # ADK hands in what tools that ran side by side answered.
    gathers=frozenset(("(merged tools)",)),
    resource={
        TENANT: ("tenant.id", "tenant_id", "tenant"),
        AGENT: ("gen_ai.agent.name", "gen_ai.main_agent.name", "service.name"),
        AGENT_VERSION: ("gen_ai.agent.version", "service.version"),
    },
    content=(
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.prompt",
        "gen_ai.completion",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.tool.definitions",
        "gen_ai.evaluation.explanation",
    ),
)
