"""Salesforce Agentforce's session traces, pulled as OTLP/JSON: steps of a session, their text escaped as HTML.

Its attributes are not documented; these are the names that pollers of others found. What they say of models is inside
prompts, which are not read.

Source: developer.salesforce.com, Session Trace OTel API (beta); data-model-reference.md of sf-skills.
"""

from service.ingest.vocabulary import (
    AGENT,
    AGENT_RUN,
    CLASSIFICATION,
    EVALUATION,
    GUARDRAIL,
    INPUT,
    LLM,
    OPERATION,
    OTHER,
    OUTCOME,
    OUTPUT,
    REQUEST_MODEL,
    SESSION,
    TENANT,
    TOOL,
    TOOL_NAME,
    TOTAL,
    Dialect,
)

DIALECT = Dialect(
    name="agentforce",
    precedence=40,
    fields={
        OPERATION: ("step.type",),
        AGENT: ("session.actors.0.name",),
        SESSION: ("ssot__AIAgentSessionId",),
        TENANT: ("InternalOrganizationId__c", "orgId__c"),
        REQUEST_MODEL: ("model__c",),
        INPUT: ("usage.token_prompt", "promptTokens__c"),
        OUTPUT: ("usage.token_completion", "completionTokens__c"),
        TOTAL: ("usage.total",),
        OUTCOME: ("SessionEndType", "session.end_type"),
    },
    operations={
        "llm_step": LLM,
        "llm_execution_step": LLM,
        "action_step": TOOL,
        "function_step": TOOL,
        "topic_step": CLASSIFICATION,
        "trust_guardrails_step": GUARDRAIL,
        "session_step": AGENT_RUN,
        "user_input_step": OTHER,
        "session_end_step": OTHER,
    },
    span_names={
        "agent_router": CLASSIFICATION,
        "pre_orchestration.guardrail": GUARDRAIL,
        "InstructionAdherence": EVALUATION,
    },
    entity={TOOL: TOOL_NAME},
    html=True,
)
