"""LiveKit's voice agents: the conventions on `llm_request`, its own names around it.

`llm_request_run` is one attempt of several: the request around it is the call.

Source: livekit/agents, livekit/agents/telemetry/trace_types.py (1.2-1.3).
"""

from service.ingest.vocabulary import AGENT, AGENT_RUN, LLM, TOOL, TOOL_NAME, Dialect

DIALECT = Dialect(
    name="livekit",
    precedence=71,
    fields={AGENT: ("lk.agent_name",), TOOL_NAME: ("lk.function_tool.name",)},
    span_names={"agent_turn": AGENT_RUN, "llm_request": LLM, "function_tool": TOOL},
    failures={"lk.function_tool.is_error": frozenset(("true",))},
    content=(
        "lk.user_input",
        "lk.chat_ctx",
        "lk.response.text",
        "lk.function_tool.arguments",
        "lk.function_tool.output",
    ),
)
