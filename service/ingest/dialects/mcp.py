"""The Model Context Protocol's client and server spans: a `tools/call` is a tool call, whether it says so or not.

Source: semantic-conventions-genai, docs/gen-ai/mcp.md.
"""

from service.ingest.vocabulary import OPERATION, OTHER, TOOL, TOOL_NAME, Dialect

_OTHERS = (
    "completion/complete", "elicitation/create", "initialize", "logging/setlevel", "notifications/cancelled",
    "notifications/initialized", "notifications/message", "notifications/progress", "ping", "prompts/get",
    "prompts/list", "resources/list", "resources/read", "resources/subscribe", "resources/templates/list",
    "resources/unsubscribe", "roots/list", "sampling/createmessage", "tools/list",
)  # fmt: skip

DIALECT = Dialect(
    name="mcp",
    precedence=58,
    fields={OPERATION: ("mcp.method.name",), TOOL_NAME: ("mcp.tool.name",)},
    operations={"tools/call": TOOL, **dict.fromkeys(_OTHERS, OTHER)},
    span_names={"tools/call": TOOL},
)
