"""What calls end with: reasons to stop, the time to the first token, verdicts of guardrails, results of tools.

Source: the conventions' finish reasons and security decisions; OpenInference's and OpenLLMetry's older names; Vercel's
AI SDK; NeMo Guardrails' and Guardrails AI's instrumentations; what people write by hand beside a tool's name.
"""

from service.ingest.vocabulary import FINISH, FIRST_TOKEN, FIRST_TOKEN_MS, PASSED, VERDICT, Dialect

DIALECT = Dialect(
    name="call_endings",
    precedence=53,
    fields={
        FINISH: (
            "gen_ai.response.finish_reasons",
            "gen_ai.response.finish_reason",
            "gen_ai.completion.0.finish_reason",
            "llm.response.finish_reason",
            "llm.response.stop_reason",
            "llm.finish_reason",
            "ai.response.finishReason",
            "finish_reason",
            "stop_reason",
        ),
        FIRST_TOKEN: (
            "gen_ai.response.time_to_first_chunk",
            "gen_ai.response.time_to_first_token",
            "gen_ai.server.time_to_first_token",
            "gen_ai.client.operation.time_to_first_chunk",
            "gen_ai.client.time_to_first_token",
            "gen_ai.server.ttft",
            "gen_ai.usage.time_to_first_token",
            "llm.time_to_first_token",
            "time_to_first_token",
        ),
        FIRST_TOKEN_MS: (
            "ai.response.msToFirstChunk",
            "gen_ai.response.time_to_first_token_ms",
            "gen_ai.response.ttft_ms",
            "llm.time_to_first_token_ms",
            "time_to_first_token_ms",
            "ttft_ms",
        ),
        VERDICT: (
            "gen_ai.guardrail.verdict",
            "gen_ai.guardrail.triggered",
            "gen_ai.guardrail.tripwire_triggered",
            "gen_ai.guardrail.blocked",
            "gen_ai.guardrail.action",
            "gen_ai.guardrail.status",
            "gen_ai.security.decision.type",
            "guardrail.verdict",
            "guardrail.blocked",
            "guardrail.triggered",
            "guardrail.tripwire_triggered",
            "guardrail.action",
            "guardrail.decision",
            "guardrail.status",
            "triggered",
        ),
        PASSED: ("gen_ai.guardrail.passed", "guardrail.passed", "guardrail.valid", "guardrail.allowed"),
    },
    tool_failures=dict.fromkeys(
        (
            "gen_ai.tool.status",
            "tool.status",
            "tool.result.status",
            "result.status",
            "tool.call.status",
            "agent.tool.status",
            "tool_call.status",
            "gen_ai.tool.call.status",
            "gen_ai.tool.result.status",
            "tool.outcome",
            "status",
        ),
        frozenset(
            ("error", "errored", "err", "failed", "failure", "fail", "exception", "timeout", "timed_out", "crashed")
        ),
    )
    | dict.fromkeys(
        ("tool.success", "tool.result.success", "gen_ai.tool.success", "tool.call.success"),
        frozenset(("false", "0", "no")),
    )
    | dict.fromkeys(("tool.result.is_error", "tool.is_error", "gen_ai.tool.is_error"), frozenset(("true", "1", "yes"))),
)
