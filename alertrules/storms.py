"""Many alerts at once: what they share, and how they are told as one.

A shared cause   alerts of three agents or more began within five minutes, and nearly all of them have one value of a
                 label that says what agents depend on: they are one page, which names the value and lists its victims
A storm          more groups of one receiver begin within a minute than a person can read: the rest of it is one page

Alerts that a group has already join that, as ever.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from alertrules.lifecycle import Labels
from alertrules.wording import VALUE_LENGTH_MAX, clean, labels_text
from detectors.core.columns import SECOND_NS

STORM_GROUPS_MAX = 8
"""So many groups may begin for one receiver within a minute; more are a storm."""
STORM_NS = 60 * SECOND_NS
CAUSE_NS = 300 * SECOND_NS
CAUSE_AGENTS_MIN = 3
CAUSE_SHARE = 0.8
CAUSE_LABELS = ("provider", "model", "tool", "agent_version", "prompt", "response_model", "region", "version")
"""What agents depend on."""
VICTIMS_MAX = 40


class Kind(StrEnum):
    LABELS = ""  # The route's `group_by`.
    CAUSE = "cause"
    STORM = "storm"


def shared_cause(alerts: Sequence[Labels]) -> Labels:
    """The values that nearly all of these alerts have of labels that agents depend on; empty where they share none.

    >>> shared_cause([(("agent", agent), ("model", "gpt-4o")) for agent in "abc"])
    (('model', 'gpt-4o'),)
    """
    every = [dict(labels) for labels in alerts]
    counts = Counter((name, labels[name]) for labels in every for name in CAUSE_LABELS if labels.get(name))
    shared = []
    for (name, value), count in counts.items():
        agents = {labels.get("agent", "") for labels in every if labels.get(name) == value} - {""}
        if count >= CAUSE_SHARE * len(every) and len(agents) >= CAUSE_AGENTS_MIN:
            shared.append((name, value))
    return tuple(sorted(shared))


def has(labels: Labels, cause: Labels) -> bool:
    """Whether an alert has all these values."""
    return set(cause) <= set(labels)


def headline(kind: str, cause: Labels, alerts: Sequence[Labels], total: int) -> str:
    """How a page of many begins: who, how many, and what they share.

    >>> headline("cause", (("model", "gpt-4o"),), [(("agent", agent),) for agent in "abc"], 5)
    '3 agents with model gpt-4o, 5 alerts'
    """
    agents = len({dict(labels).get("agent", "") for labels in alerts} - {""})
    who = f"{agents} agent{'' if agents == 1 else 's'}"
    if kind == Kind.CAUSE:
        return f"{who} with {labels_text(cause)}, {total} alerts"
    return f"{total} alerts at once" + (f", of {who}" if agents else "")


def victims(alerts: Sequence[Labels]) -> Iterator[str]:
    """A line that names the agents, each once, with its tenants' number where there are several."""
    tenants: dict[str, set[str]] = {}
    for labels in map(dict, alerts):
        if agent := labels.get("agent", ""):
            tenants.setdefault(agent, set()).add(labels.get("tenant", ""))
    if not tenants:
        return
    named = [
        clean(agent, VALUE_LENGTH_MAX) + (f" ({len(of)} tenants)" if len(of) > 1 else "")
        for agent, of in sorted(tenants.items())
    ]
    more = f" and {len(named) - VICTIMS_MAX} more" if len(named) > VICTIMS_MAX else ""
    yield f"agents: {', '.join(named[:VICTIMS_MAX])}{more}"
