"""Vercel's AI SDK: `ai.operationId` and `ai.*`; its newer package speaks the conventions.

`ai.generateText` and its like repeat what their `.doGenerate` says: wrappers, never calls. Up to version 4 the cache
is told only in the provider's own metadata, and up to version 5 the input of Anthropic and Bedrock leaves it out, as
theirs does. A stream that breaks off ends its span with a reason and no status.

Source: vercel/ai, content/docs/03-ai-sdk-core/60-telemetry.mdx and packages/otel; captures of 5.0.277; the metadata
that langfuse's OtelIngestionProcessor.ts reads.
"""

from collections.abc import Iterator, Mapping

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    CACHE_APART,
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_LONG,
    EMBEDDING,
    INPUT,
    LLM,
    OPERATION,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_ID,
    RESPONSE_MODEL,
    RETRIEVAL,
    SESSION,
    TIER,
    TOOL,
    TOOL_INPUT,
    TOOL_NAME,
    TOTAL,
    WEB_SEARCHES,
    WORKFLOW,
    Dialect,
    paths,
)

_METADATA = "ai.telemetry.metadata."
_PROVIDERS = paths(
    {
        "openai.cachedPromptTokens": CACHE_READ,
        "openai.reasoningTokens": REASONING,
        "openai.serviceTier": TIER,
        "azure.serviceTier": TIER,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": CACHE_WRITE_LONG,
        "anthropic.usage.server_tool_use.web_search_requests": WEB_SEARCHES,
        "anthropic.usage.service_tier": TIER,
        "bedrock.usage.cacheDetails.1h": CACHE_WRITE_LONG,
        "google.usageMetadata.toolUsePromptTokenCount": TOOL_INPUT,
        "anthropic.cacheReadInputTokens": CACHE_READ,
        "anthropic.usage.cache_read_input_tokens": CACHE_READ,
        "anthropic.cacheCreationInputTokens": CACHE_WRITE,
        "anthropic.usage.cache_creation_input_tokens": CACHE_WRITE,
        "bedrock.usage.cacheReadInputTokens": CACHE_READ,
        "bedrock.usage.cacheWriteInputTokens": CACHE_WRITE,
    }
)
_COUNT_APART = ("anthropic", "bedrock")


def provider_usage(metadata: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """What a provider's own metadata tells of the cache.

    >>> list(provider_usage({"anthropic": {"cacheReadInputTokens": 50}}))
    [('cache_read', 50), ('cache_apart', True)]
    """
    yield from _PROVIDERS(metadata)
    if any(provider in metadata for provider in _COUNT_APART):
        yield CACHE_APART, True


DIALECT = Dialect(
    name="vercel",
    precedence=65,
    fields={
        OPERATION: ("ai.operationId",),
        AGENT: ("ai.telemetry.functionId",),
        SESSION: tuple(
            _METADATA + key
            for key in (
                "sessionId",
                "session_id",
                "conversationId",
                "conversation_id",
                "threadId",
                "thread_id",
                "chatId",
            )
        ),
        PROVIDER: ("ai.model.provider",),
        REQUEST_MODEL: ("ai.model.id",),
        RESPONSE_MODEL: ("ai.response.model",),
        RESPONSE_ID: ("ai.response.id",),
        TOOL_NAME: ("ai.toolCall.name",),
        INPUT: ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        OUTPUT: ("ai.usage.outputTokens", "ai.usage.completionTokens"),
        TOTAL: ("ai.usage.totalTokens",),
        CACHE_READ: ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
        CACHE_WRITE: ("ai.usage.inputTokenDetails.cacheWriteTokens",),
        REASONING: ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
    },
    operations={
        "ai.generatetext.dogenerate": LLM,
        "ai.streamtext.dostream": LLM,
        "ai.generateobject.dogenerate": LLM,
        "ai.streamobject.dostream": LLM,
        "ai.embed.doembed": EMBEDDING,
        "ai.embedmany.doembed": EMBEDDING,
        "ai.rerank.dorerank": RETRIEVAL,
        "ai.toolcall": TOOL,
        "ai.generatetext": AGENT_RUN,
        "ai.streamtext": AGENT_RUN,
        "ai.generateobject": AGENT_RUN,
        "ai.streamobject": AGENT_RUN,
        "ai.embed": WORKFLOW,
        "ai.embedmany": WORKFLOW,
        "ai.rerank": WORKFLOW,
    },
    documents={"ai.response.providerMetadata": provider_usage},
    content=(
        "ai.prompt",
        "ai.prompt.messages",
        "ai.response.text",
        "ai.response.object",
        "ai.response.toolCalls",
        "ai.toolCall.args",
        "ai.toolCall.result",
        "ai.value",
        "ai.values",
    ),
)
