"""MLflow's tracing, exported over OTLP: every value is JSON, so texts are in quotes and usage is an object.

Source: mlflow/mlflow, mlflow/tracing/constant.py and entities/span.py (3.x); the values as its benchmarks write them.
"""

from service.ingest.vocabulary import (
    AGENT_BY_NAME,
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    EMBEDDING,
    EVALUATION,
    GUARDRAIL,
    INPUT,
    INPUT_COST,
    LLM,
    OPERATION,
    OTHER,
    OUTPUT,
    OUTPUT_COST,
    PROVIDER,
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
    name="mlflow",
    precedence=62,
    fields={
        OPERATION: ("mlflow.spanType",),
        SESSION: ("mlflow.trace.session",),
        PROVIDER: ("mlflow.llm.provider",),
        REQUEST_MODEL: ("mlflow.llm.model",),
    },
    operations={
        "llm": LLM,
        "chat_model": LLM,
        "embedding": EMBEDDING,
        "retriever": RETRIEVAL,
        "reranker": RETRIEVAL,
        "tool": TOOL,
        "agent": AGENT_RUN,
        "chain": WORKFLOW,
        "workflow": WORKFLOW,
        "task": WORKFLOW,
        "guardrail": GUARDRAIL,
        "evaluator": EVALUATION,
        "parser": OTHER,
        "memory": OTHER,
    },
    entity={TOOL: TOOL_NAME, RETRIEVAL: TOOL_NAME, AGENT_RUN: AGENT_BY_NAME},
    roots=frozenset((WORKFLOW,)),
    documents={
        "mlflow.chat.tokenUsage": paths(
            {
                "input_tokens": INPUT,
                "output_tokens": OUTPUT,
                "total_tokens": TOTAL,
                "cache_read_input_tokens": CACHE_READ,
                "cache_creation_input_tokens": CACHE_WRITE,
            }
        ),
        "mlflow.llm.cost": paths({"total_cost": COST, "input_cost": INPUT_COST, "output_cost": OUTPUT_COST}),
    },
    content=("mlflow.spanInputs", "mlflow.spanOutputs"),
)
