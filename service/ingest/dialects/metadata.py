"""What users say in metadata, under the prefix of whichever SDK carries it: tenant, session, outcome.

No convention names a tenant or an outcome, so the keys are those in use; the first prefix is the span itself.
"""

from service.ingest.vocabulary import AGENT, OUTCOME, SESSION, TENANT, TOOL_NAME, Dialect, paths

PREFIXES = (
    "traceloop.association.properties.",
    "langfuse.trace.metadata.",
    "langfuse.observation.metadata.",
    "langfuse.metadata.",
    "langsmith.metadata.",
    "ai.telemetry.metadata.",
    "ai.settings.context.",
    "ai.settings.runtimeContext.",
    "mastra.metadata.",
    "lmnr.association.properties.",
    "lmnr.association.properties.metadata.",
    "mlflow.traceTag.",
    "honeyhive_metadata.",
    "trace.metadata.",
    "metadata.",
)
"""Mastra's exporter, Laminar, MLflow's tags, HoneyHive, OpenRouter's broadcast and LiteLLM have the last ones."""
TENANT_KEYS = ("tenant.id", "tenant_id", "tenant", "tenantId", "customer_id", "customerId", "org_id", "orgId")
SESSION_KEYS = ("session_id", "sessionId", "conversation_id", "conversationId", "thread_id", "threadId")
_LANGFUSE_KEYS = tuple(prefix + "langfuse_session_id" for prefix in PREFIXES[1:3])
_BARE_SESSION_KEYS = (*SESSION_KEYS[:4], "conversation.id")
"""Not of threads: those may be the process's. `conversation.id` is Pipecat's."""

METADATA = {
    **dict.fromkeys(TENANT_KEYS, TENANT),
    **dict.fromkeys(SESSION_KEYS, SESSION),
    "outcome": OUTCOME,
    "lc_agent_name": AGENT,
}
"""What may stand in an object of metadata."""

DIALECT = Dialect(
    name="metadata",
    precedence=90,
    fields={
        # On a bare span customer_id and org_id may mean anything; under a metadata prefix the user chose them.
        TENANT: (
            *TENANT_KEYS[:4],
            *(prefix + key for prefix in PREFIXES for key in TENANT_KEYS),
            *("dify.tenant_id", "bifrost.customer.id", "gen_ai.customer_id", "microsoft.tenant.id"),
        ),
        SESSION: (
            *_LANGFUSE_KEYS,
            *(prefix + key for prefix in PREFIXES for key in SESSION_KEYS),
            *_BARE_SESSION_KEYS,
            "microsoft.session.id",
        ),
        OUTCOME: (
            "agent.session.outcome",
            "agent.outcome",
            "session.outcome",
            *(prefix + "outcome" for prefix in PREFIXES),
        ),
        TOOL_NAME: ("tool.name", "tool"),
    },
    # What was sent to LiteLLM's proxy is in an object of its own.
    documents=dict.fromkeys(
        ("metadata", *(prefix[:-1] for prefix in PREFIXES[1:4]), "metadata.requester_metadata"), paths(METADATA)
    ),
)
