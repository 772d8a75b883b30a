"""What users say in metadata, under the prefix of whichever SDK carries it: tenant and outcome.

No convention names a tenant or an outcome, so the keys are those in use; the first prefix is the span itself.
"""

from service.ingest.vocabulary import OUTCOME, TENANT, TOOL_NAME, Dialect

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

DIALECT = Dialect(
    name="metadata",
    precedence=90,
    fields={
        # On a bare span customer_id and org_id may mean anything; under a metadata prefix the user chose them.
        TENANT: (*TENANT_KEYS[:4], *(prefix + key for prefix in PREFIXES for key in TENANT_KEYS)),
        OUTCOME: (
            "agent.session.outcome",
            "agent.outcome",
            "session.outcome",
            *(prefix + "outcome" for prefix in PREFIXES),
        ),
        TOOL_NAME: ("tool.name", "tool"),
    },
    documents={"metadata": {**dict.fromkeys(TENANT_KEYS, TENANT), "outcome": OUTCOME}},
)
