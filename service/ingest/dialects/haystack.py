"""Haystack's own tracing: operations by the names of spans, components by the names of their classes.

Its spans tell no tokens; those are on the spans of the provider's instrumentation, if there is one.

Source: deepset-ai/haystack, core/pipeline/pipeline.py (2.x) and components/agents/agent.py (3.0).
"""

from service.ingest.vocabulary import (
    AGENT_RUN,
    EMBEDDING,
    LLM,
    OPERATION,
    RETRIEVAL,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
)

_PROVIDERS = (
    "amazonbedrock", "anthropic", "anthropicvertex", "azureopenai", "cohere", "fastembed", "googleaigemini",
    "googlegenai", "huggingfaceapi", "huggingfacelocal", "llamacpp", "metallama", "mistral", "nvidia", "ollama",
    "openai", "openairesponses", "openrouter", "sentencetransformers", "togetherai", "vertexaigemini", "watsonx",
)  # fmt: skip
_STORES = (
    "astra", "azureaisearch", "chroma", "elasticsearch", "inmemory", "milvus", "mongodbatlas", "opensearch", "pgvector",
    "pinecone", "qdrant", "weaviate",
)  # fmt: skip

DIALECT = Dialect(
    name="haystack",
    precedence=72,
    fields={OPERATION: ("haystack.component.type",), TOOL_NAME: ("haystack.tool.name",)},
    operations={
        **{provider + kind: LLM for provider in _PROVIDERS for kind in ("generator", "chatgenerator")},
        **{provider + kind: EMBEDDING for provider in _PROVIDERS for kind in ("textembedder", "documentembedder")},
        **{store + kind: RETRIEVAL for store in _STORES for kind in ("retriever", "bm25retriever")},
        **{store + kind: RETRIEVAL for store in _STORES for kind in ("embeddingretriever", "hybridretriever")},
        "agent": WORKFLOW,
        # Of 2.x, which has no span of the tool itself.
        "toolinvoker": TOOL,
    },
    span_names={
        "haystack.agent.run": AGENT_RUN,
        "haystack.agent.step.llm": LLM,
        "haystack.agent.step.tool": TOOL,
    },
)
