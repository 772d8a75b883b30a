"""What users say in metadata, under the prefix of whichever SDK carries it: tenant, session, outcome.

No convention names a tenant or an outcome, so the keys are those in use; the first prefix is the span itself.
"""

from service.ingest.vocabulary import AGENT, OUTCOME, SESSION, TENANT, TOOL_NAME, Dialect, paths

PREFIXES = (
    "traceloop.association.properties.",
    "langfuse.trace.metadata.",
    "langfuse.observation.metadata.",
    "langsmith.metadata.",
    "ai.telemetry.metadata.",
    "ai.settings.context.",
    "ai.settings.runtimeContext.",
)
TENANT_KEYS = ("tenant.id", "tenant_id", "tenant", "tenantId", "customer_id", "org_id")
SESSION_KEYS = ("session_id", "sessionId", "conversation_id", "conversationId", "thread_id", "threadId")

DIALECT = Dialect(
    name="metadata",
    precedence=90,
    fields={
        # On a bare span customer_id and org_id may mean anything; under a metadata prefix the user chose them.
        TENANT: (*TENANT_KEYS[:4], *(prefix + key for prefix in PREFIXES for key in TENANT_KEYS)),
        SESSION: tuple(prefix + key for prefix in PREFIXES for key in SESSION_KEYS),
        OUTCOME: (
            "agent.session.outcome",
            "agent.outcome",
            "session.outcome",
            *(prefix + "outcome" for prefix in PREFIXES),
        ),
        TOOL_NAME: ("tool.name", "tool"),
    },
    documents={
        "metadata": paths(
            {
                **dict.fromkeys(TENANT_KEYS, TENANT),
                **dict.fromkeys(SESSION_KEYS, SESSION),
                "outcome": OUTCOME,
                "lc_agent_name": AGENT,
            }
        )
    },
)
