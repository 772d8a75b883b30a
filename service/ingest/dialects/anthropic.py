"""Anthropic's own SDK and platform, which write spans beside those of whatever instrumentation there is.

Source: anthropic 2.12.0; platform.claude.com/docs/en/api/opentelemetry/spans; captures.
"""

from service.ingest.vocabulary import LLM, SESSION, TOOL, Dialect

DIALECT = Dialect(
    name="anthropic",
    precedence=55,
    fields={SESSION: ("anthropic.session.id", "anthropic.session.thread.id")},
    span_names={
        "anthropic.messages.create": LLM,
        "anthropic.tool_use": TOOL,
        "anthropic.mcp_tool_use": TOOL,
        "anthropic.custom_tool_use": TOOL,
    },
    scopes=("com.anthropic.sdk.", "com.anthropic.claude-platform"),
)
