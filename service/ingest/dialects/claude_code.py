"""Claude Code: attributes so plainly named that they are believed on its own spans alone.

Its input tokens leave out the cache, as the API's do. A tool's span holds the wait for permission and the execution,
which knows how it went: one call, told by both.

Source: Claude Code's monitoring documentation; issue 50776 of its repository; mlflow's claude_code.py translator.
"""

from service.ingest.vocabulary import (
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    INPUT,
    LLM,
    OTHER,
    OUTPUT,
    REQUEST_MODEL,
    TOOL,
    TOOL_NAME,
    Dialect,
)

DIALECT = Dialect(
    name="claude_code",
    precedence=75,
    fields={
        REQUEST_MODEL: ("model",),
        TOOL_NAME: ("tool_name",),
        INPUT: ("input_tokens",),
        OUTPUT: ("output_tokens",),
        CACHE_READ: ("cache_read_tokens",),
        CACHE_WRITE: ("cache_creation_tokens",),
        COST: ("cost_usd",),
    },
    span_names={
        "claude_code.interaction": AGENT_RUN,
        "claude_code.llm_request": LLM,
        "claude_code.tool": TOOL,
        "claude_code.tool.execution": TOOL,
        "claude_code.tool.blocked_on_user": OTHER,
    },
    failures={"success": frozenset(("false",))},
    only_named=True,
    cache_apart=True,
)
