"""LangWatch's SDKs: the conventions, a type of their own, and usage as a JSON object of either case.

It says `llm` of the AI SDK's wrappers too, so that is believed first.

Source: langwatch/langwatch, python-sdk attributes.py, sdk-go span metrics, and the shapes that its server's tests take.
"""

from service.ingest.vocabulary import (
    AGENT_RUN,
    COST,
    EMBEDDING,
    EVALUATION,
    GUARDRAIL,
    INPUT,
    LLM,
    OPERATION,
    OUTPUT,
    REASONING,
    RETRIEVAL,
    SESSION,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
    paths,
)

DIALECT = Dialect(
    name="langwatch",
    precedence=66,
    fields={
        OPERATION: ("langwatch.span.type",),
        SESSION: ("langwatch.thread.id", "langwatch.thread_id"),
    },
    operations={
        "llm": LLM,
        "embedding": EMBEDDING,
        "rag": RETRIEVAL,
        "tool": TOOL,
        "agent": AGENT_RUN,
        "guardrail": GUARDRAIL,
        "evaluation": EVALUATION,
        "chain": WORKFLOW,
        "component": WORKFLOW,
        "module": WORKFLOW,
        "span": WORKFLOW,
        "task": WORKFLOW,
        "workflow": WORKFLOW,
    },
    entity={TOOL: TOOL_NAME},
    documents={
        "langwatch.metrics": paths(
            {
                "prompt_tokens": INPUT,
                "completion_tokens": OUTPUT,
                "reasoning_tokens": REASONING,
                "cost": COST,
                "value.promptTokens": INPUT,
                "value.completionTokens": OUTPUT,
                "value.prompt_tokens": INPUT,
                "value.completion_tokens": OUTPUT,
                "value.reasoningTokens": REASONING,
                "value.reasoning_tokens": REASONING,
                "value.cost": COST,
            }
        )
    },
    content=("langwatch.input", "langwatch.output"),
)
