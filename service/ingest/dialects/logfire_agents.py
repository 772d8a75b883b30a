"""Logfire's integration of OpenAI's agents: spans are called by templates, and what they are of is in `name`.

A trace's `group_id` is the conversation that it belongs to.

Source: logfire 5.2.0 and its tests of the integration; a capture of 4.3.
"""

from service.ingest.vocabulary import (
    AGENT_BY_NAME,
    AGENT_RUN,
    ENTITY,
    OTHER,
    SESSION,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Dialect,
)

DIALECT = Dialect(
    name="logfire_agents",
    precedence=76,
    fields={ENTITY: ("name",), SESSION: ("group_id",)},
    span_names={
        "Function: {name}": TOOL,
        "Agent run: {name!r}": AGENT_RUN,
        "OpenAI Agents trace: {name}": WORKFLOW,
        "Handoff: {from_agent} → {to_agent}": OTHER,
    },
    entity={TOOL: TOOL_NAME, AGENT_RUN: AGENT_BY_NAME},
    only_named=True,
)
