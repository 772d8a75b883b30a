"""Agents instrumented by hand after the CRM example: spans are told by their names.

The root `agent.session` carries model and provider, its children carry tokens; nothing names an operation. And names
that others come upon who do the same.
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    CLASSIFICATION,
    COST,
    EMBEDDING,
    EVALUATION,
    GUARDRAIL,
    LLM,
    RETRIEVAL,
    STORE,
    TOOL,
    WORKFLOW,
    Dialect,
)

DIALECT = Dialect(
    name="handwritten",
    precedence=80,
    fields={
        AGENT: ("agent.name",),
        STORE: ("retrieval.store",),
        COST: ("agent.cost.usd",),
    },
    span_names={
        "agent.session": AGENT_RUN,
        "agent.run": AGENT_RUN,
        "agent.generate": LLM,
        "agent.embed": EMBEDDING,
        "agent.retrieve": RETRIEVAL,
        "agent.rerank": RETRIEVAL,
        "agent.tool": TOOL,
        "agent.tool_call": TOOL,
        "agent.classify": CLASSIFICATION,
        "agent.intent": CLASSIFICATION,
        "agent.topic": CLASSIFICATION,
        "agent.guardrail": GUARDRAIL,
        "agent.evaluate": EVALUATION,
        "agent.plan": WORKFLOW,
        "agent.workflow": WORKFLOW,
        **dict.fromkeys(("llm_call", "llm.call", "llm.chat", "llm.completion", "llm.generate", "llm.request"), LLM),
        **dict.fromkeys(("tool_call", "tool.call", "tool.execute", "tool.run"), TOOL),
        **dict.fromkeys(("rag.retrieve", "rag.retrieval", "rag.search"), RETRIEVAL),
    },
)
