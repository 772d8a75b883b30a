"""Confident AI (DeepEval): `confident.*`, in whatever language.

Source: confident-ai/deepeval, tracing/otel; confident-ai's guide to attributes and what they fall back to.
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    INPUT,
    LLM,
    OPERATION,
    OUTPUT,
    REQUEST_MODEL,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
)

DIALECT = Dialect(
    name="confident",
    precedence=69,
    fields={
        OPERATION: ("confident.span.type",),
        AGENT: ("confident.agent.name",),
        SESSION: ("confident.trace.thread_id", "confident.trace.session_id"),
        REQUEST_MODEL: ("confident.llm.model", "confident.span.model"),
        TOOL_NAME: ("confident.tool.name",),
        INPUT: ("confident.llm.input_token_count",),
        OUTPUT: ("confident.llm.output_token_count",),
    },
    operations={"llm": LLM, "retriever": RETRIEVAL, "tool": TOOL, "agent": AGENT_RUN, "base": WORKFLOW},
    entity={TOOL: TOOL_NAME, RETRIEVAL: TOOL_NAME},
    content=("confident.span.input", "confident.span.output"),
)
