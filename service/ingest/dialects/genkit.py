"""Genkit: `genkit:*`. An action's subtype tells what it is, its name is the model's or the tool's.

Usage stands only in the answer, which is JSON: its numbers are read, its words are not.

Source: firebase/genkit, js/core/src/tracing/instrumentation.ts and action.ts; go/core/tracing.
"""

from service.ingest.vocabulary import (
    AGENT_BY_NAME,
    AGENT_RUN,
    CACHE_READ,
    EMBEDDING,
    ENTITY,
    EVALUATION,
    INPUT,
    LLM,
    OPERATION,
    OTHER,
    OUTPUT,
    REASONING,
    REQUEST_MODEL,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    TOTAL,
    WORKFLOW,
    Dialect,
    paths,
)

DIALECT = Dialect(
    name="genkit",
    precedence=63,
    fields={
        OPERATION: ("genkit:metadata:subtype", "genkit:type"),
        ENTITY: ("genkit:name",),
        SESSION: ("genkit:sessionId",),
    },
    operations={
        "model": LLM,
        "background-model": LLM,
        "embedder": EMBEDDING,
        "retriever": RETRIEVAL,
        "reranker": RETRIEVAL,
        "tool": TOOL,
        "tool.v2": TOOL,
        "agent": AGENT_RUN,
        "flow": WORKFLOW,
        "flowstep": WORKFLOW,
        "util": WORKFLOW,
        "evaluator": EVALUATION,
        "prompt": OTHER,
        "executable-prompt": WORKFLOW,
    },
    entity={
        LLM: REQUEST_MODEL,
        EMBEDDING: REQUEST_MODEL,
        RETRIEVAL: TOOL_NAME,
        TOOL: TOOL_NAME,
        AGENT_RUN: AGENT_BY_NAME,
    },
    roots=frozenset((WORKFLOW,)),
    documents={
        "genkit:output": paths(
            {
                "usage.inputTokens": INPUT,
                "usage.outputTokens": OUTPUT,
                "usage.totalTokens": TOTAL,
                "usage.thoughtsTokens": REASONING,
                "usage.cachedContentTokens": CACHE_READ,
            }
        )
    },
    failures={"genkit:state": frozenset(("error",))},
    content=("genkit:input",),
)
