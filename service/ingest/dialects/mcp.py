"""The Model Context Protocol's client and server spans: a `tools/call` is a tool call, whether it says so or not.

Source: semantic-conventions-genai, docs/gen-ai/mcp.md.
"""

from service.ingest.vocabulary import OPERATION, OTHER, TOOL, Dialect

DIALECT = Dialect(
    name="mcp",
    precedence=58,
    fields={OPERATION: ("mcp.method.name",)},
    operations={
        "tools/call": TOOL,
        "tools/list": OTHER,
        "initialize": OTHER,
        "ping": OTHER,
        "prompts/get": OTHER,
        "prompts/list": OTHER,
        "resources/read": OTHER,
        "resources/list": OTHER,
    },
    span_names={"tools/call": TOOL},
)
