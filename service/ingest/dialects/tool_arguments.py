"""What a tool was called with: never kept, but as a hash that tells whether a call is repeated within its trace.

Source: the conventions' opt-in attribute, OpenInference, OpenLLMetry, Vercel's AI SDK, Spring AI, MLflow, Langfuse,
Pydantic AI, Google's ADK; and what people write by hand beside a tool's name.
"""

from service.ingest.vocabulary import ARGUMENTS, Dialect

DIALECT = Dialect(
    name="tool_arguments",
    precedence=54,
    fields={
        ARGUMENTS: (
            "gen_ai.tool.call.arguments",
            "tool.parameters",
            "tool.call.arguments",
            "tool_call.function.arguments",
            "tool.arguments",
            "tool.input",
            "agent.tool.arguments",
            "agent.tool.input",
            "tool_arguments",
            "tool_input",
            "input.value",
            "traceloop.entity.input",
            "ai.toolCall.args",
            "spring.ai.tool.call.arguments",
            "gcp.vertex.agent.tool_call_args",
            "mlflow.spanInputs",
            "langfuse.observation.input",
            "arguments",
        ),
    },
)
