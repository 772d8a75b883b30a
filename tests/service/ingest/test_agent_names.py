"""What an agent is called: one name where a trace spells it in several ways, and no crew or workflow in its place.

And the tokens of a stream of which two spans tell a part each.
"""

from pathlib import Path

import pytest

from service.ingest.limits import IngestLimits
from tests.service.ingest.cases import Attributes, Case, body_of, chat, found_in, kind, usage
from tests.service.ingest.test_reference import compare

OI_CHAT = kind("LLM", llm__model_name="gpt-4o", llm__token_count__prompt=9, llm__token_count__completion=1)
RUN: Attributes = {"gen_ai.operation.name": "invoke_agent"}


def spelled(first: str, second: str) -> Case:
    """A run of two spans of agents, each with a call, the outer one told of first."""
    return Case(
        (
            (1, 0, "run", RUN | {"gen_ai.agent.name": first}),
            (2, 1, "step", RUN | {"gen_ai.agent.name": second}),
            (3, 2, "chat gpt-4o", chat("gpt-4o") | usage(5, 1)),
            (4, 1, "chat gpt-4o", chat("gpt-4o") | usage(5, 1)),
        ),
        "llm 2", (10, 2, 0, 0, 0), first, models=("gpt-4o",),
    )  # fmt: skip


CASES = {
    "hyphen and underscore": spelled("support-agent", "support_agent"),
    "a role in words": spelled("support_agent", "Support Agent"),
    "nothing between": spelled("Support Agent", "SupportAgent"),
    # openinference and OpenLLMetry on one agent: the attribute is believed before the name of a span.
    "a name and an attribute": Case(
        (
            (1, 0, "Support Agent._execute_core", kind("AGENT")),
            (2, 1, "ChatCompletion", OI_CHAT),
            (3, 1, "chat gpt-4o", chat("gpt-4o", gen_ai__agent__name="support_agent") | usage(5, 1)),
        ),
        "llm 2", (14, 2, 0, 0, 0), "support_agent", models=("gpt-4o",),
    ),
    # openinference-instrumentation-crewai 0.1.15 and later: a crew without a name has an id that is new each time.
    "a crew": Case(
        (
            (1, 0, "Crew_9b2f6f5e-3d1e-4c58-9a41-0c1d7a2b3c4d.kickoff", kind("CHAIN", crew_key="k")),
            (2, 1, "ChatCompletion", OI_CHAT),
        ),
        "llm 1", (9, 1, 0, 0, 0), models=("gpt-4o",),
    ),
    "a crew with a name": Case(
        ((1, 0, "billing.kickoff", kind("CHAIN")), (2, 1, "ChatCompletion", OI_CHAT)),
        "llm 1", (9, 1, 0, 0, 0), models=("gpt-4o",),
    ),
    "a flow, and in it a crew's agent": Case(
        (
            (1, 0, "Flow_9b2f6f5e-3d1e-4c58-9a41-0c1d7a2b3c4d.kickoff", kind("CHAIN")),
            (2, 1, "support-crew.kickoff", kind("CHAIN")),
            (3, 2, "Researcher._execute_core", kind("AGENT", graph__node__id="Researcher")),
            (4, 3, "ChatCompletion", OI_CHAT),
            (5, 1, "ChatCompletion", OI_CHAT),
        ),
        "llm 2", (18, 2, 0, 0, 0), "Researcher", models=("gpt-4o",),
    ),
    # OpenAI's agents: the root is of kind AGENT, and called as the workflow is; so by default.
    "a workflow of kind AGENT": Case(
        ((1, 0, "Agent workflow", kind("AGENT")), (2, 1, "response", OI_CHAT)),
        "llm 1", (9, 1, 0, 0, 0), models=("gpt-4o",),
    ),
    # LlamaIndex: what runs agents that hand over to one another.
    "a workflow by its class": Case(
        ((1, 0, "AgentWorkflow.run", kind("CHAIN")), (2, 1, "OpenAI.achat", OI_CHAT)),
        "llm 1", (9, 1, 0, 0, 0), models=("gpt-4o",),
    ),
    "an agent all the same": Case(
        ((1, 0, "workflow-builder", kind("CHAIN")), (2, 1, "OpenAI.achat", OI_CHAT)),
        "llm 1", (9, 1, 0, 0, 0), "workflow-builder", models=("gpt-4o",),
    ),
    # Anthropic's stream: its first event has the input and the cache, its last the output.
    "a stream told by two spans": Case(
        (
            (1, 0, "chat claude-sonnet-4-5", chat("claude-sonnet-4-5", gen_ai__usage__input_tokens=95,
                                                  gen_ai__usage__cache_read__input_tokens=50)),
            (2, 1, "anthropic.messages.stream", chat("claude-sonnet-4-5", gen_ai__usage__output_tokens=40)),
        ),
        "llm 1", (95, 40, 50, 0, 0), models=("claude-sonnet-4-5",),
    ),
    "the other way round": Case(
        (
            (1, 0, "chat claude-sonnet-4-5", chat("claude-sonnet-4-5", gen_ai__usage__output_tokens=40)),
            (2, 1, "anthropic.messages.stream", chat("claude-sonnet-4-5", gen_ai__usage__input_tokens=95)),
        ),
        "llm 1", (95, 40, 0, 0, 0), models=("claude-sonnet-4-5",),
    ),
    "each where both tell all": Case(
        (
            (1, 0, "chat claude-sonnet-4-5", chat("claude-sonnet-4-5") | usage(95, 1)),
            (2, 1, "anthropic.messages.stream", chat("claude-sonnet-4-5") | usage(95, 40)),
        ),
        "llm 1", (95, 40, 0, 0, 0), models=("claude-sonnet-4-5",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_agent_has_one_name(name: str, tmp_path: Path) -> None:
    """Agents, calls, tokens and models by `tocsin inspect`."""
    case = CASES[name]
    found = found_in(case, tmp_path / "traces.binpb")
    told = tuple(found[what] for what in ("agent", "calls", "tokens", "models"))
    assert told == (case.agent, case.calls, case.tokens, case.models)


@pytest.mark.parametrize("name", CASES)
def test_the_reference_says_the_same(name: str) -> None:
    """Kernels and rules agree, however spans are spelled."""
    compare(IngestLimits(lateness_ns=2**60), [(body_of(CASES[name]), 60.0, "p")])


@pytest.mark.parametrize(
    ("one", "other"),
    [("support-agent", "support-agents"), ("agent1", "agent2"), ("a.b", "a-b"), ("support", ""), ("É", "é")],
)
def test_other_names_are_other_agents(one: str, other: str, tmp_path: Path) -> None:
    """Whatever differs in more than the case of ASCII letters, spaces, hyphens and underscores stays two."""
    case = spelled(one, other)
    found = found_in(case, tmp_path / "traces.binpb")
    assert found["agent"] == ", ".join(sorted({one, other or one}))
    compare(IngestLimits(lateness_ns=2**60), [(body_of(case), 60.0, "p")])
