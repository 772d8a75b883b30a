"""Spring AI: the conventions on model calls; all else says `framework` and tells by its kind what it is.

Numbers come as text, as Micrometer has no others.

Source: spring-projects/spring-ai, the observability pages of its manual (1.0).
"""

from service.ingest.vocabulary import OPERATION, RETRIEVAL, SESSION, TOOL, TOOL_NAME, WORKFLOW, Dialect

DIALECT = Dialect(
    name="spring_ai",
    precedence=45,
    fields={
        OPERATION: ("spring.ai.kind",),
        SESSION: ("spring.ai.chat.client.conversation.id",),
        TOOL_NAME: ("spring.ai.tool.definition.name",),
    },
    operations={
        "chat_client": WORKFLOW,
        "advisor": WORKFLOW,
        "tool_call": TOOL,
        "vector_store": RETRIEVAL,
    },
    content=("spring.ai.tool.call.arguments", "spring.ai.tool.call.result"),
)
