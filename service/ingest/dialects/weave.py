"""W&B Weave: the conventions, and its own names for a few of them.

Source: weave 0.54.0 and wandb/weave, agents/semconv.py.
"""

from service.ingest.vocabulary import AGENT, AGENT_RUN, LLM, OPERATION, SESSION, TOOL, Dialect

DIALECT = Dialect(
    name="weave",
    precedence=68,
    fields={
        OPERATION: ("weave.span.kind",),
        AGENT: ("weave.agent.name",),
        SESSION: ("weave.conversation.id", "wandb.thread_id"),
    },
    operations={"llm": LLM, "chat": LLM, "tool": TOOL, "execute_tool": TOOL, "agent": AGENT_RUN},
)
