"""LangChain4j on Quarkus: names of the conventions on model calls, which are told by what the span is called.

Source: quarkus-langchain4j's manual, observability; the names of its services' spans as quarkus-langfuse reads them.
"""

from service.ingest.vocabulary import LLM, TOOL, WORKFLOW, Dialect

DIALECT = Dialect(
    name="langchain4j",
    precedence=73,
    span_names={
        "langchain4j.aiservices": WORKFLOW,
        "langchain4j.tools": TOOL,
        "completion": LLM,
    },
)
