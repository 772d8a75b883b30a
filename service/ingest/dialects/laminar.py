"""Laminar: the conventions, and `lmnr.span.type`, which says DEFAULT of whatever has no type of its own.

An answer from its cache is no call.

Source: lmnr-ai/lmnr, the SDKs' attributes; mlflow's laminar.py translator.
"""

from service.ingest.vocabulary import EVALUATION, LLM, OPERATION, OTHER, TOOL, TOOL_NAME, WORKFLOW, Dialect

DIALECT = Dialect(
    name="laminar",
    precedence=67,
    fields={OPERATION: ("lmnr.span.type",)},
    operations={
        "llm": LLM,
        "tool": TOOL,
        "default": WORKFLOW,
        "pipeline": WORKFLOW,
        "executor": WORKFLOW,
        "evaluator": EVALUATION,
        "human_evaluator": EVALUATION,
        "evaluation": WORKFLOW,
        "cached": OTHER,
    },
    entity={TOOL: TOOL_NAME},
    content=("lmnr.span.input", "lmnr.span.output"),
)
