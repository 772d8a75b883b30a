"""Which prompt a call was made with: its name and its version, never its text.

Source: Langfuse's links of prompts to generations; OpenInference's and Traceloop's templates; LangSmith's hub; the
prompts that Langtrace attaches; and what people write by hand.
"""

from service.ingest.vocabulary import PROMPT_NAME, PROMPT_VERSION, Dialect

DIALECT = Dialect(
    name="prompts",
    precedence=57,
    fields={
        PROMPT_NAME: (
            "langfuse.observation.prompt.name",
            "traceloop.prompt.key",
            "langsmith.metadata.lc_hub_repo",
            "gen_ai.prompt.name",
            "prompt.name",
            "prompt.id",
            "prompt_name",
            "prompt_id",
        ),
        PROMPT_VERSION: (
            "langfuse.observation.prompt.version",
            "llm.prompt_template.version",
            "traceloop.prompt.version",
            "traceloop.prompt.version_name",
            "langsmith.metadata.lc_hub_commit_hash",
            "gen_ai.prompt.version",
            "agent.prompt.version",
            "app.prompt.version",
            "prompt.version",
            "prompt_version",
        ),
    },
)
