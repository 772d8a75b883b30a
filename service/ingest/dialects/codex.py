"""Codex CLI: a turn, the responses of the model in it by the conventions, and its tools by names of their own.

A tool's span goes by the tool's name and is known by `aborted`, whether somebody stopped it, beside `tool_name`; the
span inside it knows whether it failed. A stream has a span for each of its events; the last has the tokens.

Source: openai/codex, codex-rs/core/src/tasks/mod.rs, session/turn.rs, tools/parallel.rs, tools/router.rs and
mcp_tool_call.rs (0.120-0.150).
"""

from service.ingest.vocabulary import (
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    INPUT,
    OUTPUT,
    REASONING,
    REQUEST_MODEL,
    TOOL,
    TOOL_NAME,
    Dialect,
)

_TURN = "codex.turn.token_usage."

DIALECT = Dialect(
    name="codex",
    precedence=74,
    fields={
        REQUEST_MODEL: ("model",),
        TOOL_NAME: ("tool_name",),
        INPUT: (_TURN + "input_tokens",),
        OUTPUT: (_TURN + "output_tokens",),
        CACHE_READ: (_TURN + "cached_input_tokens",),
        CACHE_WRITE: (_TURN + "cache_write_input_tokens",),
        REASONING: (_TURN + "reasoning_output_tokens",),
    },
    span_names={
        "session_task.turn": AGENT_RUN,
        "session_task.review": AGENT_RUN,
        "dispatch_tool_call_with_terminal_outcome": TOOL,
        "mcp.tools.call": TOOL,
    },
    implies={"aborted": TOOL},
    only_named=True,
)
