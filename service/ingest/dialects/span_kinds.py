"""SDKs that follow the conventions and say what a span is in a kind of their own as well.

Alibaba's LoongSuite and those who export to ARMS (Dify, AgentScope) have `gen_ai.span.kind`, and so has Future AGI's
traceAI, which was `fi.span.kind` with OpenInference's names; AgentOps and HoneyHive have their own.

Source: alibaba/loongsuite-python-agent, its tests of each instrumentation; AgentOps-AI/agentops, semconv/span_kinds.py;
honeyhiveai's SDKs, custom.py and its like, and a capture; future-agi/traceAI, fi_instrumentation.
"""

from service.ingest.vocabulary import (
    AGENT_RUN,
    EMBEDDING,
    ENTITY,
    GUARDRAIL,
    LLM,
    OPERATION,
    REQUEST_MODEL,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
)

DIALECT = Dialect(
    name="span_kinds",
    precedence=59,
    fields={
        OPERATION: (
            "gen_ai.span.kind",
            "gen_ai.span_kind_name",
            "fi.span.kind",
            "agentops.span.kind",
            "honeyhive_event_type",
        ),
        REQUEST_MODEL: ("gen_ai.model_name",),
        SESSION: ("gen_ai.session.id", "honeyhive.session_id"),
        ENTITY: ("honeyhive_event_name",),
    },
    operations={
        "llm": LLM,
        "llm.call": LLM,
        "model": LLM,
        "embedding": EMBEDDING,
        "retriever": RETRIEVAL,
        "reranker": RETRIEVAL,
        "tool": TOOL,
        "agent": AGENT_RUN,
        "guardrail": GUARDRAIL,
        "chain": WORKFLOW,
        "entry": WORKFLOW,
        "operation": WORKFLOW,
        "session": WORKFLOW,
        "step": WORKFLOW,
        "task": WORKFLOW,
        "workflow": WORKFLOW,
    },
    entity={TOOL: TOOL_NAME},
    # HoneyHive tells of an error in a span beside the one that failed, AgentOps of what a model asks for in one below
    # the model's: the tool's own is another.
    logs={"honeyhive_error_type": frozenset(), "tool.call.type": frozenset(("function", "tool_use"))},
)
